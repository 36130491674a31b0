package upstream

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"tripod/proxy/upstream/balance"
)

// firstCheckWait bounds how long a request waits for the first check of new servers when no other is up.
const firstCheckWait = 2 * time.Second

// Service is a named set of servers that answer the same requests.
type Service struct {
	name  string
	owner *Pool
	turn  atomic.Uint64 // next place in the rotation; lives through every view
	view  atomic.Pointer[view]
	queue queue

	running     atomic.Int64 // requests at all servers
	connections atomic.Int64 // to all servers
	budget      budget
	resent      atomic.Uint64 // requests that were sent again
	overBudget  atomic.Uint64 // and those that were not, for too many were
	ejections   atomic.Uint64

	mu         sync.Mutex // guards what follows and the servers' health; serialises changes of view
	config     Config
	planned    bool      // a document has had it
	began      time.Time // when one had it first
	sticky     *Sticky
	orders     map[string]Order // by address
	registered []Registration
	names      map[question]*answer // what name servers say
	places     balance.Places       // of the servers
	servers    []*Server            // the document's, in its order, then those that registered
	compared   time.Time            // when the servers' answers were last compared
	timer      *time.Timer          // for what comes with time
	closed     bool
}

func newService(p *Pool, name string) *Service {
	s := &Service{name: name, owner: p}
	s.view.Store(s.newView(time.Now()))
	return s
}

// Name is the service's name in the document.
func (s *Service) Name() string { return s.name }

// Sticky is how clients are kept on their servers; nil if they are not.
func (s *Service) Sticky() *Sticky { return s.view.Load().sticky }

// HashOn is what a request to the service is known by. ByIP means the client's address; a zero HashConfig without it means nothing.
func (s *Service) HashOn() (on HashConfig, byIP bool) {
	v := s.view.Load()
	return v.hash, v.byIP
}

// Acquire chooses a server for one request (or TCP connection) and counts it there until Server.Release. Where all have as many as they may, the request
// waits for its turn. The error is ErrNoneUp, ErrFull, ErrGone or the context's.
func (s *Service) Acquire(ctx context.Context, ask *Ask) (*Server, error) {
	server, err := s.AcquireNow(ask)
	if err == nil {
		return server, nil
	}
	return s.Wait(ctx, ask, err)
}

// AcquireNow is Acquire without waiting. What it was refused with is for Wait.
func (s *Service) AcquireNow(ask *Ask) (*Server, error) {
	if s.queue.length() > 0 && len(ask.Tried) == 0 { // nobody overtakes those who wait, but for who has had a turn before
		return nil, ErrFull
	}
	return s.takeNow(ask)
}

// AcquireSpare chooses a server for what can do without: only while nobody waits.
func (s *Service) AcquireSpare(ask *Ask) (*Server, error) {
	if s.queue.length() > 0 {
		return nil, ErrFull
	}
	return s.takeNow(ask)
}

// takeNow is take, for who is not in the queue.
func (s *Service) takeNow(ask *Ask) (*Server, error) {
	server, err := s.take(ask)
	if err != nil && s.queue.length() > 0 {
		s.serveQueue() // who waits may have found no room just because this request was counted for a moment
	}
	return server, err
}

// take chooses a server without waiting.
func (s *Service) take(ask *Ask) (*Server, error) {
	v := s.view.Load()
	if !s.enter(v.limits.requests) {
		return nil, ErrFull
	}
	server, err := v.choose(ask)
	if err != nil {
		s.running.Add(-1)
		return nil, err
	}
	server.total.Add(1)
	return server, nil
}

