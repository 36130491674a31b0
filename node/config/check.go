package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"golang.org/x/net/idna"

	"tripod/proxy"
)

// nameRule is what a service or listener may be called: its name stands in etcd's keys, in metrics and on command lines.
const nameRule = `^[A-Za-z0-9._-]{1,63}$`

// maxGuesses bounds the search for the nearest of many names.
const maxGuesses = 20

// checker finds what a single value cannot show.
type checker struct {
	findings *findings
	tree     *tree
	document *Document
	services []string
	guesses  int
}

func (c *checker) check() {
	rule := regexp.MustCompile(nameRule)
	c.names("listeners", rule)
	c.services = c.names("services", rule)
	c.vips()
	c.listeners()
	c.routes()
	for _, e := range c.tree.names["services"] {
		if s, ok := c.document.Services[e.key.value]; ok {
			c.component(s, "services."+e.key.value, e.key, e.value)
			c.servers(e)
		}
	}
	if n, ok := c.tree.find(c.tree.root, "dns"); ok {
		c.component(c.document.DNS, "dns", n, n)
	}
}

// names checks the names of a section and returns them, in the order of the document.
func (c *checker) names(section string, rule *regexp.Regexp) []string {
	entries := c.tree.names[section]
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := e.key.value
		if !rule.MatchString(name) {
			c.findings.addf(e.key, section+"."+name, "%s is not a valid name: 1 to 63 letters, digits, dots, underscores and hyphens", quote(name))
		}
		names = append(names, name)
	}
	return names
}

// component reports what the part that owns a configuration finds wrong with it. Its value is n, named by place.
func (c *checker) component(config any, path string, place, n *node) {
	if v, ok := config.(interface{ Validate() error }); ok && !c.findings.full() {
		c.faults(v.Validate(), path, place, n)
	}
}

// faults reports each of the joined errors where its field is.
func (c *checker) faults(err error, path string, place, n *node) {
	if err == nil || c.findings.full() {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			c.faults(e, path, place, n)
		}
		return
	}
	var fault interface{ Field() string }
	if errors.As(err, &fault) && fault.Field() != "" {
		found, exact := c.tree.find(n, fault.Field())
		if exact || found != n {
			place = found
		}
		path += "." + fault.Field()
	}
	// What the walk has reported left a hole that is not worth a second line.
	if !c.findings.covers(path) {
		c.findings.add(place, path, err.Error())
	}
}

// at is the node of a field of n, or the place that stands for it.
func (c *checker) at(n, place *node, field string) *node {
	if found, ok := c.tree.find(n, field); ok {
		return found
	}
	return place
}

func (c *checker) vips() {
	first := map[netip.Addr]*node{}
	items := c.tree.lists["vips"]
	for i, v := range c.document.VIPs {
		path := fmt.Sprintf("vips[%d]", i)
		c.component(v, path, items[i], items[i])
		if c.findings.at(path) {
			continue
		}
		prefix, err := v.Prefix()
		if err != nil {
			continue // reported by Validate
		}
		place := c.at(items[i], items[i], "address")
		if before := first[prefix.Addr()]; before != nil {
			c.findings.addf(place, path+".address", "duplicate VIP %s; the first is on line %d", prefix.Addr(), before.line)
			continue
		}
		first[prefix.Addr()] = place
		c.document.vips = append(c.document.vips, prefix)
	}
}

// bound is a listener's place on the network.
type bound struct {
	name    string
	place   *node
	address netip.Addr // the zero value is any, of both families
}

func (b bound) wildcard() bool { return !b.address.IsValid() || b.address.IsUnspecified() }

// covers reports whether the other address is one of b's.
func (b bound) covers(other bound) bool {
	switch {
	case !b.address.IsValid(), b.address == other.address:
		return true
	case b.address.IsUnspecified():
		return other.address.Is4()
	}
	return false
}

func (c *checker) listeners() {
	ports := map[string][]bound{}
	tls := c.document.terminatesTLS()
	for _, e := range c.tree.names["listeners"] {
		name := e.key.value
		l, ok := c.document.Listeners[name]
		if !ok {
			continue
		}
		path := "listeners." + name
		c.component(l, path, e.key, e.value)
		if l.Service != "" && !c.findings.at(path+".service") {
			c.service(l.Service, path+".service", c.at(e.value, e.key, "service"))
		}
		if l.RedirectHTTPS && !tls && !c.findings.at(path+".redirect_https") && !c.brokenTLS() {
			c.findings.add(c.at(e.value, e.key, "redirect_https"), path+".redirect_https",
				"there is no https listener to redirect to; give one tls: true")
		}
		if address, port, ok := listenAddress(l.Address); ok && !c.findings.at(path+".address") {
			ports[port] = c.collide(ports[port], bound{name, c.at(e.value, e.key, "address"), address}, l)
		}
	}
}

