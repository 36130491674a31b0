package upstream

import (
	"time"

	"tripod/proxy/web/rule"
)

// Balance names how a service picks one of its servers.
type Balance string

const (
	// RoundRobin takes the servers in turn, each as often as its weight says. It is the default.
	RoundRobin Balance = "round_robin"
	// LeastRequests takes the server with the fewest running requests for its weight.
	LeastRequests Balance = "least_requests"
)

// Protocol is what a service's servers speak.
type Protocol string

const (
	// HTTP is HTTP/1.1. It is the default.
	HTTP Protocol = "http"
	// H2 is HTTP/2 over TLS.
	H2 Protocol = "h2"
	// H2C is HTTP/2 without TLS, which gRPC servers mostly speak.
	H2C Protocol = "h2c"
)

// Config is one service of the document: servers that answer the same requests, and how to choose among
// them. The struct tags are the source of the document's JSON Schema and of its checks.
type Config struct {
	Balance  Balance        `yaml:"balance" enum:"round_robin,least_requests" default:"round_robin" doc:"How a server is chosen for a request."`
	Servers  []ServerConfig `yaml:"servers" required:"true" doc:"The servers, each as address:port or as a mapping."`
	Protocol Protocol       `yaml:"protocol" enum:"http,h2,h2c" default:"http" doc:"What the servers speak: HTTP/1.1, or HTTP/2 over TLS (h2) or without (h2c)."`
	Sticky   *StickyConfig  `yaml:"sticky" doc:"Keep a client on the server that answered it first, by a cookie."`
	Health   *HealthConfig  `yaml:"health" doc:"Ask every server regularly whether it is well. Without it a server counts as up."`
	TLS      *TLSConfig     `yaml:"tls" doc:"How servers that speak h2 show who they are."`
	// Rules hold for all routes that lead here.
	Rules rule.Common `yaml:",inline"`
}

// TLSConfig is how servers are known that speak TLS with us.
type TLSConfig struct {
	Name     string `yaml:"name" doc:"Name that the servers' certificates are for; default is the host of each server's address."`
	CA       string `yaml:"ca" doc:"Certificates, in PEM, of the authorities that may vouch for the servers; default are the system's."`
	Insecure bool   `yaml:"insecure" doc:"Take any certificate. Whoever stands in between then reads and changes what passes."`
}

// ServerConfig is one server of a service. In the document a bare "host:port" string stands for
// {address: host:port}.
type ServerConfig struct {
	Address        string `yaml:"address" required:"true" short:"true" doc:"host:port of the server."`
	Weight         *int   `yaml:"weight" min:"0" max:"256" default:"1" doc:"Share of the requests against the other servers; 0 takes none."`
	Zone           string `yaml:"zone" doc:"Failure domain of the server."`
	MaxConnections int    `yaml:"max_connections" min:"0" doc:"Requests (or TCP connections) that one node has at the server at a time; 0 is no limit."`
	Backup         bool   `yaml:"backup" doc:"Used only when no other server is up."`
}

// StickyConfig keeps a client on one server by a cookie.
type StickyConfig struct {
	Cookie string `yaml:"cookie" required:"true" doc:"Name of the cookie."`
}

// HealthConfig is an active HTTP health check. A zero value means the default given in the tag.
type HealthConfig struct {
	Path     string        `yaml:"path" default:"/" doc:"Path of the GET request; an answer of 200 to 399 counts as well."`
	Host     string        `yaml:"host" doc:"Host header of the request; default is the server's address."`
	Interval time.Duration `yaml:"interval" default:"2s" doc:"Time between two checks of a server."`
	Timeout  time.Duration `yaml:"timeout" default:"1s" doc:"Time within which the answer has to be there."`
	Rise     int           `yaml:"rise" min:"0" default:"2" doc:"Checks in a row that must pass before a server that is down counts as up."`
	Fall     int           `yaml:"fall" min:"0" default:"3" doc:"Checks in a row that must fail before a server that is up counts as down."`
}
