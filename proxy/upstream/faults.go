package upstream

import (
	"fmt"
	"time"

	"tripod/proxy/upstream/balance"
)

// MaxWeight is the largest weight of a server.
const MaxWeight = balance.MaxWeight

// balanceFaults are what is wrong with how servers are chosen.
func (c Config) balanceFaults() []error {
	var errs []error
	switch c.Balance {
	case "", RoundRobin, LeastRequests, RandomTwo, IPHash, Hash, First:
	default:
		errs = append(errs, Errorf("balance", "unknown balance %q: use %s, %s, %s, %s, %s or %s", c.Balance, RoundRobin, LeastRequests, RandomTwo, IPHash, Hash, First))
	}
	switch h := c.Hash; {
	case h == nil && c.Balance == Hash:
		errs = append(errs, Errorf("balance", "balance: hash needs to know of what: give hash a header, a cookie, a query parameter, or path: true"))
	case h == nil:
	case c.Balance != Hash:
		errs = append(errs, Errorf("hash", "it goes with balance: %s only", Hash))
	default:
		n := 0
		for _, set := range []bool{h.Header != "", h.Cookie != "", h.Query != "", h.Path} {
			if set {
				n++
			}
		}
		if n != 1 {
			errs = append(errs, Errorf("hash", "name one of header, cookie, query and path; there are %d", n))
		}
		if h.Header != "" && !isToken(h.Header) {
			errs = append(errs, Errorf("hash.header", "%q is no field name", h.Header))
		}
		if h.Cookie != "" && !isToken(h.Cookie) {
			errs = append(errs, Errorf("hash.cookie", "%q is no cookie name", h.Cookie))
		}
	}
	return errs
}

// faults are what is wrong with how clients are kept on their servers.
func (c *StickyConfig) faults() []error {
	var errs []error
	if !isToken(c.Cookie) {
		errs = append(errs, Errorf("sticky.cookie", "%q is no cookie name: use letters, digits, - and _", c.Cookie))
	}
	if c.TTL < 0 || c.TTL > 0 && c.TTL < time.Second {
		errs = append(errs, Errorf("sticky.ttl", "%s is below 1s: give it a unit, as in 8h", c.TTL))
	}
	switch c.SameSite {
	case "", "lax", "strict":
	case "none":
		if c.Secure != nil && !*c.Secure {
			errs = append(errs, Errorf("sticky.same_site", "browsers take none with secure cookies only"))
		}
	default:
		errs = append(errs, Errorf("sticky.same_site", "unknown %q: use lax, strict or none", c.SameSite))
	}
	return errs
}

// passiveFaults are what is wrong with the rules for ejecting servers.
func (c Config) passiveFaults() []error {
	p := c.Passive
	if p == nil {
		return nil
	}
	var errs []error
	between := func(field string, n, most int) {
		if n < 0 || n > most {
			errs = append(errs, Errorf("passive."+field, "%d is not between 0 and %d", n, most))
		}
	}
	if p.Failures != nil {
		between("failures", *p.Failures, 1<<20)
	}
	between("margin", p.Margin, 100)
	between("requests", p.Requests, 1<<30)
	if p.MaxEjected != nil {
		between("max_ejected", *p.MaxEjected, 100)
	}
	for i, status := range p.Status {
		if status < 400 || status > 599 {
			errs = append(errs, Errorf(fmt.Sprintf("passive.status[%d]", i), "%d is not between 400 and 599", status))
		}
	}
	errs = append(errs, times("passive", span{"window", p.Window}, span{"eject", p.Eject}, span{"longest", p.Longest})...)
	return errs
}

// loadFaults are what is wrong with limits and retries.
func (c Config) loadFaults() []error {
	var errs []error
	least := func(field string, n, least, most int) {
		if n < least || n > most {
			errs = append(errs, Errorf(field, "%d is not between %d and %d", n, least, most))
		}
	}
	const many = 1 << 30
	if l := c.Limits; l != nil {
		least("limits.connections", l.Connections, 0, many)
		if l.Connections > 0 && (c.Protocol == H2 || c.Protocol == H2C) {
			errs = append(errs, Errorf("limits.connections", "servers that speak HTTP/2 answer many requests over one connection: limit requests instead"))
		}
		least("limits.requests", l.Requests, 0, many)
		if l.Pending != nil {
			least("limits.pending", *l.Pending, 0, many)
		}
		if l.Wait != nil {
			errs = append(errs, times("limits", span{"wait", *l.Wait})...)
		}
	}
	if r := c.Retries; r != nil {
		if r.Most != nil {
			least("retries.most", *r.Most, 0, 10)
		}
		if r.Budget != nil {
			least("retries.budget", *r.Budget, 0, 100)
		}
		for i, status := range r.Status {
			if status < 500 || status > 599 {
				errs = append(errs, Errorf(fmt.Sprintf("retries.status[%d]", i), "%d is not between 500 and 599", status))
			}
		}
		errs = append(errs, times("retries", span{"try", r.Try}, span{"hedge", r.Hedge})...)
		if r.Hedge > 0 && (c.Protocol == H2 || c.Protocol == H2C) {
			errs = append(errs, Errorf("retries.hedge", "a second server is asked over HTTP/1.1 only, and these speak %s", c.Protocol))
		}
	}
	return errs
}

type span struct {
	name  string
	value time.Duration
}

// times are what is wrong with times of which 0 means something else.
func times(component string, spans ...span) []error {
	var errs []error
	for _, s := range spans {
		if s.value < 0 {
			errs = append(errs, Errorf(component+"."+s.name, "%s is negative", s.value))
		} else if s.value > 0 && s.value < time.Millisecond {
			errs = append(errs, Errorf(component+"."+s.name, "%s is below 1ms: give it a unit, as in 2s", s.value))
		}
	}
	return errs
}

// Under puts a component before the fields of joined errors; none for nil.
func Under(component string, err error) []error {
	if err == nil {
		return nil
	}
	list := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		list = joined.Unwrap()
	}
	out := make([]error, len(list))
	for i, e := range list {
		field := component
		if f, ok := e.(interface{ Field() string }); ok {
			field = JoinField(component, f.Field())
		}
		out[i] = Errorf(field, "%s", e)
	}
	return out
}
