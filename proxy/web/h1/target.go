package h1

import (
	"net/netip"
	"strings"

	"tripod/proxy/web/message"
)

// splitTarget takes the target apart by its form (RFC 9112 §3.2).
func splitTarget(r *message.Request, target string, hasHost bool) error {
	switch {
	case target[0] == '/':
		r.Target = target
		return checkPath(target)
	case r.Method == "CONNECT":
		if !ValidAuthority(target) || target == "" {
			return bad("a CONNECT whose target is no host with a port", "RFC 9112 §3.2.3")
		}
		r.Host, r.Target = target, "" // whatever Host says: nobody is connected here
		return nil
	case target == "*":
		if r.Method != "OPTIONS" {
			return bad("the target * with a method other than OPTIONS", "RFC 9112 §3.2.4")
		}
		r.Target = target
		return nil
	}
	return splitAbsolute(r, target, hasHost)
}

// splitAbsolute takes an absolute form apart. Its authority counts, and Host has to say the same (RFC 9112 §3.2.2): a program that heeds the other of
// two different ones would route the request elsewhere.
func splitAbsolute(r *message.Request, target string, hasHost bool) error {
	colon := strings.Index(target, "://")
	if colon <= 0 {
		return bad("a request target of no known form", "RFC 9112 §3.2")
	}
	switch scheme := target[:colon]; {
	case message.EqualFold(scheme, "http"):
		r.Scheme = "http"
	case message.EqualFold(scheme, "https"):
		r.Scheme = "https"
	default:
		return bad("a request target with a scheme other than http and https", "RFC 9110 §4.2")
	}
	rest := target[colon+len("://"):]
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	if authority == "" || !ValidAuthority(authority) {
		return bad("a request target whose authority is no host with an optional port", "RFC 9110 §4.2.1")
	}
	if hasHost && !sameAuthority(authority, r.Host, r.Scheme) {
		return bad("a Host that is not the target's", "RFC 9112 §3.2.2")
	}
	r.Host = authority
	switch origin := rest[end:]; {
	case origin == "":
		r.Target = "/"
	case origin[0] == '?':
		r.Target = "/" + origin
	default:
		r.Target = origin
	}
	return checkPath(r.Target)
}

// checkPath looks at the path of an origin form. The parser has looked at each byte; in a path there are some more that servers
// do not read alike: a backslash is a slash to some, a percent sign without two digits is taken in three ways, and %00
// ends the path for those written in C. A query is its server's own matter.
func checkPath(target string) error {
	for i := 0; i < len(target); i++ {
		switch target[i] {
		case '?':
			return nil
		case '%':
			if i+2 >= len(target) || classes[target[i+1]]&classes[target[i+2]]&hexByte == 0 {
				return bad("a percent sign in the path without two hexadecimal digits", "RFC 3986 §2.1")
			}
			if target[i+1] == '0' && target[i+2] == '0' {
				return bad("%00 in the path", "RFC 3986 §7.3")
			}
		case '\\', '"', '<', '>':
			return bad("a character in the path that has to be percent-encoded", "RFC 3986 §3.3")
		}
	}
	return nil
}

// ValidAuthority tells whether a text is a host with an optional port, as a Host field has it (RFC 9110 §7.2): a name or an IPv4 address, or an IPv6
// address in brackets; no userinfo, nothing percent-encoded, since resolvers and routes know no such names.
func ValidAuthority(s string) bool {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		host, port = s[1:end], s[end+1:]
		if !validIPv6(host) {
			return false
		}
	} else {
		if i := strings.IndexByte(s, ':'); i >= 0 {
			host, port = s[:i], s[i:]
		}
		if host == "" || len(host) > 255 || !is(host, hostByte) {
			return false
		}
	}
	if port == "" {
		return true
	}
	return port[0] == ':' && len(port) <= len(":65535") && is(port[1:], digitByte)
}

// validIPv6 tells whether a text is an IPv6 address. A zone means something to its own host only.
func validIPv6(s string) bool {
	if strings.IndexByte(s, '%') >= 0 {
		return false
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6()
}

// sameAuthority compares two valid authorities, by the scheme's default port (RFC 9110 §4.2.3).
func sameAuthority(a, b, scheme string) bool {
	return strings.EqualFold(trimPort(a, scheme), trimPort(b, scheme))
}

func trimPort(s, scheme string) string {
	s = strings.TrimSuffix(s, ":")
	switch scheme {
	case "http":
		return strings.TrimSuffix(s, ":80")
	case "https":
		return strings.TrimSuffix(s, ":443")
	}
	return s
}
