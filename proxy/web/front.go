package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"tripod/proxy/stream"
	"tripod/proxy/web/rule"
)

const (
	maxHead     = 64 << 10
	headTimeout = 10 * time.Second // also for TLS handshakes
	idleTimeout = 75 * time.Second
	farewell    = 300 * time.Millisecond // for busy clients to be told, by an answer, that we close
	lingerTime  = 2 * time.Second
	closeTick   = 10 * time.Millisecond
	cutGrace    = 5 * time.Second
)

// Listener is what a front knows of its listener. It is immutable and replaced as a whole.
type Listener struct {
	Name string
	// Port is the port that clients connect to, for X-Forwarded-Port.
	Port string
	// RedirectHTTPS answers everything with a redirect to the https listener.
	RedirectHTTPS bool
	// H2C takes HTTP/2 with prior knowledge from connections without TLS (RFC 9113 §3.3).
	H2C bool
	// ProxyProtocol are the networks whose connections begin with a PROXY header.
	ProxyProtocol rule.Networks
	// Trusted are the networks whose word about the client's address is taken.
	Trusted rule.Networks
}

// Front is the engine's side of one listening socket.
type Front struct {
	engine   *Engine
	listener atomic.Pointer[Listener]
	leaving  atomic.Bool // answers tell the client to close
	life     context.Context
	cut      context.CancelFunc // ends life, and with it what waits for servers
	work     sync.WaitGroup     // connections, and the watcher
	close    sync.Once

	mu     sync.Mutex // guards what follows
	conns  map[*client1]connection
	closed bool // nothing is taken any more
}

// connection is one of a client's, to those who want it to end.
type connection interface {
	// closeIdle closes it if it waits for a request. HTTP/2 tells the client to leave, and lets running requests end.
	closeIdle()
	// kill ends it at once, with all that it does.
	kill()
}

// Front starts a front for a socket.
func (e *Engine) Front(l *Listener) *Front {
	f := &Front{engine: e, conns: map[*client1]connection{}}
	f.listener.Store(l)
	f.life, f.cut = context.WithCancel(context.Background())
	f.work.Go(f.watch)
	return f
}

// Set replaces what the front knows of its listener, for requests from now on.
func (f *Front) Set(l *Listener) { f.listener.Store(l) }

// ServeConn takes over a connection, a *net.TCPConn or a *tls.Conn before its handshake. It does not wait
// for it to end.
func (f *Front) ServeConn(conn net.Conn) {
	c := &client1{front: f, conn: conn}
	c.setAddress(remoteOf(conn))
	if t, ok := conn.(*tls.Conn); ok {
		c.secure = true
		switch below := t.NetConn().(type) {
		case *quickConn:
			c.tcp = below.TCPConn
		case *net.TCPConn:
			c.tcp = below
		}
	} else {
		c.tcp, _ = conn.(*net.TCPConn)
	}
	c.in = newInput(conn, &f.engine.buffers)
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		conn.Close()
		f.engine.opts.Ended()
		return
	}
	f.conns[c] = c
	f.work.Add(1)
	f.mu.Unlock()
	go c.serve()
}

// leave is called once for each connection that was taken, when it has ended.
func (f *Front) leave(c *client1) {
	c.conn.Close()
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	f.engine.opts.Ended()
	f.work.Done()
}

// Conns is the number of open connections.
func (f *Front) Conns() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.conns))
}

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
	f.await(ctx, farewell, func() {})
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	err := f.await(ctx, 0, func() { f.each(connection.closeIdle) })
	f.cut()
	f.each(connection.kill)
	ended := make(chan struct{})
	go func() {
		f.work.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(cutGrace):
	}
	return err
}

// await waits until no connection is left, for a limited time (0: none) or until ctx ends, and does what is to be done meanwhile.
func (f *Front) await(ctx context.Context, limit time.Duration, meanwhile func()) error {
	tick := time.NewTicker(closeTick)
	defer tick.Stop()
	for began := time.Now(); f.Conns() > 0 && (limit == 0 || time.Since(began) < limit); {
		meanwhile()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// each calls do for every connection.
func (f *Front) each(do func(connection)) {
	f.mu.Lock()
	all := make([]connection, 0, len(f.conns))
	for _, c := range f.conns {
		all = append(all, c)
	}
	f.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}

// closeIdle implements connection.
func (c *client1) closeIdle() {
	for _, state := range [...]connState{stateIdle, stateNew} {
		if c.state.CompareAndSwap(state, stateClosed) {
			c.conn.SetReadDeadline(past) // its own goroutine closes it
		}
	}
}

// kill implements connection.
func (c *client1) kill() {
	c.cut.Store(true)
	c.link.ClientGone()
	c.tcp.Close() // not through TLS, which may wait for a write
}

// setAddress says who the client is.
func (c *client1) setAddress(a netip.Addr) {
	c.remote = a.Unmap().WithZone("")
	c.address = c.remote.String()
}

// remoteOf is the other side's address.
func remoteOf(c net.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

// introduce reads the PROXY header of a connection from a proxy that sends one.
func (c *client1) introduce() bool {
	if !c.front.listener.Load().ProxyProtocol.Contains(c.remote) {
		return true
	}
	h, err := stream.ReadProxyHeader(c.tcp)
	if err != nil {
		c.front.engine.debug("no PROXY header", c.address, err)
		return false
	}
	if h.Source.IsValid() {
		c.setAddress(h.Source.Addr())
	}
	return true
}
