package web

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/h1"
)

const (
	keepIdle     = 60 * time.Second // for an idle connection to a server
	maxIdle      = 1024             // of them, to one server
	maxAnswer    = 256 << 10        // bytes of an answer's head
	continueWait = time.Second
)

// serverConn is an HTTP/1.1 connection to a server. It belongs to one exchange at a time.
type serverConn struct {
	pool    *serverPool
	service *upstream.Service
	tcp     *net.TCPConn
	in      input
	reused  bool      // it has answered a request before
	idle    time.Time // since when
	readBy  deadline
	writeBy deadline
	chunks  h1.Chunked
}

// serverPool keeps the idle connections to one server. The one used last is used next, so that those that are not needed
// grow old.
type serverPool struct {
	engine  *Engine
	address string

	mu    sync.Mutex
	idle  []*serverConn
	gone  bool // the server has left the document
	timer *time.Timer
	h2    *transport2 // nil unless the server speaks HTTP/2
}

// poolOf returns the connections to a server.
func (e *Engine) poolOf(s *upstream.Server) *serverPool {
	return s.Pool(e.newPool).(*serverPool)
}

func (e *Engine) newPool(s *upstream.Server) io.Closer {
	return &serverPool{engine: e, address: s.Address()}
}

// get returns a connection that idles, or nil. With look it is one that the server has not closed yet, as far as can be known here; else
// that is seen when the request is written.
func (p *serverPool) get(look bool) *serverConn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		s := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if !look || s.in.wait == nil || s.in.wait.alive() {
			return s
		}
		s.close()
	}
}

// dial makes a connection. The error is a *dialError, or errRoom; nothing of a request was sent.
func (p *serverPool) dial(ctx context.Context, server *upstream.Server, limit time.Duration) (*serverConn, error) {
	if !p.engine.room.enter() {
		return nil, errRoom
	}
	service := server.Service()
	for !service.EnterConnection() {
		if !service.Pools(func(c io.Closer) bool { return c.(*serverPool).shed() }) {
			p.engine.room.leave()
			return nil, upstream.ErrFull
		}
	}
	dialer := net.Dialer{Timeout: limit}
	c, err := dialer.DialContext(ctx, "tcp", p.address)
	if err != nil {
		service.LeaveConnection()
		p.engine.room.leave()
		return nil, &dialError{err}
	}
	tcp := c.(*net.TCPConn)
	return &serverConn{pool: p, service: service, tcp: tcp, in: newInput(tcp, &p.engine.buffers)}, nil
}

// put takes a connection back that has answered a request whole, with nothing behind the answer.
func (p *serverPool) put(s *serverConn, now time.Time) {
	s.reused, s.idle = true, now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone || len(p.idle) >= maxIdle || p.engine.room.scarce() {
		s.close()
		return
	}
	p.idle = append(p.idle, s)
	if p.timer == nil {
		p.timer = time.AfterFunc(keepIdle, p.prune)
	}
}

// prune closes what has been idle for too long, and comes again while anything idles.
func (p *serverPool) prune() {
	p.mu.Lock()
	defer p.mu.Unlock()
	limit := time.Now().Add(-keepIdle)
	old := 0
	for old < len(p.idle) && p.idle[old].idle.Before(limit) {
		p.idle[old].close()
		old++
	}
	left := copy(p.idle, p.idle[old:])
	clear(p.idle[left:])
	if p.idle = p.idle[:left]; left == 0 || p.gone {
		p.timer = nil
		return
	}
	p.timer.Reset(keepIdle / 4)
}

// shed closes the connection that has idled for longest, if there is one: a place is needed for another.
func (p *serverPool) shed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return false
	}
	p.idle[0].close()
	p.idle = append(p.idle[:0], p.idle[1:]...)
	return true
}

// Close closes what is idle, and what becomes idle later.
func (p *serverPool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	for _, s := range p.idle {
		s.close()
	}
	p.idle = nil
	if p.h2 != nil {
		p.h2.leave()
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	return nil
}

// done ends an exchange's use of the connection.
func (s *serverConn) done(keep bool, now time.Time) {
	if !keep {
		s.in.drop()
		s.close()
		return
	}
	s.in.release()
	s.pool.put(s, now)
}

// close is called once.
func (s *serverConn) close() {
	s.tcp.Close()
	s.service.LeaveConnection()
	s.pool.engine.room.leave()
}

// dialError is the failure to connect: nothing of the request was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
