package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"tripod/proxy/stream"
	"tripod/proxy/web"
)

// socket is a bound address. What it serves may change while it stays.
type socket struct {
	proxy   *Proxy
	at      place
	ln      *net.TCPListener
	serving atomic.Pointer[serving]
	closed  chan struct{}
	done    chan struct{} // accept has returned
}

// serving is what a socket does with a connection now. One of web and stream is set.
type serving struct {
	spec   spec
	web    *web.Front
	stream *stream.Front
}

// startSocket serves a bound address. p.mu is held.
func (p *Proxy) startSocket(at place, ln *net.TCPListener, sp spec) *socket {
	s := &socket{proxy: p, at: at, ln: ln, closed: make(chan struct{}), done: make(chan struct{})}
	s.use(sp)
	p.wg.Go(s.accept)
	return s
}

// use makes sp what the socket serves from now on. Proxy.mu is held.
func (s *socket) use(sp spec) {
	p, former := s.proxy, s.serving.Load()
	next := &serving{spec: sp}
	if sp.config.Protocol == TCP {
		l := p.streamListener(sp)
		if former != nil && former.stream != nil {
			next.stream = former.stream
			next.stream.Set(l)
		} else {
			next.stream = p.stream.Front(l)
		}
	} else {
		l := p.webListener(s.at, sp)
		if former != nil && former.web != nil {
			next.web = former.web
			next.web.Set(l)
		} else {
			next.web = p.web.Front(l)
		}
	}
	s.serving.Store(next)
	if former != nil && (former.web != next.web || former.stream != next.stream) {
		p.drain(former)
	}
}

// accept hands connections over until the socket is closed.
func (s *socket) accept() {
	defer close(s.done)
	const maxPause = time.Second
	var pause time.Duration
	for {
		c, err := s.ln.AcceptTCP()
		if err == nil {
			pause = 0
			s.take(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of file descriptors, most likely: connections that end make room.
		if pause = min(max(2*pause, 5*time.Millisecond), maxPause); pause == maxPause {
			s.proxy.log.Error("accept connection", "address", s.at.String(), "error", err)
		}
		select {
		case <-time.After(pause):
		case <-s.closed:
		}
	}
}

// take serves a connection, if there is room for it.
func (s *socket) take(c *net.TCPConn) {
	if s.proxy.gate.enter(c) {
		s.serving.Load().serve(c, s.proxy.opts.TLS)
	}
}

func (v *serving) serve(c *net.TCPConn, config *tls.Config) {
	switch {
	case v.stream != nil:
		v.stream.ServeConn(c)
	case v.spec.config.TLS:
		v.web.ServeConn(tls.Server(web.Quick(c), config))
	default:
		v.web.ServeConn(c)
	}
}

// conns is the number of open connections.
func (v *serving) conns() int64 {
	if v.stream != nil {
		return v.stream.Conns()
	}
	return v.web.Conns()
}

// retire closes a socket: when it returns nothing is accepted any more. Connections that are in its queue are
// served yet; what runs may end. p.mu is held.
func (p *Proxy) retire(s *socket) {
	close(s.closed)
	last := queued(s.ln)
	s.ln.Close()
	<-s.done
	v := s.serving.Load()
	for _, c := range last {
		s.take(c)
	}
	p.drain(v)
}

// drain lets the connections of a former socket or protocol end.
func (p *Proxy) drain(v *serving) {
	p.wg.Go(func() {
		ctx, cancel := context.WithTimeout(p.ctx, drainTime)
		defer cancel()
		if v.stream != nil {
			v.stream.Close(ctx)
		} else {
			v.web.Close(ctx)
		}
	})
}
