package rule

import (
	"net/netip"
	"strings"

	"tripod/proxy/web/message"
)

// maxHops bounds how many proxies are followed.
const maxHops = 64

// ClientAddress finds out who the client is behind trusted proxies, and by which scheme it came to the first of them; the
// scheme is empty if nobody said. Remote is whose connection it is.
//
// Each proxy adds the address of its own client at the end of a list, over all lines of the field. So the list is walked from
// its end: an address counts because a trusted proxy wrote it, and the first one that is no trusted proxy is the client. What a
// client wrote stands before that, and is never looked at. What cannot be read, or hides an address ("unknown", "_hidden"),
// ends the walk at the last proxy that is known.
//
// X-Forwarded-For goes before Forwarded: proxies that know only one of them pass the other on as the client sent it,
// and nearly all of them know the former.
func ClientAddress(remote netip.Addr, fields []message.Field, trusted Networks) (client netip.Addr, scheme string) {
	client = remote.Unmap().WithZone("")
	if !trusted.Contains(client) {
		return client, ""
	}
	x, standard := false, false
	for i := range fields {
		if fields[i].Kind == message.Provenance {
			x = x || message.EqualFold(fields[i].Name, "x-forwarded-for")
			standard = standard || message.EqualFold(fields[i].Name, "forwarded")
		}
	}
	switch {
	case x:
		client, hops := walkX(client, fields, trusted)
		return client, schemeX(fields, hops)
	case standard:
		return walkForwarded(client, fields, trusted)
	}
	return client, schemeX(fields, 1)
}

// walkX follows X-Forwarded-For, and says how many addresses it went.
func walkX(client netip.Addr, fields []message.Field, trusted Networks) (netip.Addr, int) {
	list := backwards{fields: fields, name: "x-forwarded-for", at: len(fields)}
	for hops := 0; hops < maxHops; hops++ {
		element, ok := list.next(false)
		if !ok {
			return client, hops
		}
		a, ok := parseNode(element)
		if !ok {
			return client, hops
		}
		if client = a; !trusted.Contains(a) {
			return client, hops + 1
		}
	}
	return client, maxHops
}

// schemeX is the scheme that the proxy said which spoke with the client, hops from the end. A proxy that replaces the field
// instead of adding to it leaves fewer elements: then the last one counts.
func schemeX(fields []message.Field, hops int) string {
	list := backwards{fields: fields, name: "x-forwarded-proto", at: len(fields)}
	scheme, last := "", ""
	for i := range max(hops, 1) {
		element, ok := list.next(false)
		if !ok {
			return last
		}
		scheme = knownScheme(element)
		if i == 0 {
			last = scheme
		}
	}
	return scheme
}

func knownScheme(s string) string {
	switch {
	case message.EqualFold(s, "https"):
		return "https"
	case message.EqualFold(s, "http"):
		return "http"
	}
	return ""
}

// walkForwarded follows Forwarded (RFC 7239).
func walkForwarded(client netip.Addr, fields []message.Field, trusted Networks) (netip.Addr, string) {
	list := backwards{fields: fields, name: "forwarded", at: len(fields)}
	scheme := ""
	for range maxHops {
		element, ok := list.next(true)
		if !ok {
			break
		}
		node, proto, ok := parseElement(element)
		if !ok {
			break
		}
		a, ok := parseNode(node)
		if !ok {
			break
		}
		client, scheme = a, knownScheme(proto)
		if !trusted.Contains(a) {
			break
		}
	}
	return client, scheme
}

// backwards goes through the elements of a field, over all of its lines, from the last to the first.
type backwards struct {
	fields []message.Field
	name   string
	at     int    // index of the line that rest is of
	rest   string // what is left of it
}

