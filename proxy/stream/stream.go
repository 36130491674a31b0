// Package stream is the proxy's TCP engine: it passes each connection of a tcp listener to a server of the
// listener's service.
//
// A Front is the engine's side of one listening socket. A connection is given to a server once, when it
// comes: the service chooses, and chooses again if connecting fails. Then both directions are copied, by the
// kernel where neither end has TLS (splice), and the end of each direction is passed on alone, so that a
// connection may be half closed. What the document says later concerns later connections only.
//
// ReadProxyHeader is for whoever accepts connections from a proxy that says whose they are (the PROXY protocol).
package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"tripod/proxy/upstream"
)

// Options are the engine's surroundings.
type Options struct {
	Log       *slog.Logger  // nil discards
	AccessLog *slog.Logger  // nil discards
	Connect   time.Duration // to connect to a server; zero is 5 s
	Handshake time.Duration // for a client's TLS handshake; zero is 10 s
	// Ended is called when a connection that was handed over has ended; nil for nobody.
	Ended func()
	// Registry takes the metrics while the engine is open; nil for none.
	Registry prometheus.Registerer
}

// Engine is what the tcp listeners of a node share.
type Engine struct {
	opts    Options
	log     *slog.Logger
	logging atomic.Bool
	buffers sync.Pool // of *copyBuffer, where the kernel cannot copy

	mu    sync.Mutex
	stats map[series]*stats
	open  bool
}

// Listener is what a front knows of its listener. It is immutable and replaced as a whole.
type Listener struct {
	Name    string
	Service *upstream.Service
	// TLS is taken off the connections; nil leaves them as they are.
	TLS *tls.Config
}

// New returns an engine.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Connect == 0 {
		o.Connect = 5 * time.Second
	}
	if o.Handshake == 0 {
		o.Handshake = 10 * time.Second
	}
	if o.Ended == nil {
		o.Ended = func() {}
	}
	e := &Engine{opts: o, log: o.Log, stats: make(map[series]*stats)}
	e.buffers.New = func() any { return new(copyBuffer) }
	return e
}

// Open registers the metrics.
func (e *Engine) Open(context.Context) error {
	if e.opts.Registry != nil {
		if err := e.opts.Registry.Register(e); err != nil {
			return err
		}
	}
	e.open = true
	return nil
}

// Close unregisters the metrics. The fronts are closed by their owner, before.
func (e *Engine) Close() {
	if e.open && e.opts.Registry != nil {
		e.opts.Registry.Unregister(e)
	}
	e.open = false
}

// Set says whether connections are logged, and which figures are kept.
func (e *Engine) Set(accessLog bool, keep func(listener, service string) bool) {
	e.logging.Store(accessLog)
	e.mu.Lock()
	defer e.mu.Unlock()
	for k := range e.stats {
		if !keep(k.listener, k.service) {
			delete(e.stats, k)
		}
	}
}

// series names the figures of one listener with one service.
type series struct{ listener, service string }

type stats struct{ conns, in, out atomic.Uint64 }

func (e *Engine) statsOf(l *Listener) *stats {
	k := series{l.Name, l.Service.Name()}
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats[k]
	if s == nil {
		s = &stats{}
		e.stats[k] = s
	}
	return s
}

var _ prometheus.Collector = (*Engine)(nil)

func descs() (conns, bytes *prometheus.Desc) {
	labels := []string{"listener", "service"}
	return prometheus.NewDesc("tripod_tcp_connections_total", "TCP connections that were accepted.", labels, nil),
		prometheus.NewDesc("tripod_tcp_bytes_total", "Bytes of TCP connections, from (in) and to (out) the clients; counted when a connection ends.",
			append(labels, "direction"), nil)
}

// Describe implements prometheus.Collector.
func (e *Engine) Describe(out chan<- *prometheus.Desc) {
	conns, bytes := descs()
	out <- conns
	out <- bytes
}

// Collect implements prometheus.Collector.
func (e *Engine) Collect(out chan<- prometheus.Metric) {
	conns, bytes := descs()
	e.mu.Lock()
	defer e.mu.Unlock()
	for k, s := range e.stats {
		out <- prometheus.MustNewConstMetric(conns, prometheus.CounterValue, float64(s.conns.Load()), k.listener, k.service)
		out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(s.in.Load()), k.listener, k.service, "in")
		out <- prometheus.MustNewConstMetric(bytes, prometheus.CounterValue, float64(s.out.Load()), k.listener, k.service, "out")
	}
}

// errHandshake is a client that did not get through its TLS handshake.
var errHandshake = errors.New("TLS handshake")
