package web

import (
	"net/netip"
	"strings"

	"tripod/proxy/upstream"
)

// normalHost turns the authority of a request into the form that routes are looked up by: lower case, no
// port, no brackets, no trailing dot. It allocates only if there are capitals.
func normalHost(s string) string {
	if strings.HasPrefix(s, "[") {
		if i := strings.IndexByte(s, ']'); i >= 0 {
			s = s[1:i]
			if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
				return a.String()
			}
			return strings.ToLower(s)
		}
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && strings.IndexByte(s, ':') == i {
		s = s[:i]
	}
	return strings.ToLower(strings.TrimSuffix(s, "."))
}

// bareHost returns the authority without its port, fit for a URL; false if it is not a valid one, which
// must never end up in a redirect.
func bareHost(s string) (string, bool) {
	if !upstream.ValidHost(s) {
		return "", false
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		s = s[:i]
	}
	return s, true
}
