package upstream

import "github.com/prometheus/client_golang/prometheus"

// The metrics are read from the servers' own counters when they are asked for: a request pays one atomic
// addition, and the series of a server that left the document are gone with it.
var _ prometheus.Collector = (*Pool)(nil)

type descs struct{ up, total, active, checks *prometheus.Desc }

func newDescs() descs {
	labels := []string{"service", "server"}
	return descs{
		up:     prometheus.NewDesc("tripod_server_up", "Whether the server is up (1) or down (0).", labels, nil),
		total:  prometheus.NewDesc("tripod_server_requests_total", "Requests and TCP connections that were given to the server.", labels, nil),
		active: prometheus.NewDesc("tripod_server_active_requests", "Requests and TCP connections that the server is serving.", labels, nil),
		checks: prometheus.NewDesc("tripod_health_checks_total", "Health checks of the server, by result.", append(labels, "result"), nil),
	}
}

// Describe implements prometheus.Collector.
func (p *Pool) Describe(out chan<- *prometheus.Desc) {
	d := newDescs()
	out <- d.up
	out <- d.total
	out <- d.active
	out <- d.checks
}

// Collect implements prometheus.Collector.
func (p *Pool) Collect(out chan<- prometheus.Metric) {
	d := newDescs()
	for name, service := range *p.services.Load() {
		service.collect(name, d, out)
	}
}

func (s *Service) collect(name string, d descs, out chan<- prometheus.Metric) {
	s.mu.Lock()
	servers := s.servers
	states := make([][2]bool, len(servers))
	for i, server := range servers {
		states[i] = [2]bool{server.up, server.check != nil}
	}
	s.mu.Unlock()
	for i, server := range servers {
		up := 0.0
		if states[i][0] {
			up = 1
		}
		out <- prometheus.MustNewConstMetric(d.up, prometheus.GaugeValue, up, name, server.address)
		out <- prometheus.MustNewConstMetric(d.total, prometheus.CounterValue, float64(server.total.Load()), name, server.address)
		out <- prometheus.MustNewConstMetric(d.active, prometheus.GaugeValue, float64(server.place.Running()), name, server.address)
		if states[i][1] {
			out <- prometheus.MustNewConstMetric(d.checks, prometheus.CounterValue, float64(server.passed.Load()), name, server.address, "pass")
			out <- prometheus.MustNewConstMetric(d.checks, prometheus.CounterValue, float64(server.failed.Load()), name, server.address, "fail")
		}
	}
}
