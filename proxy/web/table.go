package web

import (
	"fmt"
	"net/url"
	"strings"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// Route leads requests to Service, or to the URL Redirect if Service is nil.
type Route struct {
	Host     string // name, *.name for any one label before it, or empty for any host
	Path     string // this path and everything below it; empty is "/"
	Service  *upstream.Service
	Redirect string
	// Rules are what else is done; nil for nothing.
	Rules *rule.Rules
	// Protocol is what the service's servers speak.
	Protocol upstream.Protocol
	// ServerTLS is for connections to servers that speak h2.
	ServerTLS *upstream.TLSConfig
}

// Rules are what a Table is made from.
type Rules struct {
	Routes []Route
	// HTTPSPort is where redirect_https leads; empty or "443" is left out of the URL.
	HTTPSPort string
	// AccessLog is of how many requests one is logged: 1 for all, 0 for none.
	AccessLog int
}

// Table is the immutable answer to "who answers this request?" for one document. A host's routes are found
// by hash, and a path by its prefixes at slashes, from the longest that any route of the host has: the time
// depends on the length of the routes' paths and not on their number, nor on the length of what the
// client sent.
type Table struct {
	exact     map[string]*paths
	wildcard  map[string]*paths // by what follows "*."
	any       *paths
	httpsPort string // with its colon; empty for 443
	accessLog int
	stats     map[string]*serviceStats // by service name; "" is what no service answered
}

// paths are the routes of one host.
type paths struct {
	routes  map[string]*route
	longest int // length of the longest key
}

type route struct {
	service  *upstream.Service
	stats    *serviceStats
	redirect string
	keepURI  bool // the redirect keeps the request's path and query
	rules    *rule.Rules
	limits   *limits // nil for the engine's
	protocol upstream.Protocol
	tls      *upstream.TLSConfig
}

// newTable builds the table of r. Figures of services that former has are kept; timeouts are those of routes that name none.
func newTable(r Rules, former *Table, timeouts Timeouts) (*Table, error) {
	t := &Table{
		exact:     make(map[string]*paths, len(r.Routes)),
		wildcard:  make(map[string]*paths),
		accessLog: r.AccessLog,
		stats:     make(map[string]*serviceStats),
	}
	if r.HTTPSPort != "" && r.HTTPSPort != "443" {
		t.httpsPort = ":" + r.HTTPSPort
	}
	t.keepStats("", former)
	for i, c := range r.Routes {
		rt := &route{service: c.Service, redirect: c.Redirect, rules: c.Rules, protocol: c.Protocol, tls: c.ServerTLS}
		rt.limits = limitsOf(c.Rules, timeouts)
		switch {
		case c.Service != nil:
			rt.stats = t.keepStats(c.Service.Name(), former)
		case c.Redirect == "":
			rt.stats = t.stats[""]
		default:
			u, err := url.Parse(c.Redirect)
			if err != nil {
				return nil, fmt.Errorf("routes[%d]: redirect: %w", i, err)
			}
			rt.stats = t.stats[""]
			rt.keepURI = u.Path == "" && u.RawQuery == "" && u.Fragment == ""
		}
		path := c.Path
		if path == "" {
			path = "/"
		}
		if !t.at(c.Host).add(path, rt) {
			return nil, fmt.Errorf("routes[%d]: host %q path %q has a route already", i, c.Host, path)
		}
	}
	return t, nil
}

// keepStats returns the figures of a service, those of the former table if it had them.
func (t *Table) keepStats(service string, former *Table) *serviceStats {
	s := t.stats[service]
	if s == nil {
		if former != nil {
			s = former.stats[service]
		}
		if s == nil {
			s = newServiceStats()
		}
		t.stats[service] = s
	}
	return s
}

// at returns the routes of a host as the document writes it.
func (t *Table) at(host string) *paths {
	where, name := t.exact, normalHost(host)
	if suffix, ok := strings.CutPrefix(host, "*."); ok {
		where, name = t.wildcard, normalHost(suffix)
	} else if host == "" {
		if t.any == nil {
			t.any = &paths{routes: make(map[string]*route)}
		}
		return t.any
	}
	p := where[name]
	if p == nil {
		p = &paths{routes: make(map[string]*route)}
		where[name] = p
	}
	return p
}

func (p *paths) add(path string, r *route) bool {
	if p.routes[path] != nil {
		return false
	}
	p.routes[path] = r
	p.longest = max(p.longest, len(path))
	return true
}

// find returns the route of a request, nil if there is none. host and path are normal.
func (t *Table) find(host, path string) *route {
	if p := t.exact[host]; p != nil {
		if r := p.find(path); r != nil {
			return r
		}
	}
	if len(t.wildcard) > 0 {
		if i := strings.IndexByte(host, '.'); i > 0 {
			if p := t.wildcard[host[i+1:]]; p != nil {
				if r := p.find(path); r != nil {
					return r
				}
			}
		}
	}
	if t.any != nil {
		return t.any.find(path)
	}
	return nil
}

// find returns the route with the longest path that path equals or lies below. "/api" matches /api and
// /api/x, "/api/" only the latter.
func (p *paths) find(path string) *route {
	if len(path) <= p.longest {
		if r := p.routes[path]; r != nil {
			return r
		}
	}
	// A key that ends before a slash may be as long as longest, so that the slash may stand just behind.
	for end := min(len(path), p.longest+1); ; {
		i := strings.LastIndexByte(path[:end], '/')
		if i < 0 {
			return nil
		}
		if i+1 <= p.longest {
			if r := p.routes[path[:i+1]]; r != nil {
				return r
			}
		}
		if r := p.routes[path[:i]]; r != nil && i > 0 {
			return r
		}
		end = i
	}
}
