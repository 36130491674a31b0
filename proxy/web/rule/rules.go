package rule

import (
	"time"
)

// Rules are what the rules of a route and its service say together, ready for use. Nil rules say nothing; all methods take
// them. They are immutable, but for the memory of passwords that were right.
type Rules struct {
	allow, deny Networks
	auth        *basicAuth

	stripped string // the route's path without its final slash; what is replaced
	replaced bool
	prefix   string // what it is replaced by, without its final slash
	whole    string // what it is replaced by if nothing follows
	shown    string // what is cut off, as X-Forwarded-Prefix tells it

	request, response edits
	host              template

	maxBody   int64
	timeouts  TimeoutsConfig
	pages     pages
	answer    *Answer
	status    int
	forwarded Forwarded
	encodings []Encoding // preferred first
	rates     *rates     // nil for no limit
}

// Compile makes the rules of a route with a path, to a service with rules of its own. They are nil if there is nothing to do.
// Both have been found valid. The passwords are those of the process; nil makes ones for these rules alone.
func Compile(path string, route Config, service Common, passwords *Passwords) (*Rules, error) {
	r := &Rules{status: route.Status, answer: newAnswer(route.Respond)}
	some := r.answer != nil || r.status != 0
	var err error
	if r.allow, err = ParseNetworks(route.Allow); err != nil {
		return nil, err
	}
	if r.deny, err = ParseNetworks(route.Deny); err != nil {
		return nil, err
	}
	some = some || !r.allow.Empty() || !r.deny.Empty()
	if route.BasicAuth != nil {
		r.auth = newBasicAuth(route.BasicAuth, passwords)
		some = true
	}
	some = r.compilePath(path, route) || some
	some = r.compileHeaders(route, service) || some
	some = r.compileLimits(route.Common, service) || some
	r.pages.add(service.ErrorPages)
	r.pages.add(route.ErrorPages)
	some = some || len(service.ErrorPages)+len(route.ErrorPages) > 0
	r.forwarded, _ = forwardedOf(route.Forwarded)
	some = some || r.forwarded != XForwarded
	if !some {
		return nil, nil
	}
	return r, nil
}

func (r *Rules) compileHeaders(route Config, service Common) bool {
	var host template
	r.request, r.host = r.request.compileHeaders(service.RequestHeaders)
	if r.request, host = r.request.compileHeaders(route.RequestHeaders); host != nil {
		r.host = host
	}
	if route.Respond != nil {
		r.response, _ = r.response.compileHeaders(&HeadersConfig{Set: route.Respond.Headers})
	}
	r.response, _ = r.response.compileHeaders(service.ResponseHeaders)
	r.response, _ = r.response.compileHeaders(route.ResponseHeaders)
	return len(r.request)+len(r.response) > 0 || r.host != nil
}

// compileLimits takes the route's value before the service's.
func (r *Rules) compileLimits(route, service Common) bool {
	some := false
	for _, c := range []Common{service, route} {
		if c.MaxBody != nil {
			r.maxBody = int64(*c.MaxBody)
		}
		if c.Compress != nil {
			r.encodings = nil
			for _, name := range c.Compress {
				if e, ok := encodingOf(name); ok {
					r.encodings = append(r.encodings, e)
				}
			}
		}
		if t := c.Timeouts; t != nil {
			r.timeouts.override(t)
			some = true
		}
	}
	return some || r.maxBody > 0 || len(r.encodings) > 0
}

func (c *TimeoutsConfig) override(by *TimeoutsConfig) {
	for _, d := range []struct{ to, from **time.Duration }{
		{&c.Connect, &by.Connect}, {&c.FirstByte, &by.FirstByte}, {&c.Idle, &by.Idle}, {&c.Total, &by.Total},
	} {
		if *d.from != nil {
			*d.to = *d.from
		}
	}
}

// Timeouts bound the phases of a request; 0 is no limit.
type Timeouts struct{ Connect, FirstByte, Idle, Total time.Duration }

// Timeouts are those that the rules name, and the defaults that are given for the others.
func (r *Rules) Timeouts(defaults Timeouts) Timeouts {
	if r == nil {
		return defaults
	}
	t := defaults
	for _, d := range []struct {
		to   *time.Duration
		from *time.Duration
	}{
		{&t.Connect, r.timeouts.Connect}, {&t.FirstByte, r.timeouts.FirstByte}, {&t.Idle, r.timeouts.Idle}, {&t.Total, r.timeouts.Total},
	} {
		if d.from != nil {
			*d.to = *d.from
		}
	}
	return t
}

// MaxBody is the largest content of a request in bytes; 0 is no limit.
func (r *Rules) MaxBody() int64 {
	if r == nil {
		return 0
	}
	return r.maxBody
}

// RedirectStatus is the status of the route's redirect.
func (r *Rules) RedirectStatus() int {
	if r == nil || r.status == 0 {
		return 308
	}
	return r.status
}

// Answer is the route's fixed answer; nil if it has none.
func (r *Rules) Answer() *Answer {
	if r == nil {
		return nil
	}
	return r.answer
}

// Forwarded says which fields tell the server about the client.
func (r *Rules) Forwarded() Forwarded {
	if r == nil {
		return XForwarded
	}
	return r.forwarded
}
