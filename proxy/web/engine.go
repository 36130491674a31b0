// Package web is the proxy's HTTP engine: it speaks HTTP/1.1 and HTTP/2 with clients and with servers, and passes bodies, trailers,
// informational answers and upgraded connections (WebSocket and any other) as they come.
//
// An Engine holds what all listeners share, above all the Table of routes, which is swapped whole. A Front is
// the engine's side of one listening socket: the owner of the socket accepts connections, puts TLS on them
// if it wants to, and hands them over with Front.ServeConn.
//
// # What happens to a request
//
// The host and the normalised path choose a route, and its rules (package rule) decide whether the request is let in; unless they say otherwise,
// its target and its Host go to the server as the client sent them. Hop-by-hop fields end here (RFC 9110 §7.6.1). What a client says about
// where it came from (X-Forwarded-*, Forwarded, X-Real-Ip, X-Request-Id) is discarded, in trailers too, and said by us. If no connection to the
// chosen server can be made, another one is tried. A request that was sent is sent again if its method is idempotent, its content was in hand, and
// the client has got nothing yet (RFC 9110 §9.2.2): to another server as far as the service's retries go, and once to the same one if a connection
// that had idled ended without a word.
//
// # Answers of our own
//
// They are short plain text with the request's id, or the document's own pages: 400 (what is no request, a target or Host that cannot be,
// OPTIONS *), 401 and 403 (the route's rules), 404 (no route), 405 (CONNECT and TRACE), 408 (the client stopped sending), 413 (more content than
// the route takes), 414, 417, 429 (more requests than a rate limit lets through), 431, 501 and 505 (heads that we do not take), 502 (no connection to the server, or no HTTP from it), 503 (no server
// up, or all full, or several that failed, or as many requests as there is room for), 504 (no answer in time). A client that went away before its answer is logged as
// 499. An answer that breaks off in the middle breaks off at the client as well.
//
// # Limits
//
// A head has at most 64 KiB and ten seconds; a connection idles 75 s; an HTTP/2 connection has 250 streams;
// a body makes progress every minute until the answer begins, an answer every five minutes. An upgraded
// connection has no time limit. Whatever a stranger makes panic is his own connection (see survive).
package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/rule"
)

// Timeouts bound an exchange with a server. Zero fields mean the defaults.
type Timeouts struct {
	Connect time.Duration // to connect to a server; 5 s
	Answer  time.Duration // from the request's end to the answer's head; 60 s
	Body    time.Duration // between two parts of a request's content; 60 s
	Stall   time.Duration // between two parts of an answer, for a server to send and for a client to take it; 5 min
	// HalfClosed is for how long a server is waited for when the client has closed its side of an HTTP/1 connection: it may have
	// said all that it wanted to say, or it may have gone; 5 s.
	HalfClosed time.Duration
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&t.Connect, 5 * time.Second}, {&t.Answer, time.Minute}, {&t.Body, time.Minute}, {&t.Stall, 5 * time.Minute}, {&t.HalfClosed, 5 * time.Second}} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	return t
}

// Options are the engine's surroundings.
type Options struct {
	Node string       // name for our own answers; empty leaves it out
	Log  *slog.Logger // nil discards
	// AccessLog takes one line of JSON with each Write, which must not wait, nor keep the bytes; nil for none.
	AccessLog io.Writer
	Timeouts  Timeouts
	// MaxServers is how many HTTP/1 connections to servers may be open, all servers together; zero is no limit.
	MaxServers int
	// Ended is called when a connection that was handed over has ended; nil for nobody.
	Ended func()
	// Registry takes the metrics while the engine is open; nil for none.
	Registry prometheus.Registerer
}

// Engine is what the HTTP listeners of a node share.
type Engine struct {
	opts  Options
	log   *slog.Logger
	table atomic.Pointer[Table]
	open  bool

	room      room
	buffers   buffers
	exchanges sync.Pool // of *exchange
	tunnels   sync.Pool // of *tunnelBuffer
	pipes     pipes
	dates     atomic.Pointer[date]
	plain2    h2.Options // HTTP/2 without TLS, and with it
	secure2   h2.Options
	limits    limits // of routes that name none
	packer    rule.Compressor
}

// New returns an engine that answers every request with 404 until its first table.
func New(o Options) *Engine {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Ended == nil {
		o.Ended = func() {}
	}
	o.Timeouts = o.Timeouts.withDefaults()
	e := &Engine{opts: o, log: o.Log}
	e.limits = o.Timeouts.limits()
	e.room.most = int64(o.MaxServers)
	e.plain2.Log, e.secure2.Log, e.secure2.TLS = o.Log, o.Log, true
	e.exchanges.New = func() any { return new(exchange) }
	e.tunnels.New = func() any { return new(tunnelBuffer) }
	t, _ := newTable(Rules{}, nil, o.Timeouts) // no routes, no fault
	e.table.Store(t)
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
	e.pipes.close()
	e.open = false
}

// Compile builds the table of r, which has no effect before Swap. One at a time.
func (e *Engine) Compile(r Rules) (*Table, error) {
	return newTable(r, e.table.Load(), e.opts.Timeouts)
}

// Swap makes t the table for all requests from now on. Figures of listeners that keep does not want are
// forgotten.
func (e *Engine) Swap(t *Table, keep func(listener string) bool) {
	e.table.Store(t)
	for _, s := range t.stats {
		s.forget(keep)
	}
}

// errClosed is the end of a connection that idles when its front closes.
var errClosed = errors.New("the connection is closed")

// exchange returns one that is empty.
func (e *Engine) exchange() *exchange { return e.exchanges.Get().(*exchange) }

// recycle takes an exchange back.
func (e *Engine) recycle(x *exchange) {
	x.reset()
	e.exchanges.Put(x)
}

// debug tells what clients do wrong.
func (e *Engine) debug(what, client string, err error) {
	e.log.LogAttrs(context.Background(), slog.LevelDebug, what, slog.String("client", client), slog.Any("error", err))
}

// date is the value of a Date field, which is good for a second (RFC 9110 §5.6.7).
type date struct {
	second int64
	text   string
}

func (e *Engine) date(now time.Time) string {
	d := e.dates.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
		e.dates.Store(d)
	}
	return d.text
}
