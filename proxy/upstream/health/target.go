package health

import "crypto/tls"

// Target is a server that is asked.
type Target struct {
	// Address is where it is: IP address, or host, and port.
	Address string
	// Name is the same as the document has it; it stands in the Host header.
	Name string
	// Service is the service whose server it is, for commands.
	Service string
	// HTTP2 says that the server speaks HTTP/2.
	HTTP2 bool
	// TLS is for connections to a server that speaks TLS with us; nil for one that does not. It is not changed.
	TLS *tls.Config
}

// Verdict is what a server, or its agent, says of itself.
type Verdict struct {
	// State is Passed unless an agent says more.
	State State
	// Percent of its weight that the server wants, 1 to 100; 0 leaves it as it is.
	Percent int
}

// State is what an agent wants of its server.
type State uint8

const (
	// Passed: the server is well.
	Passed State = iota
	// Draining: it is well, and wants no new clients.
	Draining
	// Stopped: it wants no requests at all. It is not down: what an operator is told is that the server asked for it.
	Stopped
)
