package proxy

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"tripod/proxy/upstream"
)

// Status is what the proxy does now.
type Status struct {
	Listeners []ListenerStatus         `json:"listeners"`
	Services  []upstream.ServiceStatus `json:"services"`
	// Pending are servers that registered themselves with services that the document has not, by service.
	Pending map[string][]upstream.Registration `json:"pending,omitempty"`
}

// ListenerStatus is what Status tells about a listener.
type ListenerStatus struct {
	Name string `json:"name"`
	// Address is the address as the document has it; Bound is where it is bound now.
	Address     string   `json:"address"`
	Bound       []string `json:"bound"`
	TLS         bool     `json:"tls"`
	Protocol    Protocol `json:"protocol"`
	Connections int64    `json:"connections"`
	// Error is why an address could not be bound; empty if all are.
	Error string `json:"error,omitempty"`
}

// Status tells about every listener and service, by name.
func (p *Proxy) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := Status{Listeners: make([]ListenerStatus, 0, len(p.config.Listeners)), Services: p.pool.Status(), Pending: p.pool.Pending()}
	for _, name := range slices.Sorted(maps.Keys(p.config.Listeners)) {
		l := p.config.Listeners[name]
		s := ListenerStatus{Name: name, Address: l.Address, Bound: []string{}, TLS: l.TLS, Protocol: l.Protocol}
		if s.Protocol == "" {
			s.Protocol = HTTP
		}
		for at, socket := range p.sockets {
			if v := socket.serving.Load(); v.spec.name == name {
				s.Bound = append(s.Bound, at.String())
				s.Connections += v.conns()
			}
		}
		slices.Sort(s.Bound)
		s.Error = p.waitingFor(l)
		out.Listeners = append(out.Listeners, s)
	}
	return out
}

// waitingFor says why addresses of a listener could not be bound yet. p.mu is held.
func (p *Proxy) waitingFor(l ListenerConfig) string {
	want, _ := parsePlace(l.Address)
	var errs []string
	for at, err := range p.waiting {
		if at == want || !want.addr.IsValid() && at.port == want.port {
			errs = append(errs, err.Error())
		}
	}
	slices.Sort(errs)
	return strings.Join(errs, "; ")
}

var _ prometheus.Collector = (*Proxy)(nil)

func connectionDescs() map[Protocol]*prometheus.Desc {
	labels := []string{"listener"}
	return map[Protocol]*prometheus.Desc{
		HTTP: prometheus.NewDesc("tripod_http_connections", "Open client connections of an http listener.", labels, nil),
		TCP:  prometheus.NewDesc("tripod_tcp_connections", "Open client connections of a tcp listener.", labels, nil),
	}
}

func refusedDesc() *prometheus.Desc {
	return prometheus.NewDesc("tripod_connections_refused_total", "Client connections closed at once because as many as may be were open.", nil, nil)
}

// Describe implements prometheus.Collector.
func (p *Proxy) Describe(out chan<- *prometheus.Desc) {
	for _, d := range connectionDescs() {
		out <- d
	}
	out <- refusedDesc()
}

// Collect implements prometheus.Collector.
func (p *Proxy) Collect(out chan<- prometheus.Metric) {
	descs := connectionDescs()
	for _, l := range p.Status().Listeners {
		out <- prometheus.MustNewConstMetric(descs[l.Protocol], prometheus.GaugeValue, float64(l.Connections), l.Name)
	}
	out <- prometheus.MustNewConstMetric(refusedDesc(), prometheus.CounterValue, float64(p.gate.refused.Load()))
}
