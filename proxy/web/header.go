package web

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// hopByHop are the fields that are about one connection only (RFC 9110 §7.6.1), with those that some
// clients send in spite of the standard.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// dropHopByHop removes the fields that end here, with those that Connection names.
func dropHopByHop(h http.Header) {
	for _, value := range h["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			if token = textproto.TrimString(token); token != "" {
				h.Del(token)
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
}

// upgradeOf returns the protocol that a message wants to change to, empty if none. "h2c" is none: a server
// that took it would carry requests past the routes.
func upgradeOf(h http.Header) string {
	if len(h["Upgrade"]) == 0 || !hasToken(h["Connection"], "upgrade") {
		return ""
	}
	u := h["Upgrade"][0]
	if len(h["Upgrade"]) > 1 || hasToken(h["Upgrade"], "h2c") {
		return ""
	}
	return u
}

// hasToken tells whether a list of tokens holds one, in whatever case.
func hasToken(values []string, token string) bool {
	for _, value := range values {
		for t := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}

// isOurs tells whether a field is about the client's end of the way, which only we tell a server: every
// X-Forwarded-…, for frameworks heed more of them than anybody lists (Ssl, Prefix, User), and those like them.
// Servers that hand fields on as CGI variables cannot tell X_Forwarded_For from the real one (RFC 3875 §4.1.18),
// so that an underscore is as good as a hyphen.
func isOurs(name string) bool {
	if name == "" {
		return false
	}
	switch name[0] | 0x20 {
	case 'x':
		return folded(name, "x-forwarded-", true) || folded(name, "x-real-ip", false) || folded(name, "x-request-id", false)
	case 'f':
		return folded(name, "forwarded", false)
	}
	return false
}

// folded tells whether a name is the same as lower, or begins with it, in whatever case.
func folded(name, lower string, prefix bool) bool {
	if len(name) < len(lower) || len(name) > len(lower) && !prefix {
		return false
	}
	for i := range len(lower) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		} else if c == '_' {
			c = '-'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// notTrailing are fields that a server may heed wherever it finds them, and that must not come after the
// body (RFC 9110 §6.5.1): framing, routing, authentication and what says how to read the content.
var notTrailing = [...]string{
	"Authorization", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Cookie", "Expect", "Host",
	"Max-Forwards",
}

// mayTrail tells whether a client's trailer is passed on.
func mayTrail(name string) bool {
	return !isOurs(name) && !slices.Contains(hopByHop[:], name) && !slices.Contains(notTrailing[:], name)
}

// prepare turns the client's header into what the server gets. The client's own is changed: nobody else
// reads it, and a copy would cost an allocation for each field.
func (x *exchange) prepare() {
	h := x.r.Header
	upgrade := ""
	if x.r.ProtoMajor == 1 && x.r.ProtoMinor >= 1 { // HTTP/1.0 has no Upgrade (RFC 9110 §7.8)
		upgrade = upgradeOf(h)
	}
	trailers := hasToken(h["Te"], "trailers")
	dropHopByHop(h)
	if upgrade != "" {
		h["Connection"], h["Upgrade"] = []string{"Upgrade"}, []string{upgrade}
	}
	if trailers {
		h["Te"] = []string{"trailers"}
	}
	for name := range h {
		if isOurs(name) {
			delete(h, name)
		}
	}
	proto := "http"
	if x.r.TLS != nil {
		proto = "https"
	}
	v := &x.own
	v[0], v[1], v[2], v[3], v[4] = x.client, x.r.Host, proto, x.listener.Port, x.id
	h["X-Forwarded-For"] = v[0:1:1]
	if x.r.Host != "" {
		h["X-Forwarded-Host"] = v[1:2:2]
	}
	h["X-Forwarded-Proto"] = v[2:3:3]
	h["X-Forwarded-Port"] = v[3:4:4]
	h["X-Request-Id"] = v[4:5:5]
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = nil // or the transport invents one
	}
}
