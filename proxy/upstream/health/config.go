// Package health asks servers whether they are well.
//
// A Config is a check as the document has it. Config.Compile makes a Probe of it, which asks one server at a time, as often as it is called: when,
// and what follows from the answers, is the caller's.
//
// Every time a server is asked on a connection of its own, which is closed afterwards: a server that accepts no connection is not well, however
// many old ones it still serves. What is read of an answer is bounded in bytes, and all of it together in time.
package health

import "time"

// Type is how a server is asked.
type Type string

const (
	// HTTP sends a request and looks at the answer. It is the default; where the service speaks HTTP/2, so does the check.
	HTTP Type = "http"
	// TCP connects.
	TCP Type = "tcp"
	// TLS connects, and agrees on TLS. Where the service speaks TLS with its servers their certificate is verified as it is for requests; where what
	// passes is the clients' TLS, the certificate is theirs to judge, and all that is asked is whether TLS is answered.
	TLS Type = "tls"
	// GRPC calls grpc.health.v1.Health/Check, as the GRPC Health Checking Protocol has it.
	GRPC Type = "grpc"
	// Agent connects to an agent beside the server and reads a line: up, down, drain, maint, or a weight in percent.
	Agent Type = "agent"
	// Exec runs a command and reads the same line from its output; without one its exit code counts.
	Exec Type = "exec"
)

// Initial is what a server counts as before its first check has ended.
type Initial string

const (
	// Down is the default.
	Down Initial = "down"
	// Up gives a new server requests at once.
	Up Initial = "up"
)

// Config is an active health check. A zero value means the default given in the tag.
type Config struct {
	Type     Type          `yaml:"type" enum:"http,tcp,tls,grpc,agent,exec" default:"http" doc:"How a server is asked."`
	Method   string        `yaml:"method" default:"GET" doc:"Method of the request, which has no content."`
	Path     string        `yaml:"path" default:"/" doc:"Path of the request."`
	Host     string        `yaml:"host" doc:"Host header of the request, or the name that type tls asks for; default is the server's address."`
	Status   []string      `yaml:"status" numbers:"true" doc:"Statuses that count as well, each one or a range, as in [204, 300-399]; default is 200-399."`
	Body     string        `yaml:"body" doc:"Regular expression (RE2) that must match somewhere in the answer's content, of which the first 64 KiB count."`
	Service  string        `yaml:"service" doc:"Name that a gRPC server is asked about; default is the server as a whole."`
	Command  []string      `yaml:"command" doc:"Command of type exec, with its arguments; it runs on every node."`
	Port     int           `yaml:"port" min:"0" max:"65535" doc:"Port to ask at, where that is not the one that requests go to."`
	Interval time.Duration `yaml:"interval" default:"2s" doc:"Time between two checks of a server; a tenth more or less."`
	Fast     time.Duration `yaml:"fastinter" doc:"Time between two checks while a server's state is about to change, or it was never up; default is the interval."`
	Timeout  time.Duration `yaml:"timeout" default:"1s" doc:"Time within which the answer has to be there."`
	Rise     int           `yaml:"rise" min:"0" default:"2" doc:"Checks in a row that must pass before a server that is down counts as up; of a new server it is one."`
	Fall     int           `yaml:"fall" min:"0" default:"3" doc:"Checks in a row that must fail before a server that is up counts as down; an agent that says down is believed at once."`
	Initial  Initial       `yaml:"initial" enum:"down,up" default:"down" doc:"What a new server counts as until its first check has ended."`
}

// WithDefaults returns the configuration with the defaults that the tags name; nil for nil.
func (c *Config) WithDefaults() *Config {
	if c == nil {
		return nil
	}
	d := *c
	if d.Type == "" {
		d.Type = HTTP
	}
	if d.Type == HTTP && d.Method == "" {
		d.Method = "GET"
	}
	if d.Type == HTTP && d.Path == "" {
		d.Path = "/"
	}
	if d.Interval == 0 {
		d.Interval = 2 * time.Second
	}
	if d.Fast == 0 {
		d.Fast = d.Interval
	}
	if d.Timeout == 0 {
		d.Timeout = time.Second
	}
	if d.Rise == 0 {
		d.Rise = 2
	}
	if d.Fall == 0 {
		d.Fall = 3
	}
	if d.Initial == "" {
		d.Initial = Down
	}
	return &d
}

// NeedsHTTP2 tells whether only servers that speak HTTP/2 can be asked in this way.
func (c Config) NeedsHTTP2() bool { return c.Type == GRPC }