// enter counts a request, unless as many run as may; 0 is no limit. The count is never above the limit, not even for a moment: see balance.Place.
func (s *Service) enter(most int64) bool {
	if most == 0 {
		s.running.Add(1)
		return true
	}
	for {
		n := s.running.Load()
		if n >= most {
			return false
		}
		if s.running.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// apply makes c the service's configuration and returns the checks that are to be started.
func (s *Service) apply(c Config, orders map[string]Order, registered []Registration) []*check {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orders, s.registered = orders, registered
	if !s.planned {
		s.planned, s.began, s.compared = true, time.Now(), time.Now()
	}
	s.config = c
	s.sticky = newSticky(c.Sticky, s.name, s.owner.opts.StickyKey)
	s.watchNames()
	return s.settle()
}

// setOrders makes these the operators' words about the service's servers.
func (s *Service) setOrders(orders map[string]Order) []*check {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(orders) == 0 && len(s.orders) == 0 {
		return nil
	}
	s.orders = orders
	return s.settle()
}

// setRegistered makes these the servers that registered themselves.
func (s *Service) setRegistered(registered []Registration) []*check {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.EqualFunc(registered, s.registered, Registration.same) {
		return nil
	}
	s.registered = registered
	return s.settle()
}

// settle makes the servers what the document, name servers, registrations and operators say. It returns the checks that are to be started. s.mu is
// held.
func (s *Service) settle() []*check {
	if s.closed || !s.planned {
		return nil
	}
	former := make(map[string]*Server, len(s.servers))
	for _, server := range s.servers {
		former[server.address] = server
	}
	now := time.Now()
	targets := s.targets()
	servers := make([]*Server, len(targets))
	var fresh []*check
	for i, t := range targets {
		server := former[t.Address]
		if server == nil {
			server = &Server{service: s, address: t.Address, place: s.places.New(), since: now, entered: now}
		}
		delete(former, t.Address)
		servers[i] = server
		server.target = t
		if name := server.name.Load(); name == nil || *name != t.name {
			server.name.Store(&t.name)
		}
		if s.sticky != nil && server.tag == "" {
			server.tag = s.sticky.tagOf(t.Address)
		}
		server.obey(s.orders[t.Address], now)
		if ch := server.setCheck(s.config, now); ch != nil {
			fresh = append(fresh, ch)
		}
	}
	for _, server := range former {
		server.leave()
	}
	s.servers = servers
	s.rebuild(now)
	return fresh
}

// obey takes an operator's word. A server that comes out of maintenance may be another one at the same address: nothing is held against it, and its health
// was forgotten (see setCheck). Service.mu is held.
func (s *Server) obey(o Order, now time.Time) {
	was := s.order.State
	s.order = o
	if (was == Drain || was == Maint) && o.State != Drain && o.State != Maint {
		s.warming = now
	}
	if was == Maint && o.State != Maint {
		s.ejected = ejection{}
		s.row.Store(0)
	}
}

// close ends everything that belongs to the service. Requests that came for it before may still use the
// servers that are up; those that wait for one are told that it is gone.
func (s *Service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	s.forgetNames()
	for _, server := range s.servers {
		server.leave()
	}
	if s.timer != nil {
		s.timer.Stop()
	}
	last := *s.view.Load()
	last.gone, last.pending = true, false
	s.view.Store(&last)
	s.serveQueue()
}

// rebuild makes a new view of the servers that may be chosen, and sees to what comes with time. s.mu is held.
func (s *Service) rebuild(now time.Time) {
	if s.closed {
		return
	}
	v := s.newView(now)
	s.view.Store(v)
	// A request that left while the view was made may have told the former one.
	for _, server := range v.servers {
		v.set.Left(server.place)
	}
	s.serveQueue()
	s.arm(now)
}

// warmSteps is in how many steps a server warms up.
const warmSteps = 20

// arm sets the timer for the next change that comes with time. s.mu is held.
func (s *Service) arm(now time.Time) {
	var next time.Time
	at := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	slow := s.config.SlowStart
	for _, server := range s.servers {
		e := &server.ejected
		at(e.until)
		if server.order.State == Drain {
			at(server.order.Until)
		}
		if slow > 0 && !server.warming.IsZero() && now.Before(server.warming.Add(slow)) {
			at(now.Add(max(slow/warmSteps, 10*time.Millisecond)))
		}
	}
	if p := s.config.Passive; p != nil && p.Margin > 0 {
		if end := s.compared.Add(p.passive().window); end.After(now) {
			at(end)
		} else {
			at(now.Add(time.Millisecond))
		}
	}
	switch {
	case next.IsZero():
	case s.timer == nil:
		s.timer = time.AfterFunc(next.Sub(now), s.tick)
	default:
		s.timer.Reset(next.Sub(now))
	}
}

// tick does what comes with time.
func (s *Service) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := time.Now()
	s.readmit(now)
	s.compare(now)
	s.rebuild(now)
}