// next is the next element, without white space around it. Empty ones are left out. With quoted, a comma in quotes is none
// (RFC 9110 §5.6.4).
func (b *backwards) next(quoted bool) (string, bool) {
	for {
		for b.rest == "" {
			b.at--
			for b.at >= 0 && !message.EqualFold(b.fields[b.at].Name, b.name) {
				b.at--
			}
			if b.at < 0 {
				return "", false
			}
			b.rest = b.fields[b.at].Value
		}
		var element string
		if i := lastComma(b.rest, quoted); i >= 0 {
			element, b.rest = b.rest[i+1:], b.rest[:i]
		} else {
			element, b.rest = b.rest, ""
		}
		if element = message.TrimOWS(element); element != "" {
			return element, true
		}
	}
}

// lastComma is found from the end, so that a quote which a client left open hides nothing that a proxy added behind it.
func lastComma(s string, quoted bool) int {
	if !quoted {
		return strings.LastIndexByte(s, ',')
	}
	in := false
	for i := len(s) - 1; i >= 0; i-- {
		switch s[i] {
		case ',':
			if !in {
				return i
			}
		case '"':
			escapes := 0
			for i-escapes > 0 && s[i-escapes-1] == '\\' {
				escapes++
			}
			if !in || escapes%2 == 0 {
				in = !in
			}
			i -= escapes
		}
	}
	return -1
}

// parseElement reads the pairs of one element of Forwarded (RFC 7239 §4). The values are without quotes, but for those with
// escapes, which no address and no scheme has.
func parseElement(s string) (node, proto string, ok bool) {
	for s != "" {
		name, rest, found := strings.Cut(s, "=")
		if !found || !isToken(name) {
			return "", "", false
		}
		var value string
		if strings.HasPrefix(rest, `"`) {
			end := 1
			for end < len(rest) && rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			if end >= len(rest) {
				return "", "", false
			}
			value, rest = rest[1:end], rest[end+1:]
		} else {
			end := 0
			for end < len(rest) && tokenChar(rest[end]) {
				end++
			}
			value, rest = rest[:end], rest[end:]
			if value == "" {
				return "", "", false
			}
		}
		switch {
		case message.EqualFold(name, "for"):
			if node != "" {
				return "", "", false
			}
			node = value
		case message.EqualFold(name, "proto"):
			proto = value
		}
		rest = message.TrimOWS(rest) // the standard has no white space here, some proxies do
		if rest != "" && rest[0] != ';' {
			return "", "", false
		}
		s = message.TrimOWS(strings.TrimPrefix(rest, ";"))
	}
	return node, proto, node != ""
}

// parseNode reads an address, with or without a port, an IPv6 address with or without brackets.
func parseNode(s string) (netip.Addr, bool) {
	switch {
	case s == "" || len(s) > len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535"):
		return netip.Addr{}, false
	case s[0] == '[':
		end := strings.IndexByte(s, ']')
		if end < 0 || end+1 < len(s) && !isPort(s[end+1:]) {
			return netip.Addr{}, false
		}
		a, ok := parseAddress(s[1:end])
		return a.Unmap(), ok && a.Is6()
	}
	if i := strings.IndexByte(s, ':'); i >= 0 && i == strings.LastIndexByte(s, ':') {
		if !isPort(s[i:]) {
			return netip.Addr{}, false
		}
		s = s[:i]
	}
	a, ok := parseAddress(s)
	return a.Unmap(), ok
}

// parseAddress takes no zone: it means something on another host only.
func parseAddress(s string) (netip.Addr, bool) {
	for i := range len(s) {
		// What netip would refuse with an error that costs memory.
		if c := s[i]; c != '.' && c != ':' && unhex(c) > 15 {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(s)
	return a, err == nil
}

// isPort tells whether s is a colon and a port, or a name in place of one (RFC 7239 §6).
func isPort(s string) bool {
	if len(s) < 2 || s[0] != ':' {
		return false
	}
	if s[1] == '_' {
		return isToken(s[1:])
	}
	return len(s) <= 6 && isDigits(s[1:])
}
