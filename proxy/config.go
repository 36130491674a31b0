package proxy

import (
	"net/netip"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// Protocol is what a listener speaks with its clients.
type Protocol string

const (
	// HTTP listeners choose a service per request, by the routes. It is the default.
	HTTP Protocol = "http"
	// TCP listeners pass every connection to one service.
	TCP Protocol = "tcp"
)

// Config is the part of the document that the proxy serves.
type Config struct {
	Listeners map[string]ListenerConfig
	Routes    []RouteConfig
	Services  map[string]upstream.Config
	DNS       DNSConfig
	// AccessLog is of how many requests one is logged: 1 for all, 0 for none.
	AccessLog int
	// VIPs are the document's virtual addresses. On an all-loopback cluster a listener answers on them
	// only while this node holds them.
	VIPs []netip.Addr
}

// ListenerConfig is one listening address of every node.
type ListenerConfig struct {
	Address        string   `yaml:"address" required:"true" doc:"[address]:port; without an address all addresses of the node."`
	Protocol       Protocol `yaml:"protocol" enum:"http,tcp" default:"http" doc:"What the clients speak."`
	TLS            bool     `yaml:"tls" doc:"Terminate TLS here, with the certificates of the routes' hosts."`
	H2C            bool     `yaml:"h2c" doc:"HTTP/2 without TLS too, for clients that begin with it (prior knowledge)."`
	RedirectHTTPS  bool     `yaml:"redirect_https" doc:"Answer every request with a redirect to the https listener."`
	Service        string   `yaml:"service" doc:"The service of a tcp listener."`
	ProxyProtocol  []string `yaml:"proxy_protocol" doc:"Networks of proxies whose connections begin with a PROXY protocol header, version 1 or 2; it is demanded from them and not looked for from others."`
	TrustedProxies []string `yaml:"trusted_proxies" doc:"Networks of proxies whose X-Forwarded-For or Forwarded is believed; the client is the last address there that is not one of them."`
}

// RouteConfig leads requests to a service, or elsewhere. Of the routes that match a request the one with
// the most specific host wins (exact, then *.wildcard, then none), then the one with the longest path.
type RouteConfig struct {
	Host     string `yaml:"host" doc:"Host name, or *.name for any one label before it; without it any host."`
	Path     string `yaml:"path" default:"/" doc:"Path and everything below it."`
	Service  string `yaml:"service" doc:"The service that answers."`
	Redirect string `yaml:"redirect" doc:"URL that the client is sent to instead; without a path of its own the request's path and query are kept."`
	// Rules are what else the route does.
	Rules rule.Config `yaml:",inline"`
}
