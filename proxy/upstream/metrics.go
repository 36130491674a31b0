package upstream

import "github.com/prometheus/client_golang/prometheus"

// The metrics are read from the servers' own counters when they are asked for: a request pays one atomic
// addition, and the series of a server that left the document are gone with it.
var _ prometheus.Collector = (*Pool)(nil)

type descs struct {
	up, state, weight, total, active, faults, checks                      *prometheus.Desc
	running, queued, unserved, retries, overBudget, ejections, registered *prometheus.Desc
}

func newDescs() descs {
	server := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"service", "server"}, more...), nil)
	}
	service := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"service"}, more...), nil)
	}
	return descs{
		up:     server("tripod_server_up", "Whether the server is up (1) or down (0), by its checks."),
		state:  server("tripod_server_state", "Whether the server is in the state (1) or not (0): up, checking, down, ejected, drain or maint.", "state"),
		weight: server("tripod_server_weight", "The server's weight as it counts now: less while it warms up, or asks for less."),
		total:  server("tripod_server_requests_total", "Requests and TCP connections that were given to the server."),
		active: server("tripod_server_active_requests", "Requests and TCP connections that the server is serving."),
		faults: server("tripod_server_faults_total", "Requests that the server failed."),
		checks: server("tripod_health_checks_total", "Health checks of the server, by result.", "result"),

		running:    service("tripod_service_active_requests", "Requests and TCP connections that the service's servers are serving."),
		queued:     service("tripod_service_queued_requests", "Requests that wait for their turn."),
		unserved:   service("tripod_service_unserved_requests_total", "Requests that got no turn: the queue was full, or they waited too long.", "reason"),
		retries:    service("tripod_service_retries_total", "Requests that were sent again, or to a second server."),
		overBudget: service("tripod_service_retries_refused_total", "Requests that were not sent again, for too many were."),
		ejections:  service("tripod_service_ejections_total", "Ejections of the service's servers."),
		registered: service("tripod_service_registrations", "Servers that registered themselves, also with a service that the document has not."),
	}
}

// Describe implements prometheus.Collector.
func (p *Pool) Describe(out chan<- *prometheus.Desc) {
	d := newDescs()
	for _, desc := range []*prometheus.Desc{
		d.up, d.state, d.weight, d.total, d.active, d.faults, d.checks,
		d.running, d.queued, d.unserved, d.retries, d.overBudget, d.ejections, d.registered,
	} {
		out <- desc
	}
}

// Collect implements prometheus.Collector.
func (p *Pool) Collect(out chan<- prometheus.Metric) {
	d := newDescs()
	for _, s := range p.Status() {
		d.service(s, out)
		for i := range s.Servers {
			d.server(s.Name, &s.Servers[i], out)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, registered := range p.registered {
		out <- prometheus.MustNewConstMetric(d.registered, prometheus.GaugeValue, float64(len(registered)), name)
	}
}

// service sends what is measured of a service.
func (d *descs) service(s ServiceStatus, out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, n int64) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), s.Name)
	}
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append([]string{s.Name}, labels...)...)
	}
	gauge(d.running, s.Running)
	gauge(d.queued, s.Queued)
	count(d.unserved, s.Refused, "queue_full")
	count(d.unserved, s.GaveUp, "waited_too_long")
	count(d.retries, s.Retries)
	count(d.overBudget, s.OverBudget)
	count(d.ejections, s.Ejections)
}

// server sends what is measured of a server.
func (d *descs) server(service string, s *ServerStatus, out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, n float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, n, append([]string{service, s.Address}, labels...)...)
	}
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append([]string{service, s.Address}, labels...)...)
	}
	gauge(d.up, truth(s.Up))
	for _, state := range [...]State{StateUp, StateChecking, StateDown, StateEjected, StateDrain, StateMaint} {
		gauge(d.state, truth(s.State == state), string(state))
	}
	gauge(d.weight, float64(s.Weight*s.Percent)/100)
	count(d.total, s.Total)
	gauge(d.active, float64(s.Active))
	count(d.faults, s.Faults)
	if s.Check != "" {
		count(d.checks, s.Passed, "pass")
		count(d.checks, s.Failed, "fail")
	}
}

func truth(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
