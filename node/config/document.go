package config

import (
	"net/netip"
	"slices"

	"tripod/election"
	"tripod/proxy"
	"tripod/proxy/upstream"
	"tripod/tls"
)

// Document is what a cluster serves. It is made by Parse, which fills in defaults and normalises the hosts of
// routes; it is not changed afterwards. The zero value serves nothing.
type Document struct {
	VIPs         []election.VIPConfig            `yaml:"vips" doc:"Virtual IP addresses; one node at a time holds each."`
	Listeners    map[string]proxy.ListenerConfig `yaml:"listeners" doc:"Where every node listens, by a name of your choice."`
	Routes       []proxy.RouteConfig             `yaml:"routes" doc:"Which service answers; the most specific host, then the longest path, wins."`
	Services     map[string]upstream.Config      `yaml:"services" doc:"The servers behind, by a name of your choice."`
	DNS          proxy.DNSConfig                 `yaml:"dns" doc:"Who is asked for the addresses of servers that are given by name."`
	Certificates tls.CertificatesConfig          `yaml:"certificates" doc:"How the certificates of the routes' hosts are made."`
	AccessLog    string                          `yaml:"access_log" enum:"on,off" default:"on" doc:"One log line per request."`
	LogSample    int                             `yaml:"access_log_sample" min:"1" default:"1" doc:"Of how many requests one is logged; those that fail with 5xx always are."`

	vips     []netip.Prefix
	warnings []Problem
}

// Parse reads and checks a document. The file is a name for messages only. The error is of type Problems and has
// all that is wrong; then there is no document. An empty text is a document that serves nothing.
func Parse(file string, text []byte) (*Document, error) {
	found := newFindings(file)
	text, n, message := guard(text)
	if message != "" {
		found.add(n, "", message)
		return nil, found.sorted()
	}
	t, n, message := read(text)
	if message != "" {
		found.add(n, "", message)
		return nil, found.sorted()
	}
	d := new(Document)
	w := walker{findings: found, tree: t, plans: plans{}}
	w.document(d)
	c := checker{findings: found, tree: t, document: d}
	if !w.stopped {
		c.check()
	}
	if len(found.list) > 0 {
		return nil, found.sorted()
	}
	d.warnings = c.warn()
	return d, nil
}

// Warnings are remarks on a document that is accepted: what has no effect yet, or cannot be meant. They are in
// the order of the text.
func (d *Document) Warnings() []Problem { return slices.Clone(d.warnings) }

// Proxy is the part of the document that the proxy serves.
func (d *Document) Proxy() proxy.Config {
	c := proxy.Config{
		Listeners: d.Listeners,
		Routes:    d.Routes,
		Services:  d.Services,
		DNS:       d.DNS,
	}
	if d.AccessLog != "off" {
		c.AccessLog = max(d.LogSample, 1)
	}
	for _, p := range d.vips {
		c.VIPs = append(c.VIPs, p.Addr())
	}
	return c
}

// Addresses are the VIPs with their prefix lengths, in the order of the document. The first one makes its holder
// the leader.
func (d *Document) Addresses() []netip.Prefix { return slices.Clone(d.vips) }

// TLSHosts are the names that need a certificate: the hosts of all routes, lower case, sorted and each once, among
// them wildcards such as *.example.com. There are none unless a listener terminates TLS.
func (d *Document) TLSHosts() []string {
	if !d.terminatesTLS() {
		return nil
	}
	var hosts []string
	for _, r := range d.Routes {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func (d *Document) terminatesTLS() bool {
	for _, l := range d.Listeners {
		if l.TLS {
			return true
		}
	}
	return false
}
