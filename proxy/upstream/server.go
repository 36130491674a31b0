package upstream

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Server is one server of one service.
type Server struct {
	service *Service
	address string
	cookie  string // set once, under Service.mu, before any view shows the server

	active atomic.Int64
	total  atomic.Uint64
	passed atomic.Uint64
	failed atomic.Uint64

	// Guarded by Service.mu.
	up      bool
	checked bool // a check has ended, or none is needed
	proven  bool // a check has passed once
	streak  int  // results in a row that speak against up
	since   time.Time
	reason  string
	check   *check

	poolMu sync.Mutex
	pool   atomic.Pointer[io.Closer]
	gone   bool
}

// Address is the server's host:port.
func (s *Server) Address() string { return s.address }

// Cookie is the value that names this server in its service's sticky cookie; empty if the service has none.
func (s *Server) Cookie() string { return s.cookie }

// Release ends what Service.Acquire began.
func (s *Server) Release() { s.active.Add(-1) }

// Pool returns what the caller keeps open to the server, made by open on first use. It is closed when
// the server leaves the document; requests that still run then may go on using it.
func (s *Server) Pool(open func(*Server) io.Closer) io.Closer {
	if p := s.pool.Load(); p != nil {
		return *p
	}
	s.poolMu.Lock()
	defer s.poolMu.Unlock()
	if p := s.pool.Load(); p != nil {
		return *p
	}
	p := open(s)
	s.pool.Store(&p)
	if s.gone {
		p.Close()
	}
	return p
}

// Gone tells whether the server has left the document.
func (s *Server) Gone() bool {
	s.poolMu.Lock()
	defer s.poolMu.Unlock()
	return s.gone
}

// leave ends the checks and closes the pool. Service.mu is held.
func (s *Server) leave() {
	if s.check != nil {
		s.service.owner.checker.remove(s.check)
		s.check = nil
	}
	s.poolMu.Lock()
	defer s.poolMu.Unlock()
	s.gone = true
	if p := s.pool.Load(); p != nil {
		(*p).Close()
	}
}
