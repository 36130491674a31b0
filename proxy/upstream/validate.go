package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// FieldError says what is wrong with one field of a component of the document.
type FieldError struct {
	field string
	text  string
}

// Errorf returns a FieldError about field, a path inside the component such as "servers[2].address"; an
// empty one means the whole component.
func Errorf(field, format string, args ...any) *FieldError {
	return &FieldError{field: field, text: fmt.Sprintf(format, args...)}
}

// Field is the path of the field inside its component.
func (e *FieldError) Field() string { return e.field }

// Error says what is wrong, without the field's name.
func (e *FieldError) Error() string { return e.text }

// JoinField puts the path of a component before that of a field of it.
func JoinField(component, field string) string {
	if component == "" || field == "" || field[0] == '[' {
		return component + field
	}
	return component + "." + field
}

// Validate checks the service's own rules. Its error joins one FieldError for each fault.
func (c Config) Validate() error {
	var errs []error
	fault := func(field, format string, args ...any) {
		errs = append(errs, Errorf(field, format, args...))
	}
	errs = append(errs, c.balanceFaults()...)
	switch c.AllDown {
	case "", FailFast, Panic:
	default:
		fault("all_down", "unknown %q: use %s or %s", c.AllDown, FailFast, Panic)
	}
	if c.SlowStart < 0 {
		fault("slow_start", "%s is negative", c.SlowStart)
	}
	switch c.Protocol {
	case "", HTTP, H2, H2C:
	default:
		fault("protocol", "unknown protocol %q: use %s, %s or %s", c.Protocol, HTTP, H2, H2C)
	}
	if c.TLS != nil {
		errs = append(errs, c.TLS.faults(c.Protocol)...)
	}
	if len(c.Servers) == 0 && !c.Register {
		fault("servers", "no servers: name at least one, as host:port, or say register: true if they register themselves")
	}
	seen := make(map[string]int, len(c.Servers))
	for i, s := range c.Servers {
		field := fmt.Sprintf("servers[%d]", i)
		if s.SRV != "" {
			if s.Address != "" {
				fault(field+".srv", "the server has both address and srv: give it one of them")
			} else if !validName(s.SRV) {
				fault(field+".srv", "%q is no name of SRV records, such as _http._tcp.web.example.com", s.SRV)
			}
		} else if text := badServerAddress(s.Address); text != "" {
			fault(field+".address", "%s", text)
		} else if first, ok := seen[s.Address]; ok {
			fault(field+".address", "server %s is listed twice: servers[%d] has it already", s.Address, first)
		} else {
			seen[s.Address] = i
		}
		if s.Weight != nil && (*s.Weight < 0 || *s.Weight > MaxWeight) {
			fault(field+".weight", "weight %d is not between 0 and %d", *s.Weight, MaxWeight)
		}
		if s.MaxConnections < 0 {
			fault(field+".max_connections", "%d connections are less than none: 0 means no limit", s.MaxConnections)
		}
	}
	if c.Sticky != nil {
		errs = append(errs, c.Sticky.faults()...)
	}
	if c.Health != nil {
		errs = append(errs, Under("health", c.Health.Validate())...)
		if c.Health.NeedsHTTP2() && c.Protocol != H2 && c.Protocol != H2C {
			fault("health.type", "type %s asks in HTTP/2, which the servers do not speak: give the service protocol: %s or %s", c.Health.Type, H2, H2C)
		}
		if c.Health.Host != "" && !ValidHost(c.Health.Host) {
			fault("health.host", "%q is no host name", c.Health.Host)
		}
	}
	errs = append(errs, c.passiveFaults()...)
	errs = append(errs, c.loadFaults()...)
	if joined, ok := c.Rules.Validate().(interface{ Unwrap() []error }); ok {
		errs = append(errs, joined.Unwrap()...)
	}
	return errors.Join(errs...)
}

// badServerAddress says what is wrong with a server's address; nothing if it is well.
func badServerAddress(address string) string {
	if address == "" {
		return "no address: use host:port"
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		if strings.Contains(address, "://") {
			return fmt.Sprintf("%q is a URL: use host:port", address)
		}
		if _, err := netip.ParseAddr(address); err == nil || !strings.Contains(address, ":") {
			return fmt.Sprintf("%q has no port: use host:port", address)
		}
		return fmt.Sprintf("%q is not host:port", address)
	}
	if host == "" {
		return fmt.Sprintf("%q has no host: use host:port", address)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Sprintf("port %q of %q is not between 1 and 65535", port, address)
	}
	if strings.Contains(host, ":") {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return fmt.Sprintf("%q is no IPv6 address", host)
		}
		return ""
	}
	if !validName(host) {
		return fmt.Sprintf("%q is neither a host name nor an address", host)
	}
	return ""
}

// ValidHost tells whether s may stand in a Host header: a name, an IPv4 address or an IPv6 address in
// brackets, with or without a port (RFC 9110 §7.2).
func ValidHost(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		if n, err := strconv.ParseUint(s[i+1:], 10, 16); err != nil || n == 0 {
			return false
		}
		host = s[:i]
	}
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		a, err := netip.ParseAddr(host[1 : len(host)-1])
		return err == nil && a.Is6() && a.Zone() == ""
	}
	return validName(host)
}

// validName tells whether s is a host name or an IPv4 address. Underscores, which RFC 1123 forbids, are
// common in container networks.
func validName(s string) bool {
	s = strings.TrimSuffix(s, ".")
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			c := label[i]
			if c != '-' && c != '_' && !alphanumeric(c) {
				return false
			}
		}
	}
	// A name of digits and dots is meant as an address: 10.0.0.256 and 10.0.0 are faults, not names.
	if strings.Trim(s, "0123456789.") == "" {
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isToken tells whether s is a token of RFC 9110 §5.6.2.
func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return true
}
