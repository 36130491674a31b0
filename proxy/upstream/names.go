package upstream

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tripod/proxy/upstream/resolve"
)

// question is what the document asks of name servers.
type question = resolve.Question

// answer is what they said.
type answer struct {
	watch *resolve.Watch
	last  resolve.Answer
	heard bool // there was one, be it that asking failed
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
	weight := shares(a.last.Targets)
	targets := make([]target, 0, len(a.last.Targets))
	for _, found := range a.last.Targets {
		if v6 := strings.Contains(found.Address, ":"); v6 && localhost(c.Address) && len(a.last.Targets) > 1 {
			continue // one program, which most likely listens on the other; as two servers one of them would be down for ever
		}
		t := target{ServerConfig: c, name: c.Address}
		if c.SRV != "" {
			port = strconv.Itoa(found.Port)
			t.name = net.JoinHostPort(found.Host, port)
			t.Backup = c.Backup || found.Backup
			if c.Weight == nil {
				share := weight(found)
				t.Weight = &share
			}
		}
		t.Address = net.JoinHostPort(found.Address, port)
		targets = append(targets, t)
	}
	return targets
}

// localhost tells whether an address names the machine itself.
func localhost(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

// shares turns the weights of SRV records, which go up to 65535, into ours. Those that are in range stay as they are; larger ones are scaled
// down together. A weight of 0 means a very small chance beside others and nothing among its like (RFC 2782), never none at all: beside
// others it is 1, and those are scaled up so that this is little.
func shares(found []resolve.Target) func(resolve.Target) int {
	most, zero := map[bool]int{}, map[bool]bool{}
	for _, t := range found {
		most[t.Backup] = max(most[t.Backup], t.Weight)
		zero[t.Backup] = zero[t.Backup] || t.Weight == 0
	}
	return func(t resolve.Target) int {
		top := most[t.Backup]
		if top == 0 || top <= MaxWeight && !zero[t.Backup] {
			return max(t.Weight, 1)
		}
		return max(t.Weight*MaxWeight/top, 1)
	}
}

// unanswered tells whether a name of the document has had no answer at all, so that nobody knows yet which servers there are. s.mu is held.
func (s *Service) unanswered() bool {
	for _, a := range s.names {
		if !a.heard {
			return true
		}
	}
	return false
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
	moved := !a.heard || !slices.Equal(a.last.Targets, said.Targets)
	a.last, a.heard = said, true
	var fresh []*check
	if moved {
		fresh = s.settle()
	}
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
