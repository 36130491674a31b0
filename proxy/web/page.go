package web

import (
	"net/http"
	"strings"

	"tripod/proxy/web/message"
	"tripod/proxy/web/rule"
)

// page answers with a short text of our own. It tells nothing about what is behind us.
func (x *exchange) page(status int, text string) {
	b := append(x.line[:0], byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, ": "...)
	b = append(b, text...)
	b = append(b, "\nrequest id: "...)
	b = append(b, x.id...)
	b = append(b, '\n')
	x.line = b
	x.text(status, b)
}

// refuse answers a request that breaks the rules, and ends the connection: what its sender takes for the next
// request may be something else to us.
func (x *exchange) refuse(status int, text string) {
	x.client.last()
	x.page(status, text)
}

// text answers with content of our own, or with what the rules have in its place, and with the fields that x.fields has already.
func (x *exchange) text(status int, text []byte) {
	kind := "text/plain; charset=utf-8"
	if p := x.rules.ErrorPage(status); p != nil {
		kind, text = p.ContentType, append(x.line[:0], p.Body...)
		x.line = text
	}
	fields := append(x.fields,
		message.Field{Name: "Content-Type", Value: kind, Kind: message.ContentType},
		message.Field{Name: "X-Content-Type-Options", Value: "nosniff"},
		message.Field{Name: "Cache-Control", Value: "no-store", Kind: message.CacheControl})
	if node := x.engine.opts.Node; node != "" {
		fields = append(fields, message.Field{Name: "X-Tripod-Node", Value: node})
	}
	switch status {
	case 405:
		fields = append(fields, message.Field{Name: "Allow", Value: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"})
	case 503:
		fields = append(fields, message.Field{Name: "Retry-After", Value: "2"})
	}
	x.reply(status, fields, text)
}

// answerFixed answers with what the route says.
func (x *exchange) answerFixed(a *rule.Answer) {
	fields := x.fields[:0]
	if a.ContentType != "" {
		fields = append(fields, message.Field{Name: "Content-Type", Value: a.ContentType, Kind: message.ContentType})
	}
	x.line = append(x.line[:0], a.Body...)
	x.reply(a.Status, fields, x.line)
}

// reply writes a whole answer.
func (x *exchange) reply(status int, fields []message.Field, text []byte) {
	x.fields = x.ownFields(fields)
	if x.front.leaving.Load() || x.send.unfinished() || x.send.content == noContent && x.req.Length != 0 {
		x.client.last() // the rest of the request is not waited for
	}
	x.status = status
	content := message.HasContent(x.req.Method, status)
	err := x.client.respond(status, x.fields, int64(len(text)), content)
	if err == nil && content {
		x.bytes = int64(len(text))
		err = x.client.write(text)
	}
	if err == nil {
		err = x.client.finish(nil)
	}
	if err != nil {
		x.status, x.abort = statusClientGone, true
	}
}

// redirectHTTPS leads to the same place on the https listener.
func (x *exchange) redirectHTTPS() {
	host, ok := bareHost(x.req.Host)
	if !ok {
		x.page(400, "the Host is not valid")
		return
	}
	x.redirect(308, "https://"+host+x.table.httpsPort+x.req.Target)
}

// redirect sends the client elsewhere (RFC 9110 §15.4).
func (x *exchange) redirect(status int, to string) {
	to = ascii(to)
	x.fields = append(x.fields[:0], message.Field{Name: "Location", Value: to, Kind: message.Location})
	x.text(status, []byte(http.StatusText(status)+": "+to+"\n"))
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
