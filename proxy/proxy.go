// Package proxy serves the document's listeners: it binds their addresses, terminates TLS, and hands the
// connections to the engine for HTTP (package web) or TCP (package stream), which pass them to the servers of
// the services (package upstream).
//
// # Life
//
// New makes a proxy, Open readies it, Apply gives it a document, Hold tells it which virtual addresses the
// node holds, Close ends it.
//
// # Apply
//
// Applying is all or nothing. The document is checked and its table of routes built; then new addresses
// are bound; only when all that has worked do the services, the table and the listeners' options change, which
// cannot fail. Then the sockets that the document does not name any more are closed: their idle connections
// at once, their running requests when they end or after half a minute. A listener whose address stays keeps
// its socket and its connections, whatever else changes about it; only a change of protocol ends the
// connections that speak the former one.
//
// # Where a listener is bound
//
// On a network, where its address says: ":443" is the wildcard of both families, and an address that is not
// on this host (a VIP that may come) is bound all the same. On an all-loopback cluster (Options.Local is
// set) every node is on one host: ":443" is the node's own address with those VIPs that it holds, and an
// address that is a VIP is bound only while it is held. If another node still has the VIP's socket, binding
// is repeated until it succeeds or the VIP is dropped.
//
// # Limit
//
// Strangers cannot take the files that the rest of the process needs: connections above a share of them are
// closed as soon as they are accepted (see gate), and counted. Nor can they by way of the servers: as many connections to these may be
// open as clients' (see serverLimit), and a request that needs one more is answered with 503.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"tripod/proxy/stream"
	"tripod/proxy/upstream"
	"tripod/proxy/web"
	"tripod/proxy/web/rate"
	"tripod/proxy/web/rule"
)

const (
	// drainTime is how long running requests of a socket that was closed may go on.
	drainTime = 30 * time.Second
	// retryTime is the pause between two attempts to bind a held VIP.
	retryTime = 50 * time.Millisecond
)

// Options are the proxy's surroundings.
type Options struct {
	// Node is this node's name, for its own error pages.
	Node string
	// Local is this node's address on an all-loopback cluster; zero on a network.
	Local netip.Addr
	// TLS is used for listeners with tls: true, as it is and never cloned for HTTP, so that ticket keys
	// rotated on it are seen. Its NextProtos name h2 and http/1.1.
	TLS *tls.Config
	// Zone is the node's own failure domain, whose servers services may prefer; empty for none.
	Zone string
	// StickyKey signs sticky cookies, and hides what rate limits tell clients apart by; the same on every node.
	StickyKey []byte
	// Log takes what happens; nil discards.
	Log *slog.Logger
	// AccessLog takes one line of JSON for each request, with one Write, which must not wait; nil for none.
	AccessLog io.Writer
	// Registry takes the metrics while the proxy is open; nil for none.
	Registry prometheus.Registerer
	// Timeouts bound what is waited for from servers and clients; zero fields mean the defaults.
	Timeouts web.Timeouts
	// MaxConnections is how many client connections may be open, all listeners together; zero is a share of the
	// files that the process may have open (see gate).
	MaxConnections int
}

// ErrNotOpen means that the proxy was not opened yet or is closed.
var ErrNotOpen = errors.New("the proxy is not open")

// Proxy serves one document at a time.
type Proxy struct {
	opts   Options
	log    *slog.Logger
	gate   *gate
	pool   *upstream.Pool
	web    *web.Engine
	stream *stream.Engine
	wg     sync.WaitGroup
	retry  chan struct{} // wakes the binder
	// passwords that were right, over every change of the document
	passwords *rule.Passwords
	rates     *rate.Set
	ctx       context.Context
	cancel    context.CancelFunc

	mu      sync.Mutex // guards what follows; held while a document is applied
	open    bool
	closed  bool
	config  Config
	held    map[netip.Addr]bool
	sockets map[place]*socket
	waiting map[place]error // held VIPs' places that could not be bound yet, and why
}

// New returns a proxy that serves nothing.
func New(o Options) *Proxy {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Proxy{
		opts: o, log: o.Log, gate: &gate{log: o.Log},
		retry: make(chan struct{}, 1), passwords: rule.NewPasswords(), rates: rate.NewSet(o.StickyKey),
		held:    make(map[netip.Addr]bool),
		sockets: make(map[place]*socket),
		waiting: make(map[place]error),
	}
	p.pool = upstream.New(upstream.Options{Zone: o.Zone, StickyKey: o.StickyKey, Log: o.Log, Registry: o.Registry})
	p.web = web.New(web.Options{
		Node: o.Node, Log: o.Log, AccessLog: o.AccessLog, Timeouts: o.Timeouts, Ended: p.gate.leave, Registry: o.Registry,
		MaxServers: serverLimit(o.MaxConnections),
	})
	var connections *slog.Logger
	if o.AccessLog != nil {
		connections = slog.New(slog.NewJSONHandler(o.AccessLog, nil))
	}
	p.stream = stream.New(stream.Options{Log: o.Log, AccessLog: connections, Connect: o.Timeouts.Connect, Ended: p.gate.leave, Registry: o.Registry})
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Open readies the proxy for its first document.
func (p *Proxy) Open(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open || p.closed {
		return errors.New("open proxy: it was opened before")
	}
	p.gate.open(p.opts.MaxConnections)
	if err := p.openParts(ctx); err != nil {
		return err
	}
	p.open = true
	p.wg.Go(p.bindLoop)
	return nil
}

func (p *Proxy) openParts(ctx context.Context) (err error) {
	if err := p.pool.Open(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.pool.Close(ctx)
		}
	}()
	if err := p.web.Open(ctx); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			p.web.Close()
		}
	}()
	if err := p.stream.Open(ctx); err != nil {
		return err
	}
	if p.opts.Registry != nil {
		if err := p.opts.Registry.Register(p); err != nil {
			p.stream.Close()
			return err
		}
		if err := p.opts.Registry.Register(p.rates); err != nil {
			p.opts.Registry.Unregister(p)
			p.stream.Close()
			return err
		}
	}
	return nil
}

// Close accepts nothing more, lets running requests end until ctx does, and then cuts them. It waits for
// every goroutine. It returns ctx's error if something was cut.
func (p *Proxy) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.open || p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	for at, s := range p.sockets {
		p.retire(s)
		delete(p.sockets, at)
	}
	clear(p.waiting)
	p.mu.Unlock()
	// The drains end with ctx; so does the binder, at once.
	done := make(chan struct{})
	close(p.retry)
	go func() {
		p.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	p.cancel()
	<-done
	if p.opts.Registry != nil {
		p.opts.Registry.Unregister(p.rates)
		p.opts.Registry.Unregister(p)
	}
	p.stream.Close()
	p.web.Close()
	p.pool.Close(ctx)
	return err
}