// brokenTLS reports whether a mistake elsewhere may hide the tls listener.
func (c *checker) brokenTLS() bool {
	for _, e := range c.tree.names["listeners"] {
		if c.findings.at("listeners." + e.key.value + ".tls") {
			return true
		}
	}
	return false
}

// collide reports a listener that cannot have its address because of another on the same port.
func (c *checker) collide(others []bound, b bound, l proxy.ListenerConfig) []bound {
	for _, o := range others {
		var what string
		switch {
		case o.address == b.address, o.wildcard() && b.wildcard():
			what = "is already that of"
		case o.covers(b):
			what = "is covered by that of"
		case b.covers(o):
			what = "covers that of"
		default:
			continue
		}
		c.findings.addf(b.place, "listeners."+b.name+".address", "duplicate address: %s %s listener %s on line %d",
			l.Address, what, quote(o.name), o.place.line)
		return others
	}
	return append(others, b)
}

// listenAddress splits the address of a listener. No address and :: are every address of both families, 0.0.0.0 is every one
// of IPv4, as they are for net.Listen.
func listenAddress(text string) (address netip.Addr, port string, ok bool) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return netip.Addr{}, "", false
	}
	if host != "" {
		if address, err = netip.ParseAddr(host); err != nil {
			return netip.Addr{}, "", false
		}
		if address = address.Unmap(); address.Is6() && address.IsUnspecified() {
			address = netip.Addr{}
		}
	}
	return address, normalPort(port), true
}

// normalPort writes a port as it is compared: without leading zeros.
func normalPort(port string) string { return strings.TrimLeft(port, "0") }

// service checks that a name leads to a service.
func (c *checker) service(name, path string, place *node) {
	if _, ok := c.document.Services[name]; ok || c.findings.full() {
		return
	}
	hint := ""
	if c.guesses++; c.guesses <= maxGuesses {
		hint = DidYouMean(name, c.services)
	}
	if hint == "" {
		switch n := len(c.services); {
		case n == 0:
			hint = "; the document has no services"
		case n <= 8:
			hint = "; there are " + strings.Join(c.services, ", ")
		}
	}
	c.findings.addf(place, path, "no service %s%s", quote(name), hint)
}

func (c *checker) routes() {
	type match struct{ host, path string }
	first := make(map[match]*node, len(c.document.Routes))
	items := c.tree.lists["routes"]
	for i := range c.document.Routes {
		if c.findings.full() {
			return
		}
		r, item := &c.document.Routes[i], items[i]
		r.Host = normalHost(r.Host)
		path := fmt.Sprintf("routes[%d]", i)
		c.component(*r, path, item, item)
		if r.Service != "" && !c.findings.at(path+".service") {
			c.service(r.Service, path+".service", c.at(item, item, "service"))
		}
		if c.findings.at(path+".host") || c.findings.at(path+".path") {
			continue
		}
		m := match{r.Host, r.Path}
		if before := first[m]; before != nil {
			host := r.Host
			if host == "" {
				host = "any host"
			}
			c.findings.addf(item, path, "duplicate route: %s with path %s is on line %d already", host, quote(r.Path), before.line)
			continue
		}
		first[m] = item
	}
}

// normalHost writes a host name as it is compared: lower case, without the final dot, international names in ASCII.
func normalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for i := range len(host) {
		if host[i] >= 0x80 {
			name, wildcard := strings.CutPrefix(host, "*.")
			ascii, err := idna.Lookup.ToASCII(name)
			if err != nil {
				return host // refused by Validate
			}
			if wildcard {
				ascii = "*." + ascii
			}
			return ascii
		}
	}
	return host
}

// servers reports servers of a service that are the same, written differently.
func (c *checker) servers(e entry) {
	name := e.key.value
	servers := c.document.Services[name].Servers
	first := make(map[string]int, len(servers))
	for i, s := range servers {
		address := normalServer(s.Address)
		before, ok := first[address]
		if !ok {
			first[address] = i
			continue
		}
		path := fmt.Sprintf("services.%s.servers[%d]", name, i)
		if s.Address == "" || c.findings.at(path) {
			continue
		}
		n := c.serverPlace(e, i)
		c.findings.addf(n, path, "duplicate server: %s is on line %d already", address, c.serverPlace(e, before).line)
	}
}

func (c *checker) serverPlace(e entry, i int) *node {
	return c.at(e.value, e.key, fmt.Sprintf("servers[%d]", i))
}

// normalServer writes a server's address as it is compared.
func normalServer(text string) string {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return text
	}
	if address, err := netip.ParseAddr(host); err == nil {
		host = address.Unmap().String()
	}
	return net.JoinHostPort(strings.TrimSuffix(strings.ToLower(host), "."), normalPort(port))
}
