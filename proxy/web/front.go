package web

import (
	"context"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxHead        = 64 << 10
	headTimeout    = 10 * time.Second // also for TLS handshakes
	idleTimeout    = 75 * time.Second
	maxStreams     = 250
	pingAfter      = 30 * time.Second // of silence on an HTTP/2 connection
	pingTimeout    = 15 * time.Second
	writeTimeout   = 60 * time.Second       // for an HTTP/2 connection to take anything
	farewell       = 300 * time.Millisecond // for busy clients to be told, by an answer, that we close
	quiet          = 100 * time.Millisecond
	quietTick      = 10 * time.Millisecond
	cutGrace       = 5 * time.Second
	maxConnWindow  = 4 << 20
	maxStreamWinow = 1 << 20
)

// Listener is what a front knows of its listener. It is immutable and replaced as a whole.
type Listener struct {
	Name string
	// Port is the port that clients connect to, for X-Forwarded-Port.
	Port string
	// RedirectHTTPS answers everything with a redirect to the https listener.
	RedirectHTTPS bool
}

// Front is the engine's side of one listening socket.
type Front struct {
	engine   *Engine
	listener atomic.Pointer[Listener]
	server   http.Server
	queue    connQueue
	cut      context.CancelFunc // ends the context of every request
	conns    atomic.Int64
	requests atomic.Int64
	leaving  atomic.Bool    // answers tell the client to close
	served   sync.WaitGroup // the accept loop of server
	close    sync.Once
}

// Front starts a front for a socket.
func (e *Engine) Front(l *Listener) *Front {
	f := &Front{engine: e, queue: connQueue{conns: make(chan net.Conn), done: make(chan struct{})}}
	f.listener.Store(l)
	base, cut := context.WithCancel(context.Background())
	f.cut = cut
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	f.server = http.Server{
		Handler: f,
		// Or OPTIONS * would be answered without us: no id, no count, no line in the log.
		DisableGeneralOptionsHandler: true,
		Protocols:                    protocols,
		ReadHeaderTimeout:            headTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHead,
		BaseContext:                  func(net.Listener) context.Context { return base },
		ConnState:                    f.connState,
		ErrorLog:                     log.New(debugWriter{e.log}, "", 0),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxReceiveBufferPerConnection: maxConnWindow,
			MaxReceiveBufferPerStream:     maxStreamWinow,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
			WriteByteTimeout:              writeTimeout,
		},
	}
	// Serve and not ServeTLS: the connections come with TLS on them, made with a configuration that stays
	// its owner's, so that ticket keys rotated there are seen here. ServeTLS would clone it.
	f.served.Go(func() { f.server.Serve(&f.queue) })
	return f
}

// Set replaces what the front knows of its listener, for requests from now on.
func (f *Front) Set(l *Listener) { f.listener.Store(l) }

// ServeConn takes over a connection, a *net.TCPConn or a *tls.Conn before its handshake. It does not wait
// for it to end.
func (f *Front) ServeConn(c net.Conn) {
	select {
	case f.queue.conns <- c:
	case <-f.queue.done:
		c.Close()
		f.engine.opts.Ended()
	}
}

// Conns is the number of open connections.
func (f *Front) Conns() int64 { return f.conns.Load() }

// Close asks clients to leave, waits for running requests and upgraded connections until ctx ends, and then
// cuts what is left. It returns the context's error if something was cut.
func (f *Front) Close(ctx context.Context) error {
	var err error
	f.close.Do(func() { err = f.shut(ctx) })
	return err
}

func (f *Front) shut(ctx context.Context) error {
	// A connection that is closed while it idles may be closed just when its client sends a request. Busy
	// clients are told with their next answer instead; only then those that stayed idle are closed.
	f.leaving.Store(true)
	f.await(ctx, farewell, func() bool { return f.conns.Load() == 0 })
	graceful, stop := context.WithCancel(ctx)
	var shutdown sync.WaitGroup
	shutdown.Go(func() { f.server.Shutdown(graceful) })
	err := f.awaitQuiet(ctx)
	stop()
	shutdown.Wait()
	f.cut()
	f.server.Close()
	f.served.Wait()
	f.await(context.Background(), cutGrace, func() bool { return f.conns.Load()+f.requests.Load() == 0 })
	return err
}

// await waits until done, for a limited time.
func (f *Front) await(ctx context.Context, limit time.Duration, done func() bool) {
	tick := time.NewTicker(quietTick)
	defer tick.Stop()
	for end := time.Now().Add(limit); !done() && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// awaitQuiet returns when there was no request for a moment, which is the time for a request that is just
// arriving to show itself. Shutdown alone would wait five seconds for a connection that never sent anything.
func (f *Front) awaitQuiet(ctx context.Context) error {
	tick := time.NewTicker(quietTick)
	defer tick.Stop()
	since := time.Now()
	for {
		if f.conns.Load() == 0 && f.requests.Load() == 0 {
			return nil
		}
		if f.requests.Load() > 0 {
			since = time.Now()
		} else if time.Since(since) >= quiet {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connState counts connections. One that was upgraded counts until its upgrade ends.
func (f *Front) connState(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		f.conns.Add(1)
	case http.StateClosed:
		f.ended()
	}
}

// ended is called once for each connection.
func (f *Front) ended() {
	f.conns.Add(-1)
	f.engine.opts.Ended()
}

// connQueue is the listener that hands a front's connections to its http.Server.
type connQueue struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

var _ net.Listener = (*connQueue)(nil)

// Accept returns the next connection.
func (q *connQueue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.done:
		return nil, errClosed
	}
}

// Close ends Accept.
func (q *connQueue) Close() error {
	q.once.Do(func() { close(q.done) })
	return nil
}

// Addr names the queue.
func (q *connQueue) Addr() net.Addr { return queueAddr{} }

type queueAddr struct{}

func (queueAddr) Network() string { return "tcp" }
func (queueAddr) String() string  { return "proxy" }

// debugWriter passes the lines of net/http, which are about clients' misbehaviour, on to the log.
type debugWriter struct{ log *slog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	n := len(p)
	if n > 0 && p[n-1] == '\n' {
		p = p[:n-1]
	}
	w.log.Debug("http connection", "message", string(p))
	return n, nil
}
