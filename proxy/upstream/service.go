package upstream

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// firstCheckWait bounds how long a request waits for the first check of new servers when no other is up.
const firstCheckWait = 2 * time.Second

// Service is a named set of servers that answer the same requests.
type Service struct {
	name  string
	owner *Pool
	turn  atomic.Uint64 // next place in the schedule; lives through every view
	view  atomic.Pointer[view]

	mu      sync.Mutex // guards what follows and the servers' health; serialises changes of view
	config  Config
	servers []*Server // in the document's order
}

func newService(p *Pool, name string) *Service {
	s := &Service{name: name, owner: p}
	s.view.Store(&view{changed: make(chan struct{})})
	return s
}

// Name is the service's name in the document.
func (s *Service) Name() string { return s.name }

// StickyCookie is the name of the cookie that keeps a client on its server; empty for none.
func (s *Service) StickyCookie() string { return s.view.Load().cookie }

// Acquire chooses a server for one request (or TCP connection) and counts it there until Server.Release.
//
// cookie is the value of the client's sticky cookie, empty if it has none; a server that it names is taken
// if it may be. Servers in tried are passed over: they failed this request already. The error is ErrNoneUp,
// ErrFull, ErrGone or the context's.
func (s *Service) Acquire(ctx context.Context, cookie string, tried []*Server) (*Server, error) {
	v := s.view.Load()
	server, err := v.choose(&s.turn, cookie, tried)
	if err == nil {
		server.total.Add(1)
		return server, nil
	}
	if !v.pending || len(tried) > 0 {
		return nil, err
	}
	return s.await(ctx, v, cookie)
}

// await waits for the first check of new servers, for no other server is up.
func (s *Service) await(ctx context.Context, v *view, cookie string) (*Server, error) {
	timer := time.NewTimer(firstCheckWait)
	defer timer.Stop()
	for {
		select {
		case <-v.changed:
		case <-timer.C:
			return nil, ErrNoneUp
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		v = s.view.Load()
		server, err := v.choose(&s.turn, cookie, nil)
		if err == nil {
			server.total.Add(1)
			return server, nil
		}
		if !v.pending {
			return nil, err
		}
	}
}

// apply makes c the service's configuration and returns the checks that are to be started.
func (s *Service) apply(c Config) []*check {
	s.mu.Lock()
	defer s.mu.Unlock()
	former := make(map[string]*Server, len(s.servers))
	for _, server := range s.servers {
		former[server.address] = server
	}
	health, speech := c.Health.withDefaults(), speechOf(c)
	var fresh []*check
	servers := make([]*Server, len(c.Servers))
	for i, sc := range c.Servers {
		server := former[sc.Address]
		if server == nil {
			server = &Server{service: s, address: sc.Address, since: time.Now()}
		}
		delete(former, sc.Address)
		servers[i] = server
		if c.Sticky != nil && server.cookie == "" {
			server.cookie = s.cookieOf(sc.Address)
		}
		if ch := server.setHealth(health, speech); ch != nil {
			fresh = append(fresh, ch)
		}
	}
	for _, server := range former {
		server.leave()
	}
	s.config, s.servers = c, servers
	s.rebuild()
	return fresh
}

// setHealth starts, changes or ends the server's checks; what is known of its health stays. It returns a
// check that is to be started. Service.mu is held.
func (s *Server) setHealth(h *HealthConfig, sp speech) *check {
	if h == nil {
		if s.check != nil {
			s.service.owner.checker.remove(s.check)
			s.check = nil
		}
		if !s.up {
			s.up, s.since = true, time.Now()
		}
		s.checked, s.reason, s.streak = true, "", 0
		return nil
	}
	if s.check != nil {
		s.service.owner.checker.change(s.check, *h, sp)
		return nil
	}
	s.check = &check{server: s, config: *h, speech: sp}
	return s.check
}

// close ends everything that belongs to the service. Requests that came for it before may still use the
// servers that are up; those that wait for one are told that it is gone.
func (s *Service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, server := range s.servers {
		server.leave()
	}
	former := s.view.Load()
	if former.gone {
		return
	}
	last := *former
	last.gone, last.pending, last.changed = true, false, make(chan struct{})
	s.view.Store(&last)
	close(former.changed)
}

// cookieOf is the cookie value that names a server. It tells nothing about the address: it is keyed, and
// the key is known to the nodes only.
func (s *Service) cookieOf(address string) string {
	mac := hmac.New(sha256.New, s.owner.opts.StickyKey)
	mac.Write([]byte(s.name))
	mac.Write([]byte{'|'})
	mac.Write([]byte(address))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:12])
}

// result takes the outcome of a health check made by h, nil if it passed.
func (s *Server) result(c *check, h HealthConfig, err error) {
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
	first := !s.checked
	s.checked = true
	pass := err == nil
	s.reason = ""
	if !pass {
		s.reason = err.Error()
	}
	limit := h.Fall
	if pass {
		limit = h.Rise
		if !s.proven {
			limit = 1
		}
	}
	s.proven = s.proven || pass
	if pass == s.up {
		s.streak = 0
	} else if s.streak++; s.streak >= limit {
		s.up, s.streak, s.since = pass, 0, time.Now()
		svc.logHealth(s)
		svc.rebuild()
		return
	}
	if first {
		if !pass {
			svc.logHealth(s)
		}
		svc.rebuild()
	}
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

// rebuild makes a new view of the servers that may be chosen. s.mu is held.
func (s *Service) rebuild() {
	former := s.view.Load()
	s.view.Store(newView(s.config, s.servers))
	close(former.changed)
}

func (s *Service) status() ServiceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ServiceStatus{Name: s.name, Balance: s.config.Balance, Servers: make([]ServerStatus, len(s.servers))}
	if out.Balance == "" {
		out.Balance = RoundRobin
	}
	for i, server := range s.servers {
		c := s.config.Servers[i]
		out.Servers[i] = ServerStatus{
			Address: server.address, Up: server.up, Checking: !server.checked,
			Weight: c.weight(), Backup: c.Backup, Zone: c.Zone, MaxConnections: c.MaxConnections,
			Active: server.active.Load(), Total: server.total.Load(),
			Since: server.since, Error: server.reason,
		}
	}
	return out
}
