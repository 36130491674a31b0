package stream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"tripod/proxy/upstream"
)

const (
	// maxTries bounds how many servers are tried for one connection, and triesTime for how long new tries begin.
	maxTries  = 32
	triesTime = 10 * time.Second
)

// Front is the engine's side of one listening socket.
type Front struct {
	engine   *Engine
	listener atomic.Pointer[Listener]
	ctx      context.Context
	cut      context.CancelFunc
	conns    atomic.Int64

	mu     sync.Mutex // guards closed against wg
	closed bool
	wg     sync.WaitGroup
}

// Front makes a front for a socket.
func (e *Engine) Front(l *Listener) *Front {
	f := &Front{engine: e}
	f.listener.Store(l)
	f.ctx, f.cut = context.WithCancel(context.Background())
	return f
}

// Set replaces what the front knows of its listener, for connections from now on.
func (f *Front) Set(l *Listener) { f.listener.Store(l) }

// Conns is the number of open connections.
func (f *Front) Conns() int64 { return f.conns.Load() }

// ServeConn takes over a connection, and does not wait for it to end.
func (f *Front) ServeConn(c *net.TCPConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		c.Close()
		f.engine.opts.Ended()
		return
	}
	f.conns.Add(1)
	s := &session{front: f, listener: f.listener.Load(), raw: c, client: c, start: time.Now()}
	f.wg.Go(s.run)
}

// Close waits for the connections to end until ctx ends, and then cuts them. It returns the context's error
// if something was cut.
func (f *Front) Close(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		f.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.cut()
	<-done
	return err
}

// conn is a connection whose directions end one by one.
type conn interface {
	net.Conn
	CloseWrite() error
}

var (
	_ conn = (*net.TCPConn)(nil)
	_ conn = (*tls.Conn)(nil)
)

// session is one client's connection and its way to a server.
type session struct {
	front    *Front
	listener *Listener
	raw      *net.TCPConn
	client   conn // raw, or TLS over it
	start    time.Time
	server   *upstream.Server
	in, out  int64
}

func (s *session) run() {
	defer s.front.engine.opts.Ended()
	defer s.front.conns.Add(-1)
	defer s.raw.Close()
	stats := s.front.engine.statsOf(s.listener)
	stats.conns.Add(1)
	err := s.serve()
	stats.in.Add(uint64(s.in))
	stats.out.Add(uint64(s.out))
	s.log(err)
}

func (s *session) serve() error {
	if s.listener.TLS != nil {
		if err := s.handshake(); err != nil {
			return fmt.Errorf("%w: %w", errHandshake, err)
		}
	}
	server, err := s.connect()
	if err != nil {
		return err
	}
	defer s.server.Release()
	return s.join(server)
}

// handshake takes TLS off the connection. The configuration is cloned for each connection, which keeps the
// ticket keys of this moment, because its protocols (h2, http/1.1) are not what is spoken here: a client that
// names its own, say postgresql, would be refused (RFC 7301 §3.2).
func (s *session) handshake() error {
	config := s.listener.TLS.Clone()
	config.NextProtos = nil
	ctx, cancel := context.WithTimeout(s.front.ctx, s.front.engine.opts.Handshake)
	defer cancel()
	c := tls.Server(s.raw, config)
	s.client = c
	return c.HandshakeContext(ctx)
}

// connect finds a server that takes the connection.
func (s *session) connect() (*net.TCPConn, error) {
	dialer := net.Dialer{Timeout: s.front.engine.opts.Connect}
	ask := s.ask()
	var fault error
	for {
		server, err := s.listener.Service.Acquire(s.front.ctx, ask)
		if now := s.front.listener.Load(); errors.Is(err, upstream.ErrGone) && fault == nil && now.Service != s.listener.Service {
			s.listener = now // the document changed while the connection waited for a server
			ask = s.ask()
			continue
		}
		if err != nil {
			return nil, errors.Join(fault, err)
		}
		s.server = server
		c, err := dialer.DialContext(s.front.ctx, "tcp", server.Address())
		if err == nil {
			server.Answered(0)
			return c.(*net.TCPConn), nil
		}
		server.Release()
		server.Failed(err)
		fault = err
		ask.Try(server)
		if len(ask.Tried) >= maxTries || time.Since(s.start) > triesTime || s.front.ctx.Err() != nil {
			return nil, fault
		}
	}
}

// ask is what the connection is known by.
func (s *session) ask() *upstream.Ask {
	ask := &upstream.Ask{}
	if _, byIP := s.listener.Service.HashOn(); byIP {
		ask.Hash = upstream.HashOf(addrOf(s.raw.RemoteAddr()))
	}
	return ask
}

// copyBuffer carries one direction where the kernel cannot.
type copyBuffer [16 << 10]byte

// join copies both directions until both have ended, one has failed, or the front is cut.
func (s *session) join(server *net.TCPConn) error {
	defer server.Close()
	abort := func() {
		s.raw.Close()
		server.Close()
	}
	aborted := make(chan struct{})
	stop := context.AfterFunc(s.front.ctx, func() {
		defer close(aborted)
		abort()
	})
	defer func() {
		if !stop() {
			<-aborted // everything that was started has ended when the front has closed
		}
	}()
	var wg sync.WaitGroup
	var inErr, outErr error
	wg.Go(func() {
		if s.in, inErr = s.carry(server, s.client); inErr != nil {
			abort()
		}
	})
	wg.Go(func() {
		if s.out, outErr = s.carry(s.client, server); outErr != nil {
			abort()
		}
	})
	wg.Wait()
	if inErr != nil && !errors.Is(inErr, net.ErrClosed) {
		return inErr
	}
	return outErr
}

// carry copies one direction and passes its end on.
func (s *session) carry(dst, src conn) (int64, error) {
	var n int64
	var err error
	if _, encrypted := s.client.(*tls.Conn); !encrypted {
		n, err = io.Copy(dst, src)
	} else {
		buf := s.front.engine.buffers.Get().(*copyBuffer)
		n, err = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
		s.front.engine.buffers.Put(buf)
	}
	if err != nil {
		return n, err
	}
	if err := dst.CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		return n, err
	}
	return n, nil
}

func (s *session) log(err error) {
	e := s.front.engine
	log := e.opts.AccessLog
	if log == nil || !e.logging.Load() {
		return
	}
	server := ""
	if s.server != nil {
		server = s.server.Address()
	}
	attrs := []slog.Attr{
		slog.String("client", addrOf(s.raw.RemoteAddr())),
		slog.String("listener", s.listener.Name),
		slog.String("service", s.listener.Service.Name()),
		slog.String("server", server),
		slog.Int64("bytes_in", s.in),
		slog.Int64("bytes_out", s.out),
		slog.Float64("duration_ms", float64(time.Since(s.start).Microseconds())/1000),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	log.LogAttrs(context.Background(), slog.LevelInfo, "connection", attrs...)
}

// addrOf returns the address without port and zone.
func addrOf(a net.Addr) string {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return ""
	}
	return p.Addr().Unmap().WithZone("").String()
}
