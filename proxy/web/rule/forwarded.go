package rule

import "net/netip"

// Forwarded says which fields tell a server about the client.
type Forwarded uint8

const (
	// XForwarded is X-Forwarded-For and those like it. It is the default.
	XForwarded Forwarded = iota
	// Standard is the Forwarded field (RFC 7239).
	Standard
	// Both are both.
	Both
)

func forwardedOf(word string) (Forwarded, bool) {
	switch word {
	case "", "x_forwarded":
		return XForwarded, true
	case "forwarded":
		return Standard, true
	case "both":
		return Both, true
	}
	return XForwarded, false
}

// HasX tells whether X-Forwarded-… is sent.
func (f Forwarded) HasX() bool { return f != Standard }

// HasStandard tells whether Forwarded is sent.
func (f Forwarded) HasStandard() bool { return f != XForwarded }

// AppendForwarded appends the value of a Forwarded field with one element (RFC 7239 §4). The by is how the server knows this node, which
// may be an obfuscated name such as _node1 (§6.3); what is empty, or not valid, is left out.
func AppendForwarded(dst []byte, client netip.Addr, host, proto, by string) []byte {
	start := len(dst)
	pair := func(name string) {
		if len(dst) > start {
			dst = append(dst, ';')
		}
		dst = append(dst, name...)
		dst = append(dst, '=')
	}
	if by != "" {
		pair("by")
		dst = appendQuoted(dst, by)
	}
	pair("for")
	switch client = client.Unmap().WithZone(""); {
	case !client.IsValid():
		dst = append(dst, "unknown"...)
	case client.Is6():
		dst = append(dst, `"[`...)
		dst = client.AppendTo(dst)
		dst = append(dst, `]"`...)
	default:
		dst = client.AppendTo(dst)
	}
	if host != "" {
		pair("host")
		dst = appendQuoted(dst, host)
	}
	if proto != "" {
		pair("proto")
		dst = appendQuoted(dst, proto)
	}
	return dst
}

// appendQuoted appends a value as a token, or as a quoted string if it is none (RFC 9110 §5.6.4).
func appendQuoted(dst []byte, s string) []byte {
	if isToken(s) {
		return append(dst, s...)
	}
	return appendString(dst, s)
}

// appendString appends a quoted string.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ' && c != '\t' || c == 0x7f:
			dst = append(dst, '_')
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
