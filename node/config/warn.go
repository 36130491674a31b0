package config

import (
	"fmt"
	"net/netip"
	"strings"

	"tripod/proxy"
)

// warn finds what is worth a remark in a document that is accepted.
func (c *checker) warn() []Problem {
	remarks := newFindings(c.findings.file)
	c.warnVIPs(remarks)
	c.warnListeners(remarks)
	c.warnServices(remarks)
	if c.document.Certificates.Email != "" {
		place := c.tree.root
		if n, ok := c.tree.find(place, "certificates.email"); ok {
			place = n
		}
		remarks.add(place, "certificates.email", "has no effect yet: the cluster's own certificate authority asks for none")
	}
	return remarks.sorted()
}

func (c *checker) warnVIPs(remarks *findings) {
	items := c.tree.lists["vips"]
	for i, p := range c.document.vips {
		if !p.Addr().IsLoopback() && p.IsSingleIP() && c.document.VIPs[i].Address == p.Addr().String() {
			remarks.addf(c.at(items[i], items[i], "address"), fmt.Sprintf("vips[%d].address", i),
				"has no prefix length and counts as a single host: %s", netip.PrefixFrom(p.Addr(), p.Bits()))
		}
	}
}

func (c *checker) warnListeners(remarks *findings) {
	web := false
	for _, e := range c.tree.names["listeners"] {
		l := c.document.Listeners[e.key.value]
		web = web || l.Protocol != proxy.TCP
		if l.TLS && len(c.document.TLSHosts()) == 0 {
			remarks.add(c.at(e.value, e.key, "tls"), "listeners."+e.key.value+".tls",
				"no route has a host, so there is no name to make a certificate for")
		}
		for i, network := range l.TrustedProxies {
			if strings.HasSuffix(network, "/0") {
				field := fmt.Sprintf("trusted_proxies[%d]", i)
				remarks.add(c.at(e.value, e.key, field), "listeners."+e.key.value+"."+field,
					"believes everybody: any client can say that it has another address")
			}
		}
	}
	if routes := c.tree.lists["routes"]; len(routes) > 0 && !web {
		remarks.add(routes[0], "routes", "have no effect: there is no http listener")
	}
}

// warnServices remarks on services that nothing leads to, and once on zones.
func (c *checker) warnServices(remarks *findings) {
	used, web := map[string]bool{}, map[string]bool{}
	for _, r := range c.document.Routes {
		used[r.Service], web[r.Service] = true, true
	}
	for _, l := range c.document.Listeners {
		used[l.Service] = true
	}
	zones := 0
	var zone *node
	var zonePath string
	for _, e := range c.tree.names["services"] {
		name := e.key.value
		if !used[name] {
			remarks.add(e.key, "services."+name, "is not used by any route or listener")
		} else if !web[name] {
			c.warnStream(remarks, e)
		}
		for i, s := range c.document.Services[name].Servers {
			if s.Zone == "" {
				continue
			}
			if zones++; zones == 1 {
				field := fmt.Sprintf("servers[%d].zone", i)
				zone, zonePath = c.at(e.value, e.key, field), "services."+name+"."+field
			}
		}
	}
	if zones > 0 {
		message := "has no effect yet: servers are chosen without regard to zones"
		if zones > 1 {
			message += fmt.Sprintf(" (so are %d more)", zones-1)
		}
		remarks.add(zone, zonePath, message)
	}
}

// warnStream remarks on what a service says of HTTP that only tcp listeners lead to.
func (c *checker) warnStream(remarks *findings, e entry) {
	for _, key := range []string{"protocol", "max_body", "timeouts", "request_headers", "response_headers", "compress", "error_pages"} {
		if n, ok := c.tree.find(e.value, key); ok {
			remarks.add(n, "services."+e.key.value+"."+key, "has no effect: only tcp listeners lead to this service, and they do not look into what they pass on")
		}
	}
}
