package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"time"
)

const (
	defaultFailures    = 5
	defaultEject       = 10 * time.Second
	defaultLongest     = 5 * time.Minute
	defaultMaxEjected  = 50
	defaultWindow      = 10 * time.Second
	defaultMinRequests = 100
)

// PassiveConfig says when a server is ejected: it gets no new requests for a while, because of what became of those that it got. A server fails a request
// if it cannot be reached, breaks off before its answer, answers what is no HTTP, or does not begin to answer in time.
type PassiveConfig struct {
	Failures   *int          `yaml:"failures" min:"0" default:"5" doc:"Requests in a row that a server fails before it is ejected; 0 is never."`
	Status     []int         `yaml:"status" doc:"Statuses of answers, 400 to 599, that count as failures too; default is none."`
	Margin     int           `yaml:"margin" min:"0" max:"100" doc:"Ejects a server whose share of good answers (below 500) is this many percent points below that of the others; default is never."`
	Requests   int           `yaml:"requests" min:"0" default:"100" doc:"Answers of a server in one window below which its share says nothing."`
	Window     time.Duration `yaml:"window" min:"0" default:"10s" doc:"Time over which the shares of good answers are taken."`
	Eject      time.Duration `yaml:"eject" min:"0" default:"10s" doc:"Time for which a server is ejected; twice as long each time anew, and less again after it has been well."`
	Longest    time.Duration `yaml:"longest" min:"0" default:"5m" doc:"Longest time for which a server is ejected."`
	MaxEjected *int          `yaml:"max_ejected" min:"0" max:"100" default:"50" doc:"Percent of the servers that are up which may be ejected at a time; of two or more servers it is one in any case, unless this is 0."`
}

// passive are the rules of PassiveConfig with the defaults.
type passive struct {
	failures      int32
	status        []int
	margin        int
	requests      uint32
	window        time.Duration
	eject, most   time.Duration
	maxEjected    int
	watchesStatus bool // an answer's status matters
}

func (c *PassiveConfig) passive() passive {
	p := passive{failures: defaultFailures, requests: defaultMinRequests, window: defaultWindow, eject: defaultEject, most: defaultLongest, maxEjected: defaultMaxEjected}
	if c == nil {
		return p
	}
	if c.Failures != nil {
		p.failures = int32(*c.Failures)
	}
	if c.Requests > 0 {
		p.requests = uint32(c.Requests)
	}
	if c.MaxEjected != nil {
		p.maxEjected = *c.MaxEjected
	}
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&p.window, c.Window}, {&p.eject, c.Eject}, {&p.most, c.Longest}} {
		if d.from > 0 {
			*d.to = d.from
		}
	}
	p.most = max(p.most, p.eject)
	p.status, p.margin = c.Status, c.Margin
	p.watchesStatus = len(p.status) > 0 || p.margin > 0
	return p
}

// ejection is a server's time without new requests. Service.mu guards it.
type ejection struct {
	until  time.Time // zero if it is in
	times  int       // in a row
	reason string
}

func (e ejection) active(now time.Time) bool { return now.Before(e.until) }

// Answered notes that the server has answered a request.
func (s *Server) Answered(status int) {
	p := &s.service.view.Load().passive
	if p.watchesStatus {
		if p.margin > 0 {
			if status >= 500 {
				s.bad.Add(1)
			} else {
				s.good.Add(1)
			}
		}
		if slices.Contains(p.status, status) {
			s.fault(p, fmt.Sprintf("answered %d", status))
			return
		}
	}
	if s.row.Load() != 0 {
		s.row.Store(0)
	}
}

// Failed notes that the server has failed a request, and why. What is the client's fault, or was given up here, is none; nor is what this
// node lacks for asking, which would eject one server after the other.
func (s *Server) Failed(why error) {
	for _, lack := range [...]error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		if errors.Is(why, lack) {
			return
		}
	}
	p := &s.service.view.Load().passive
	if p.margin > 0 {
		s.bad.Add(1)
	}
	s.fault(p, why.Error())
}

