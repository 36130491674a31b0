package upstream

import (
	"time"

	"tripod/proxy/upstream/health"
	"tripod/proxy/web/rule"
)

// Balance names how a service picks one of its servers.
type Balance string

const (
	// RoundRobin takes the servers in turn, each as often as its weight says. It is the default.
	RoundRobin Balance = "round_robin"
	// LeastRequests takes the server with the fewest running requests for its weight.
	LeastRequests Balance = "least_requests"
	// RandomTwo takes two servers by chance, and of these the one with fewer running requests for its weight.
	RandomTwo Balance = "random_two"
	// IPHash keeps each client address on one server.
	IPHash Balance = "ip_hash"
	// Hash keeps requests that have the same value of what HashConfig names on one server.
	Hash Balance = "hash"
	// First takes the first server, in the document's order, that has not its maximum of connections.
	First Balance = "first"
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

// AllDown is what happens to requests while every server of a service is down. Those of them that are only ejected get the requests in any case.
type AllDown string

const (
	// FailFast answers them with 503 at once. It is the default.
	FailFast AllDown = "fail"
	// Panic gives them to the servers that are down as if they were up: checks may be wrong, and then all at once.
	Panic AllDown = "panic"
)

// Config is one service of the document: servers that answer the same requests, and how to choose among
// them. The struct tags are the source of the document's JSON Schema and of its checks.
type Config struct {
	Balance    Balance        `yaml:"balance" enum:"round_robin,least_requests,random_two,ip_hash,hash,first" default:"round_robin" doc:"How a server is chosen for a request."`
	Hash       *HashConfig    `yaml:"hash" doc:"What balance: hash keeps on one server."`
	PreferZone bool           `yaml:"prefer_zone" doc:"Choose servers of the node's own zone as far as those that are up have the capacity, and others for the rest."`
	Servers    []ServerConfig `yaml:"servers" doc:"The servers, each as address:port or as a mapping; beside them there are those that register themselves."`
	Register   bool           `yaml:"register" doc:"Servers register themselves, so that servers may be left out."`
	Protocol   Protocol       `yaml:"protocol" enum:"http,h2,h2c" default:"http" doc:"What the servers speak: HTTP/1.1, or HTTP/2 over TLS (h2) or without (h2c)."`
	Sticky     *StickyConfig  `yaml:"sticky" doc:"Keep a client on the server that answered it first, by a cookie."`
	Health     *health.Config `yaml:"health" doc:"Ask every server regularly whether it is well. Without it a server counts as up."`
	Passive    *PassiveConfig `yaml:"passive" doc:"When a server gets no requests for a while because those that it got failed."`
	AllDown    AllDown        `yaml:"all_down" enum:"fail,panic" default:"fail" doc:"With every server down: answer 503 (fail), or try those that are down (panic)."`
	SlowStart  time.Duration  `yaml:"slow_start" min:"0" doc:"Time in which a server that came up gets from a tenth to all of its share."`
	Limits     *LimitsConfig  `yaml:"limits" doc:"How much one node asks of the service at a time, and how long requests wait for their turn."`
	Retries    *RetriesConfig `yaml:"retries" doc:"When a request that failed at one server is given to another."`
	TLS        *TLSConfig     `yaml:"tls" doc:"How servers that speak h2 show who they are."`
	// Rules hold for all routes that lead here.
	Rules rule.Common `yaml:",inline"`
}

// HashConfig says what a request is known by: one of these.
type HashConfig struct {
	Header string `yaml:"header" doc:"Value of this field of the request."`
	Cookie string `yaml:"cookie" doc:"Value of this cookie."`
	Query  string `yaml:"query" doc:"Value of this parameter of the query."`
	Path   bool   `yaml:"path" doc:"The path."`
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
	Address        string `yaml:"address" short:"true" doc:"host:port of the server; a host name stands for all of its addresses, and is asked for again when they expire."`
	SRV            string `yaml:"srv" doc:"Name of SRV records in place of an address, as in _http._tcp.web.example.com: hosts, ports and weights are theirs."`
	Weight         *int   `yaml:"weight" min:"0" max:"256" default:"1" doc:"Share of the requests against the other servers; 0 takes none."`
	Zone           string `yaml:"zone" doc:"Failure domain of the server."`
	MaxConnections int    `yaml:"max_connections" min:"0" doc:"Requests (or TCP connections) that one node has at the server at a time; 0 is no limit."`
	Backup         bool   `yaml:"backup" doc:"Used only when no other server is up."`
}

// StickyConfig keeps a client on one server by a cookie.
type StickyConfig struct {
	Cookie   string        `yaml:"cookie" required:"true" doc:"Name of the cookie."`
	TTL      time.Duration `yaml:"ttl" min:"0" doc:"Time after its last renewal for which the cookie is good; default is until the browser is closed."`
	SameSite string        `yaml:"same_site" enum:"lax,strict,none" default:"lax" doc:"Whether the cookie goes with requests from other sites."`
	Secure   *bool         `yaml:"secure" doc:"Whether the cookie goes over TLS only; default is where the client came over TLS."`
	HTTPOnly *bool         `yaml:"http_only" default:"true" doc:"Whether the cookie is hidden from scripts."`
}

// LimitsConfig bounds what one node asks of a service at a time. 0 is no limit.
type LimitsConfig struct {
	Connections int            `yaml:"connections" min:"0" doc:"Connections to all servers of the service together, unless they speak HTTP/2."`
	Requests    int            `yaml:"requests" min:"0" doc:"Requests (or TCP connections) that run at all servers together."`
	Pending     *int           `yaml:"pending" min:"0" default:"1000" doc:"Requests that wait for their turn, first come first served; more are answered with 503."`
	Wait        *time.Duration `yaml:"wait" min:"0" default:"5s" doc:"How long one waits before it is answered with 503."`
}

// RetriesConfig says when a request that failed at one server is given to another. Only one that was never sent is given to another in any case;
// one that was sent only if its method is idempotent (RFC 9110 §9.2.2), its content is at hand, and nothing of an answer has gone to the client.
type RetriesConfig struct {
	Most   *int          `yaml:"most" min:"0" max:"10" default:"2" doc:"How often a request that was sent is sent again; 0 is never."`
	Budget *int          `yaml:"budget" min:"0" max:"100" default:"20" doc:"Percent of the requests that run at the service that may be such; beyond it they wait for their turn."`
	Try    time.Duration `yaml:"try" min:"0" doc:"Time from a request's end to the beginning of the answer after which another server is asked, if the request may be sent again; default is first_byte of the timeouts."`
	Hedge  time.Duration `yaml:"hedge" min:"0" doc:"Time after which a GET that is not answered is sent to a second server too, and whoever answers first counts; default is never."`
	Status []int         `yaml:"status" doc:"Statuses of answers, 500 to 599, that count as failed and are tried elsewhere, as in [502, 503]."`
}
