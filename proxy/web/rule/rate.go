package rule

import (
	"net/netip"
	"strings"
	"time"

	"tripod/proxy/web/message"
	"tripod/proxy/web/rate"
)

// Rate is how many requests are let through in a time, as in 100/s. It is what rate.Parse reads.
type Rate string

// RateConfig is one limit for all nodes of the cluster together. As text it is its rate.
type RateConfig struct {
	Rate  Rate   `yaml:"rate" required:"true" short:"true" doc:"Requests in a second, a minute or an hour, as in 100/s, 1000/m or 10/h."`
	Burst int64  `yaml:"burst" min:"1" doc:"How many may come at once after a pause; by default as many as come in a second, at least 1."`
	By    string `yaml:"by" default:"client" doc:"What is counted apart: client is each client address (IPv6 by its /64), header:NAME each value of a field, route each route; service is all requests of a service."`
}

// What requests are counted by.
const (
	byClient  = "client"
	byRoute   = "route"
	byService = "service"
	byHeader  = "header:"
)

// checkRates checks the limits of a service, or of a route.
func checkRates(f *faults, list []RateConfig, service bool) {
	for i, c := range list {
		field := "rate_limits" + index(i)
		if r, err := rate.Parse(string(c.Rate)); err != nil {
			f.add(field+".rate", "%s", err)
		} else if c.Burst != 0 {
			if err := r.CheckBurst(c.Burst); err != nil {
				f.add(field+".burst", "%s", err)
			}
		}
		if text := badBy(c.By, service); text != "" {
			f.add(field+".by", "%s", text)
		}
	}
}

// badBy says what is wrong with what a limit counts by.
func badBy(by string, service bool) string {
	name, header := strings.CutPrefix(by, byHeader)
	use := ": use client, route or header:NAME"
	if service {
		use = ": use client, route, service or header:NAME"
	}
	switch {
	case by == "", by == byClient, by == byRoute, by == byService && service:
		return ""
	case by == byService:
		return "a route cannot count by service: use route, or give the limit to the service"
	case !header:
		return "requests are not counted by " + quoted(by) + use
	case name == "":
		return "the field has no name: write it as header:X-Api-Key"
	case !isToken(name):
		return quoted(name) + " is not the name of a field: write it as header:X-Api-Key"
	case message.EqualFold(name, "host"):
		return "Host is what routes are for: give the hosts routes of their own, and count by route"
	}
	return ""
}

func quoted(s string) string { return `"` + shorten(s) + `"` }

// rates are the limits that hold for a route, its service's first.
type rates struct {
	set  *rate.Set
	list []limit
}

// limit is one of them, with how its keys are made.
type limit struct {
	*rate.Limit
	by     keyBy
	header string
	none   uint64 // key of requests without the field
}

type keyBy uint8

const (
	allTogether keyBy = iota
	clientAddress
	fieldValue
)

// Limited adds the limits of a route and its service to the route's rules, which may be nil. Host and path are the route's, name the service's; both
// configurations have been found valid.
func (r *Rules) Limited(plan *rate.Plan, host, path string, route Common, name string, service Common) *Rules {
	if len(route.RateLimits)+len(service.RateLimits) == 0 {
		return r
	}
	if path == "" {
		path = "/"
	}
	all := &rates{set: plan.Set()}
	for i, c := range service.RateLimits {
		all.add(plan, rate.Place{Service: name}, host+path, i, c)
	}
	for i, c := range route.RateLimits {
		all.add(plan, rate.Place{Route: host + path}, host+path, i, c)
	}
	if r == nil {
		r = &Rules{}
	}
	r.rates = all
	return r
}

func (all *rates) add(plan *rate.Plan, place rate.Place, route string, i int, c RateConfig) {
	speed, err := rate.Parse(string(c.Rate))
	if err != nil {
		return // cannot be: it was found valid
	}
	spec := rate.Spec{Place: place, Index: i, Rate: speed, Burst: c.Burst, By: strings.ToLower(c.By)}
	if spec.Burst == 0 {
		spec.Burst = speed.Burst()
	}
	l := limit{by: clientAddress}
	switch name, header := strings.CutPrefix(c.By, byHeader); {
	case header:
		// No field has this value.
		l.by, l.header, l.none = fieldValue, strings.ToLower(name), all.set.Text("\x00")
	case c.By == byRoute:
		l.by, spec.Whole, spec.Part = allTogether, true, route
	case c.By == byService:
		l.by, spec.Whole = allTogether, true
	default:
		spec.By = byClient
	}
	l.Limit = plan.Limit(spec)
	all.list = append(all.list, l)
}

// Take counts a request against the limits. If one of them refuses it, it is counted there as refused and nowhere else, and wait is for how long
// another one like it would be refused.
func (r *Rules) Take(client netip.Addr, fields []message.Field, now time.Time) (wait time.Duration, ok bool) {
	if r == nil || r.rates == nil {
		return 0, true
	}
	all := r.rates
	at := all.set.Clock(now)
	for i := range all.list {
		l := &all.list[i]
		if wait, ok := l.Take(l.key(all.set, client, fields), at); !ok {
			l.Refuse()
			for before := range i {
				l := &all.list[before]
				l.Return(l.key(all.set, client, fields))
			}
			return wait, false
		}
	}
	return 0, true
}

// key is what the request counts as.
func (l *limit) key(set *rate.Set, client netip.Addr, fields []message.Field) uint64 {
	switch l.by {
	case clientAddress:
		return set.Client(client)
	case fieldValue:
		return l.valueKey(set, fields)
	}
	return 0
}

// valueKey is the key of the field's value. Several fields are as good as none: the server may heed another than we do.
func (l *limit) valueKey(set *rate.Set, fields []message.Field) uint64 {
	found := -1
	for i := range fields {
		if message.EqualFold(fields[i].Name, l.header) {
			if found >= 0 {
				return l.none
			}
			found = i
		}
	}
	if found < 0 {
		return l.none
	}
	return set.Text(fields[found].Value)
}
