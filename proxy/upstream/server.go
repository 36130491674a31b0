package upstream

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"tripod/proxy/upstream/balance"
	"tripod/proxy/upstream/health"
)

// Server is one server of one service.
type Server struct {
	service *Service
	address string
	name    atomic.Pointer[string] // changes with the document
	tag     string                 // names it in sticky cookies

	place  *balance.Place
	total  atomic.Uint64
	passed atomic.Uint64 // checks
	failed atomic.Uint64
	faults atomic.Uint64 // requests that it failed
	row    atomic.Int32  // failures in a row
	good   atomic.Uint32 // answers in the present window
	bad    atomic.Uint32
	out    atomic.Bool // down by its checks, and not asked all the same

	// Guarded by Service.mu.
	target  target
	order   Order
	up      bool
	checked bool // a check has ended, or none is needed
	proven  bool // a check has passed once
	streak  int  // results in a row that speak against up
	since   time.Time
	reason  string
	verdict health.Verdict
	ejected ejection
	warming time.Time // since when; zero if it is warm
	stand   standing  // in the present view
	entered time.Time // when it got that
	check   *check

	poolMu sync.Mutex
	pool   atomic.Pointer[io.Closer]
	gone   bool
}

// Address is the server's host:port.
func (s *Server) Address() string { return s.address }

// Name is the same as the document has it, where a host name may stand for several addresses.
func (s *Server) Name() string { return *s.name.Load() }

// Tag names the server in its service's sticky cookie; empty if the service has none.
func (s *Server) Tag() string { return s.tag }

// Service is whose server it is.
func (s *Server) Service() *Service { return s.service }

// Down tells whether checks have found the server down: what it has not answered yet, it may never answer. Where servers are asked although they are
// down, none is.
func (s *Server) Down() bool { return s.out.Load() }

// Release ends what Service.Acquire began.
func (s *Server) Release() {
	service := s.service
	s.place.Leave()
	service.running.Add(-1)
	// A view that is made just now may have counted what has left.
	for v := service.view.Load(); ; {
		v.set.Left(s.place)
		now := service.view.Load()
		if now == v {
			break
		}
		v = now
	}
	if service.queue.length() > 0 {
		service.serveQueue()
	}
}

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
	s.endCheck()
	s.poolMu.Lock()
	defer s.poolMu.Unlock()
	s.gone = true
	if p := s.pool.Load(); p != nil {
		(*p).Close()
	}
}

// endCheck ends the server's checks. Service.mu is held.
func (s *Server) endCheck() {
	if s.check != nil {
		s.service.owner.checker.remove(s.check)
		s.check = nil
	}
}
