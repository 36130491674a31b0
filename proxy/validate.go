package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// Validate checks the listener's own rules. Its error joins one *upstream.FieldError for each fault.
func (c ListenerConfig) Validate() error {
	var errs []error
	if _, err := parsePlace(c.Address); err != nil {
		errs = append(errs, upstream.Errorf("address", "%s", err))
	}
	switch c.Protocol {
	case "", HTTP:
		if c.Service != "" {
			errs = append(errs, upstream.Errorf("service", "an http listener has no service: routes choose it (or set protocol: tcp)"))
		}
		if c.RedirectHTTPS && c.TLS {
			errs = append(errs, upstream.Errorf("redirect_https", "a listener with tls would redirect to itself"))
		}
		if c.H2C && c.TLS {
			errs = append(errs, upstream.Errorf("h2c", "h2c is HTTP/2 without TLS: with tls clients have HTTP/2 anyway"))
		}
	case TCP:
		if c.Service == "" {
			errs = append(errs, upstream.Errorf("service", "a tcp listener needs a service"))
		}
		if c.RedirectHTTPS {
			errs = append(errs, upstream.Errorf("redirect_https", "a tcp listener cannot redirect"))
		}
		if c.H2C {
			errs = append(errs, upstream.Errorf("h2c", "a tcp listener passes on what comes, HTTP/2 with it"))
		}
		if c.ProxyProtocol != nil {
			errs = append(errs, upstream.Errorf("proxy_protocol", "a tcp listener passes on what comes, PROXY headers with it"))
		}
		if c.TrustedProxies != nil {
			errs = append(errs, upstream.Errorf("trusted_proxies", "a tcp listener sees no X-Forwarded-For"))
		}
	default:
		errs = append(errs, upstream.Errorf("protocol", "unknown protocol %q: use %s or %s", c.Protocol, HTTP, TCP))
	}
	errs = append(errs, upstream.Under("proxy_protocol", rule.ValidateNetworks(c.ProxyProtocol))...)
	errs = append(errs, upstream.Under("trusted_proxies", rule.ValidateNetworks(c.TrustedProxies))...)
	return errors.Join(errs...)
}

// Validate checks the route's own rules. Its error joins one *upstream.FieldError for each fault.
func (c RouteConfig) Validate() error {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, upstream.Errorf(field, format, args...))
	}
	if text := badRouteHost(c.Host); text != "" {
		fault("host", "%s", text)
	}
	switch {
	case c.Path == "":
	case c.Path[0] != '/':
		fault("path", "path %q does not start with /", c.Path)
	case strings.ContainsAny(c.Path, "?#*"):
		fault("path", "path %q holds ?, # or *: a route matches a path and everything below it", c.Path)
	case slices.ContainsFunc(strings.Split(c.Path, "/"), func(s string) bool { return s == "." || s == ".." }):
		fault("path", "path %q holds dot segments: no request ever matches it", c.Path)
	}
	errs = append(errs, c.validateLead()...)
	errs = append(errs, upstream.Under("", c.Rules.Validate(c.Path, c.leads()))...)
	return errors.Join(errs...)
}

// leads says where the route leads.
func (c RouteConfig) leads() rule.Leads {
	switch {
	case c.Service != "":
		return rule.ToService
	case c.Redirect != "":
		return rule.ToURL
	case c.Rules.Respond != nil:
		return rule.ToAnswer
	}
	return rule.Nowhere
}

// validateLead checks that the route leads to one place.
func (c RouteConfig) validateLead() []error {
	first := ""
	for _, k := range []struct {
		key string
		set bool
	}{{"service", c.Service != ""}, {"redirect", c.Redirect != ""}, {"respond", c.Rules.Respond != nil}} {
		switch {
		case !k.set:
		case first == "":
			first = k.key
		default:
			return []error{upstream.Errorf(k.key, "the route has both %s and %s: give it one of them", first, k.key)}
		}
	}
	switch first {
	case "":
		return []error{upstream.Errorf("", "the route leads nowhere: give it a service, a redirect or respond")}
	case "redirect":
		if u, err := url.Parse(c.Redirect); err != nil || u.Scheme != "http" && u.Scheme != "https" || !upstream.ValidHost(u.Host) {
			return []error{upstream.Errorf("redirect", "%q is no http or https URL", c.Redirect)}
		}
	}
	return nil
}

// badRouteHost says what is wrong with a route's host; nothing if it is well.
func badRouteHost(host string) string {
	if host == "" {
		return ""
	}
	name, wild := strings.CutPrefix(host, "*.")
	switch {
	case strings.Contains(name, "*"):
		return fmt.Sprintf("host %q: * stands only for one whole label at the beginning, as in *.example.com", host)
	case strings.Contains(name, "://"):
		return fmt.Sprintf("host %q is a URL: give the name alone", host)
	case strings.Contains(name, ":") && !strings.HasSuffix(name, "]"):
		return fmt.Sprintf("host %q has a port: give the name alone, a route is good for every port", host)
	case !upstream.ValidHost(name), wild && strings.HasPrefix(name, "["):
		return fmt.Sprintf("%q is no host name", host)
	}
	return ""
}

// Validate checks the whole document, with what its parts say about each other. The fields of its errors
// begin at the document's top, as in "services.web.servers[0].address".
func (c Config) Validate() error {
	var errs []error
	add := func(prefix string, err error) { errs = append(errs, upstream.Under(prefix, err)...) }
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		l := c.Listeners[name]
		add("listeners."+name, l.Validate())
		if l.Service != "" {
			if _, ok := c.Services[l.Service]; !ok {
				errs = append(errs, upstream.Errorf("listeners."+name+".service", "there is no service %q", l.Service))
			}
		}
	}
	for i, r := range c.Routes {
		field := "routes[" + strconv.Itoa(i) + "]"
		add(field, r.Validate())
		if r.Service != "" {
			if _, ok := c.Services[r.Service]; !ok {
				errs = append(errs, upstream.Errorf(field+".service", "there is no service %q", r.Service))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Services)) {
		add("services."+name, c.Services[name].Validate())
	}
	add("dns", c.DNS.Validate())
	return errors.Join(errs...)
}

// place is where a socket listens. Without an address it is every address of the host, IPv4 and IPv6.
type place struct {
	addr netip.Addr
	port uint16
}

// String is the place as net.Listen takes it.
func (p place) String() string {
	if !p.addr.IsValid() {
		return ":" + strconv.Itoa(int(p.port))
	}
	return netip.AddrPortFrom(p.addr, p.port).String()
}

// parsePlace reads a listener's address.
func parsePlace(s string) (place, error) {
	if s == "" {
		return place{}, errors.New("no address: use [address]:port")
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		if n, err := strconv.ParseUint(s, 10, 16); err == nil && n > 0 {
			return place{}, fmt.Errorf("%q has no colon: did you mean \":%s\"?", s, s)
		}
		return place{}, fmt.Errorf("%q has no port: use [address]:port", s)
	}
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || port == 0 {
		return place{}, fmt.Errorf("port %q of %q is not between 1 and 65535", s[i+1:], s)
	}
	if i == 0 || s[:i] == "[::]" { // Go and Linux make [::] both families
		return place{port: uint16(port)}, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return place{}, fmt.Errorf("%q is no IP address: a listener is bound to an address of the node, or to all with \":%d\"", s[:i], port)
	}
	return place{addr: ap.Addr().Unmap(), port: uint16(port)}, nil
}
