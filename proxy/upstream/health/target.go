package health

import (
	"crypto/tls"
	"net"
	"strconv"
	"strings"
)

// Target is a server that is asked.
type Target struct {
	// Address is where it is: IP address, or host, and port.
	Address string
	// Name is the same as the document has it; it stands in the Host header. Empty means Address.
	Name string
	// Service is the service whose server it is, for commands.
	Service string
	// HTTP2 says that the server speaks HTTP/2.
	HTTP2 bool
	// TLS is for connections to a server that speaks TLS with us; nil for one that does not. It is not changed.
	TLS *tls.Config
}

// at is the target at another port of the same host; 0 is its own.
func (t Target) at(port int) Target {
	if t.Name == "" {
		t.Name = t.Address
	}
	if port != 0 {
		for _, a := range []*string{&t.Address, &t.Name} {
			if host, _, err := net.SplitHostPort(*a); err == nil {
				*a = net.JoinHostPort(host, strconv.Itoa(port))
			}
		}
	}
	return t
}

// host is what the server is called in a Host header: as it says if it says anything, else the target's own name. The zone of an IPv6 address is a matter of
// this node (RFC 6874 §4).
func (t Target) host(as string) string {
	if as != "" {
		return as
	}
	if i, end := strings.IndexByte(t.Name, '%'), strings.IndexByte(t.Name, ']'); 0 <= i && i < end {
		return t.Name[:i] + t.Name[end:]
	}
	return t.Name
}
