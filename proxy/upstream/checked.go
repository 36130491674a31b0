package upstream

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"tripod/proxy/upstream/health"
)

// registeredCheck is how servers that registered themselves are asked where the service has no check: they are to be there before they
// get requests.
func registeredCheck() *health.Config { return &health.Config{Type: health.TCP} }

// checkOf is the check of one server; nil for none. Service.mu is held.
func (s *Server) checkOf(c Config) *health.Config {
	h := c.Health
	if h == nil && s.target.id != "" {
		h = registeredCheck()
	}
	if s.order.State == Maint {
		h = nil
	}
	return h.WithDefaults()
}

// targetOf is whom a check asks. Service.mu is held.
func (s *Server) targetOf(c Config) health.Target {
	t := health.Target{Address: s.address, Name: s.Name(), Service: s.service.name, HTTP2: c.Protocol == H2 || c.Protocol == H2C}
	if c.Protocol == H2 {
		t.TLS = c.TLS.Client(s.Name())
	}
	return t
}

// setCheck starts, changes or ends the server's checks; what is known of its health stays. It returns a
// check that is to be started. Service.mu is held.
func (s *Server) setCheck(c Config, now time.Time) *check {
	h := s.checkOf(c)
	if h == nil {
		s.endCheck()
		if s.order.State == Maint {
			s.forget(now)
			return nil
		}
		if !s.up {
			s.up, s.since = true, now
		}
		s.checked, s.reason, s.streak, s.verdict = true, "", 0, health.Verdict{}
		return nil
	}
	probe := s.service.owner.checker.compile(*h)
	if s.check != nil {
		if s.check.kind() != h.Type {
			s.verdict = health.Verdict{} // said by somebody who is asked no more
		}
		s.service.owner.checker.change(s.check, probe, s.targetOf(c))
		return nil
	}
	if h.Initial == health.Up && !s.checked && !s.up {
		s.up, s.since = true, now
	}
	s.check = &check{server: s, probe: probe, target: s.targetOf(c)}
	return s.check
}

// forget makes nothing known of the server's health, for who is worked on may be another when it comes back: it has to pass anew, as when it was new.
// Service.mu is held.
func (s *Server) forget(now time.Time) {
	if s.up {
		s.up, s.since = false, now
	}
	s.checked, s.reason, s.streak, s.verdict = false, "", 0, health.Verdict{}
}

// result takes the outcome of a check, err nil if it passed.
func (s *Server) result(c *check, h health.Config, verdict health.Verdict, err error) {
	if err == nil {
		s.passed.Add(1)
	} else {
		s.failed.Add(1)
	}
	svc := s.service
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if s.check != c {
		return // removed, or checked no more, while this check ran
	}
	now := time.Now()
	first, pass := !s.checked, err == nil
	said := pass
	s.checked = true
	s.reason = ""
	if !pass {
		s.reason = err.Error()
	}
	limit := h.Fall
	switch {
	case pass && (first || !s.proven):
		limit = 1
	case pass:
		limit = h.Rise
	case errors.As(err, new(*health.DownError)):
		// Nobody knows better than the server's own agent; and what it said before, it says no more.
		limit, verdict, said = 1, health.Verdict{}, true
	}
	proven := s.proven
	s.proven = s.proven || pass
	changed := first
	if pass == s.up {
		s.streak = 0
	} else if s.streak++; s.streak >= limit {
		s.up, s.streak, s.since = pass, 0, now
		if pass && s.ejected.active(now) {
			// The checks had found it down as well, so that they are what tells when it is well again; the next failure ejects it anew.
			s.ejected.until = now
			s.row.Store(max(svc.config.Passive.passive().failures-1, 0))
		}
		if pass && (proven || now.Sub(svc.began) > firstCheckWait) {
			s.warming = now // but for a service that begins: it has nothing warm to spare its servers with
		}
		changed = true
		svc.logHealth(s)
	} else if first && !pass {
		svc.logHealth(s)
	}
	if said && verdict != s.verdict {
		s.verdict, changed = verdict, true
	}
	if changed {
		svc.rebuild(now)
	}
}

// changing tells whether the next results may change the server's state, and are to come sooner: some in a row speak against it, or
// the server has never been up. Service.mu is not held.
func (s *Server) changing() bool {
	s.service.mu.Lock()
	defer s.service.mu.Unlock()
	return s.streak > 0 || !s.up && !s.proven
}

func (s *Service) logHealth(server *Server) {
	attrs := []slog.Attr{slog.String("service", s.name), slog.String("server", server.address)}
	if server.up {
		s.owner.log.LogAttrs(context.Background(), slog.LevelInfo, "server is up", attrs...)
		return
	}
	attrs = append(attrs, slog.String("error", server.reason))
	s.owner.log.LogAttrs(context.Background(), slog.LevelWarn, "server is down", attrs...)
}
