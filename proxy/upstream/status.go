package upstream

import (
	"maps"
	"slices"
	"time"

	"tripod/proxy/upstream/health"
)

// ServiceStatus is what Status tells about a service.
type ServiceStatus struct {
	Name    string         `json:"name"`
	Balance Balance        `json:"balance"`
	Servers []ServerStatus `json:"servers"`
	// Running are the requests and TCP connections that its servers are serving, Queued those that wait for their turn.
	Running int64 `json:"running"`
	Queued  int64 `json:"queued,omitempty"`
	// GaveUp are requests that waited too long, Refused those that came when as many waited as may.
	GaveUp  uint64 `json:"gave_up,omitempty"`
	Refused uint64 `json:"refused,omitempty"`
	// Retries are requests that were sent again, OverBudget those that were not, for too many were.
	Retries    uint64 `json:"retries,omitempty"`
	OverBudget uint64 `json:"over_budget,omitempty"`
	Ejections  uint64 `json:"ejections,omitempty"`
	// Names are names of servers that name servers do not know, and why.
	Names map[string]string `json:"names,omitempty"`
}

// ServerStatus is what Status tells about a server.
type ServerStatus struct {
	Address string `json:"address"`
	// Name is the address as the document has it, where it is a name.
	Name string `json:"name,omitempty"`
	// Registration is the ID of a server that registered itself.
	Registration string `json:"registration,omitempty"`
	// Up is what the checks say; State is what the server may get now.
	Up    bool  `json:"up"`
	State State `json:"state"`
	// Checking is true until the first health check of a new server has ended.
	Checking bool `json:"checking,omitempty"`
	Weight   int  `json:"weight"`
	// Percent of the weight that counts now, below 100 while the server warms up or asks for less.
	Percent int    `json:"percent"`
	Backup  bool   `json:"backup,omitempty"`
	Zone    string `json:"zone,omitempty"`
	// MaxConnections is the limit of Active; 0 is none.
	MaxConnections int    `json:"max_connections,omitempty"`
	Active         int64  `json:"active"`
	Total          uint64 `json:"total"`
	// Faults are requests that the server failed.
	Faults uint64 `json:"faults,omitempty"`
	// Since is when the server came up or went down, Entered when it got its state.
	Since   time.Time `json:"since"`
	Entered time.Time `json:"entered"`
	// Check is how the server is asked; empty if it is not.
	Check health.Type `json:"check,omitempty"`
	// Passed and Failed are how many checks did so.
	Passed uint64 `json:"passed,omitempty"`
	Failed uint64 `json:"failed,omitempty"`
	// Error is why the last health check failed; empty if it passed.
	Error string `json:"error,omitempty"`
	// Why is why the server is in a state other than up: which check, ejection or word of an operator.
	Why string `json:"why,omitempty"`
	// Next is when the server is asked again, or let in again; zero for never.
	Next time.Time `json:"next,omitzero"`
	// By is who ordered a state or weight.
	By string `json:"by,omitempty"`
}

// Status tells about every service, by name, with its servers in the document's order.
func (p *Pool) Status() []ServiceStatus {
	services := *p.services.Load()
	out := make([]ServiceStatus, 0, len(services))
	for _, name := range slices.Sorted(maps.Keys(services)) {
		out = append(out, services[name].status())
	}
	return out
}

// Pending are the registrations for services that the document has not, by service.
func (p *Pool) Pending() map[string][]Registration {
	p.mu.Lock()
	defer p.mu.Unlock()
	services := *p.services.Load()
	pending := map[string][]Registration{}
	for name, registered := range p.registered {
		if services[name] == nil && len(registered) > 0 {
			pending[name] = registered
		}
	}
	return pending
}

func (s *Service) status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ServiceStatus{
		Name: s.name, Balance: s.config.Balance, Servers: make([]ServerStatus, len(s.servers)),
		Running: s.running.Load(), Queued: s.queue.length(), GaveUp: s.queue.gaveUp.Load(), Refused: s.queue.refused.Load(),
		Retries: s.resent.Load(), OverBudget: s.overBudget.Load(), Ejections: s.ejections.Load(),
	}
	if out.Balance == "" {
		out.Balance = RoundRobin
	}
	for q, a := range s.names {
		if a.last.Err != nil {
			if out.Names == nil {
				out.Names = map[string]string{}
			}
			out.Names[q.Name] = a.last.Err.Error()
		}
	}
	now := time.Now()
	for i, server := range s.servers {
		out.Servers[i] = server.status(now)
	}
	return out
}

// status tells about the server. Service.mu is held.
func (s *Server) status(now time.Time) ServerStatus {
	t := &s.target
	out := ServerStatus{
		Address: s.address, Registration: t.id, Up: s.up, State: s.stand.state, Checking: !s.checked,
		Weight: s.stand.weight, Percent: s.percent(now, s.service.config.SlowStart), Backup: t.Backup, Zone: t.Zone, MaxConnections: t.MaxConnections,
		Active: s.place.Running(), Total: s.total.Load(), Faults: s.faults.Load(), Passed: s.passed.Load(), Failed: s.failed.Load(),
		Since: s.since, Entered: s.entered, Error: s.reason, By: s.order.By,
	}
	if name := s.Name(); name != s.address {
		out.Name = name
	}
	if s.check != nil {
		out.Check = s.check.kind()
		if next := s.check.next.Load(); next > 0 {
			out.Next = time.Unix(0, next)
		}
	}
	out.Why = s.why()
	if s.stand.state == StateEjected {
		out.Next = s.ejected.until
	}
	return out
}

// why says why the server is in its state. Service.mu is held.
func (s *Server) why() string {
	switch s.stand.state {
	case StateDown:
		return string(s.check.kind()) + " check: " + s.reason
	case StateEjected:
		return "ejected: " + s.ejected.reason
	case StateDrain, StateMaint:
		switch {
		case s.order.State == Drain || s.order.State == Maint:
			return "ordered by " + orUnknown(s.order.By)
		case s.target.draining:
			return "about to stop"
		}
		return "asked for by its agent"
	}
	return ""
}

func orUnknown(by string) string {
	if by == "" {
		return "an operator"
	}
	return by
}
