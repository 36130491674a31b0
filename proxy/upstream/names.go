package upstream

import (
	"net"
	"net/netip"
	"strconv"

	"tripod/proxy/upstream/resolve"
)

// question is what the document asks of name servers.
type question = resolve.Question

// answer is what they said.
type answer struct {
	watch *resolve.Watch
	last  resolve.Answer
}

// named tells whether a server stands for what name servers say.
func (c ServerConfig) named() bool {
	if c.SRV != "" {
		return true
	}
	host, _, err := net.SplitHostPort(c.Address)
	if err != nil {
		return false
	}
	_, err = netip.ParseAddr(host)
	return err != nil
}

func (c ServerConfig) question() question {
	if c.SRV != "" {
		return question{Name: c.SRV, SRV: true}
	}
	host, _, _ := net.SplitHostPort(c.Address)
	return question{Name: host}
}

// resolved are the servers that a name stands for. s.mu is held.
func (s *Service) resolved(c ServerConfig) []target {
	a := s.names[c.question()]
	if a == nil {
		return nil
	}
	_, port, _ := net.SplitHostPort(c.Address)
	targets := make([]target, 0, len(a.last.Targets))
	for _, found := range a.last.Targets {
		t := target{ServerConfig: c, name: c.Address}
		if c.SRV != "" {
			port = strconv.Itoa(found.Port)
			t.name = net.JoinHostPort(found.Host, port)
			if c.Weight == nil {
				weight := min(found.Weight, maxWeight)
				t.Weight = &weight
			}
		}
		t.Address = net.JoinHostPort(found.Address, port)
		targets = append(targets, t)
	}
	return targets
}

// watchNames asks for the names that the document has now. s.mu is held.
func (s *Service) watchNames() {
	wanted := map[question]bool{}
	for _, c := range s.config.Servers {
		if c.named() {
			wanted[c.question()] = true
		}
	}
	for q, a := range s.names {
		if !wanted[q] {
			a.watch.End()
			delete(s.names, q)
		}
	}
	for q := range wanted {
		if s.names[q] == nil {
			if s.names == nil {
				s.names = map[question]*answer{}
			}
			a := &answer{}
			s.names[q] = a
			a.watch = s.owner.resolver.Watch(q, func(said resolve.Answer) { s.heard(a, said) })
		}
	}
}

// heard takes what name servers say.
func (s *Service) heard(a *answer, said resolve.Answer) {
	s.mu.Lock()
	a.last = said
	fresh := s.settle()
	s.mu.Unlock()
	s.owner.checker.add(fresh)
}

// forgetNames asks no more. s.mu is held.
func (s *Service) forgetNames() {
	for _, a := range s.names {
		a.watch.End()
	}
	s.names = nil
}
