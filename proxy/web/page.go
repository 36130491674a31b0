package web

import (
	"io"
	"net/http"
	"strings"
	"time"
)

// page answers with a short text of our own. It tells nothing about what is behind us.
func (x *exchange) page(status int, text string) {
	var b strings.Builder
	b.WriteString(statusLine(status))
	b.WriteString(": ")
	b.WriteString(text)
	b.WriteString("\nrequest id: ")
	b.WriteString(x.id)
	b.WriteByte('\n')
	x.text(status, b.String())
}

// refuse answers a request that breaks the rules, and ends the connection: what its sender takes for the next
// request may be something else to us.
func (x *exchange) refuse(status int, text string) {
	if x.r.TLS == nil || x.r.TLS.NegotiatedProtocol != "h2" {
		x.w.Header()["Connection"] = []string{"close"}
	}
	x.page(status, text)
}

// text writes a whole answer of our own.
func (x *exchange) text(status int, text string) {
	x.lastWord()
	h := x.w.Header()
	h["Content-Type"] = []string{"text/plain; charset=utf-8"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Request-Id"] = []string{x.id}
	if node := x.front.engine.opts.Node; node != "" {
		h["X-Tripod-Node"] = []string{node}
	}
	if status == http.StatusMethodNotAllowed {
		h["Allow"] = []string{"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	}
	if x.front.leaving.Load() {
		h["Connection"] = []string{"close"}
	}
	if x.r.ProtoMajor == 1 && x.r.ContentLength != 0 {
		// The rest of the request is not waited for without end.
		if x.body.in == nil {
			http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(linger))
		} else if x.body.unfinished() {
			h["Connection"] = []string{"close"}
		}
	}
	x.status = status
	x.w.WriteHeader(status)
	if x.r.Method != http.MethodHead {
		n, _ := io.WriteString(x.w, text)
		x.bytes = int64(n)
	}
}

// redirectHTTPS leads to the same place on the https listener.
func (x *exchange) redirectHTTPS() {
	host, ok := bareHost(x.r.Host)
	if !ok {
		x.page(http.StatusBadRequest, "the Host is not valid")
		return
	}
	x.redirect("https://" + host + x.table.httpsPort + x.uri)
}

// redirect sends the client elsewhere, for good and with the same method (RFC 9110 §15.4.9).
func (x *exchange) redirect(to string) {
	to = ascii(to)
	x.w.Header()["Location"] = []string{to}
	x.text(http.StatusPermanentRedirect, "Permanent Redirect: "+to+"\n")
}

// ascii percent-encodes the bytes that may not stand in a URI but that clients send (RFC 3986 §2).
func ascii(s string) string {
	const unsafe = "\"<>\\^`{|}"
	bad := func(c byte) bool { return c <= ' ' || c >= 0x7f || strings.IndexByte(unsafe, c) >= 0 }
	i := 0
	for i < len(s) && !bad(s[i]) {
		i++
	}
	if i == len(s) {
		return s
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.WriteString(s[:i])
	for ; i < len(s); i++ {
		if c := s[i]; bad(c) {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func statusLine(status int) string {
	var digits [4]byte
	digits[0], digits[1], digits[2], digits[3] = byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' '
	return string(digits[:]) + http.StatusText(status)
}
