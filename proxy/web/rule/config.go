package rule

import "time"

// Common are the rules that both a service and a route may have. A route's value goes before its service's, key by key in
// timeouts and error_pages; of header rules both apply, the service's first. The struct tags are the source of the document's
// JSON Schema and of its checks.
type Common struct {
	MaxBody         *Size             `yaml:"max_body" doc:"Largest content of a request, as in 10MiB; 413 beyond it. 0 is no limit, the default."`
	Timeouts        *TimeoutsConfig   `yaml:"timeouts" doc:"How long the phases of a request may take; 0s is no limit."`
	RequestHeaders  *HeadersConfig    `yaml:"request_headers" doc:"Changes to the fields that the servers see."`
	ResponseHeaders *HeadersConfig    `yaml:"response_headers" doc:"Changes to the fields that the clients see."`
	Compress        []string          `yaml:"compress" enum:"zstd,br,gzip" doc:"Encodings for compressible answers, preferred first; [] is none, the default."`
	ErrorPages      map[string]string `yaml:"error_pages" keys:"^[45]([0-9][0-9]|xx)$" doc:"Content of tripod's own error answers, by status or by 4xx and 5xx; HTML if it begins with <."`
	RateLimits      []RateConfig      `yaml:"rate_limits" doc:"How many requests are let through, counted over all nodes together; 429 beyond it. A route's and its service's all hold."`
}

// Config are the rules of a route.
type Config struct {
	StripPrefix bool             `yaml:"strip_prefix" doc:"Cut the route's path off before the server sees the request."`
	Rewrite     string           `yaml:"rewrite" doc:"What the server sees in place of the route's path."`
	Allow       []string         `yaml:"allow" doc:"Client networks or addresses that are let in; 403 for all others."`
	Deny        []string         `yaml:"deny" doc:"Client networks or addresses that are kept out, also if allow has them; 403."`
	BasicAuth   *BasicAuthConfig `yaml:"basic_auth" doc:"Ask for a user name and a password; 401 without."`
	Forwarded   string           `yaml:"forwarded" enum:"x_forwarded,forwarded,both" doc:"Fields that tell servers about the client; x_forwarded is the default."`
	Status      int              `yaml:"status" doc:"Status of the redirect: 301, 302, 303, 307 or 308, the default."`
	Respond     *RespondConfig   `yaml:"respond" doc:"Answer with this instead of a service's answer."`
	Common      `yaml:",inline"`
}

// TimeoutsConfig bounds the phases of a request. Nil is the default, 0 no limit.
type TimeoutsConfig struct {
	Connect   *time.Duration `yaml:"connect" default:"5s" doc:"Time to connect to a server, TLS with it included."`
	FirstByte *time.Duration `yaml:"first_byte" default:"60s" doc:"Time from the end of the request to the beginning of the answer."`
	Idle      *time.Duration `yaml:"idle" doc:"Time without a byte of content, in either direction; by default 60s for a request's and 5m for an answer's."`
	Total     *time.Duration `yaml:"total" default:"0s" doc:"Time for the whole exchange."`
}

// HeadersConfig are changes to the fields of a message: remove first, then set, then add. Values may hold the placeholders
// {client}, {host}, {path}, {id} and {listener}; {{ is a brace.
type HeadersConfig struct {
	Set    map[string]string `yaml:"set" keys:"^[!#$%&'*+.^_|~0-9A-Za-z-]+$" doc:"Fields that replace all of their name."`
	Add    map[string]string `yaml:"add" keys:"^[!#$%&'*+.^_|~0-9A-Za-z-]+$" doc:"Fields that come beside those of their name."`
	Remove []string          `yaml:"remove" doc:"Names of fields that are taken away."`
}

// BasicAuthConfig asks for a user name and a password (RFC 7617).
type BasicAuthConfig struct {
	Realm string            `yaml:"realm" default:"Restricted" doc:"What the client is told that the password is for."`
	Users map[string]string `yaml:"users" required:"true" keys:"^[^:]+$" doc:"Users with the bcrypt hashes of their passwords, as htpasswd -nbB makes them."`
}

// RespondConfig is a fixed answer.
type RespondConfig struct {
	Status      int               `yaml:"status" default:"200" doc:"Status of the answer, 200 to 599."`
	Body        string            `yaml:"body" doc:"Its content."`
	ContentType string            `yaml:"content_type" doc:"Its type; by default text/html if the content begins with <, application/json if it is JSON, else text/plain."`
	Headers     map[string]string `yaml:"headers" keys:"^[!#$%&'*+.^_|~0-9A-Za-z-]+$" doc:"Further fields."`
}