func (s *Server) fault(p *passive, reason string) {
	s.faults.Add(1)
	if n := s.row.Add(1); p.failures > 0 && n >= p.failures {
		s.service.eject(s, reason, time.Now())
	}
}

// eject takes a server out for a while, if not too many are out already.
func (s *Service) eject(server *Server, reason string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ejectNow(server, reason, now) {
		s.rebuild(now)
	}
}

// ejectNow is eject, without the view. s.mu is held.
func (s *Service) ejectNow(server *Server, reason string, now time.Time) bool {
	p := s.config.Passive.passive()
	if server.stand.state != StateUp || server.Gone() || !s.mayEject(p) {
		return false
	}
	e := &server.ejected
	e.forgive(p, now)
	e.reason = reason
	e.until = now.Add(ejectionTime(p, e.times))
	e.times++
	s.ejections.Add(1)
	s.owner.log.LogAttrs(context.Background(), slog.LevelWarn, "server is ejected", slog.String("service", s.name),
		slog.String("server", server.address), slog.String("error", reason), slog.Duration("for", e.until.Sub(now)))
	return true
}

// forgive takes back the times for each of which the server has been well since, for as long as it was ejected then.
func (e *ejection) forgive(p passive, now time.Time) {
	for e.times > 0 {
		end := e.until.Add(ejectionTime(p, e.times-1))
		if now.Before(end) {
			return
		}
		e.until = end
		e.times--
	}
}

// ejectionTime doubles with each time in a row.
func ejectionTime(p passive, times int) time.Duration {
	d := p.eject
	for range times {
		if d *= 2; d >= p.most {
			return p.most
		}
	}
	return min(d, p.most)
}

// mayEject tells whether one more of the servers that are up may be ejected. Those that take nobody are no rest to fall back on. s.mu is held.
func (s *Service) mayEject(p passive) bool {
	up, out := 0, 0
	for _, server := range s.servers {
		switch st := server.stand; {
		case st.weight == 0:
		case st.state == StateUp:
			up++
		case st.state == StateEjected:
			up++
			out++
		}
	}
	if up < 2 || p.maxEjected == 0 {
		return false
	}
	return out+1 <= max(1, up*p.maxEjected/100)
}

// readmit lets those in whose time is over, on probation: the next failure ejects them again. s.mu is held.
func (s *Service) readmit(now time.Time) {
	p := s.config.Passive.passive()
	for _, server := range s.servers {
		if server.stand.state != StateEjected || server.ejected.active(now) {
			continue
		}
		server.row.Store(max(p.failures-1, 0))
		server.warming = now
		s.owner.log.LogAttrs(context.Background(), slog.LevelInfo, "server is back after its ejection", slog.String("service", s.name), slog.String("server", server.address))
	}
}

// compare ejects servers that answer worse than the others do. s.mu is held.
func (s *Service) compare(now time.Time) {
	p := s.config.Passive.passive()
	if p.margin == 0 || now.Before(s.compared.Add(p.window)) {
		return
	}
	s.compared = now
	type sum struct{ good, all uint32 }
	sums := make([]sum, len(s.servers))
	var total sum
	for i, server := range s.servers {
		good, bad := server.good.Swap(0), server.bad.Swap(0)
		sums[i] = sum{good, good + bad}
		total.good += good
		total.all += good + bad
	}
	for i, server := range s.servers {
		others := sum{total.good - sums[i].good, total.all - sums[i].all}
		if sums[i].all < p.requests || others.all < p.requests {
			continue
		}
		own, theirs := 100*float64(sums[i].good)/float64(sums[i].all), 100*float64(others.good)/float64(others.all)
		if theirs-own >= float64(p.margin) {
			s.ejectNow(server, fmt.Sprintf("%.0f %% of its answers were good, of the others' %.0f %%", own, theirs), now)
		}
	}
}
