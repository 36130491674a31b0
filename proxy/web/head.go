package web

import (
	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

// appendHead makes the head of the request to the server, up to its framing, from what was parsed: no bytes of the client's are copied
// but those of single names and values.
func (x *exchange) appendHead() {
	x.send.fields = x.appendFields(x.send.fields[:0])
	method := x.req.Method
	if method == "CONNECT" { // of HTTP/2, which asks for another protocol so (RFC 8441 §4)
		method = "GET"
	}
	b := append(x.send.wire[:0], method...)
	b = append(b, ' ')
	b = append(b, x.req.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, x.req.Host...)
	b = append(b, "\r\n"...)
	for i := range x.send.fields {
		b = h1.AppendField(b, x.send.fields[i].Name, x.send.fields[i].Value)
	}
	if x.req.Trailers {
		b = append(b, "TE: trailers\r\nConnection: TE"...)
		if x.req.Upgrade != "" {
			b = append(b, ", Upgrade"...)
		}
		b = append(b, "\r\n"...)
	} else if x.req.Upgrade != "" {
		b = append(b, "Connection: Upgrade\r\n"...)
	}
	if x.req.Upgrade != "" {
		b = x.appendKey(h1.AppendField(b, "Upgrade", x.req.Upgrade))
	}
	x.send.wire = b
}

// appendFields makes the fields that the server gets, but for those about the connection.
func (x *exchange) appendFields(fields []message.Field) []message.Field {
	r := x.req
	for _, f := range r.Fields {
		if f.Kind != message.Provenance && !r.EndsHere(f) {
			fields = append(fields, f)
		}
	}
	proto := "http"
	if x.secure {
		proto = "https"
	}
	fields = append(fields, message.Field{Name: "X-Forwarded-For", Value: x.address})
	if r.Host != "" {
		fields = append(fields, message.Field{Name: "X-Forwarded-Host", Value: r.Host})
	}
	return append(fields,
		message.Field{Name: "X-Forwarded-Proto", Value: proto},
		message.Field{Name: "X-Forwarded-Port", Value: x.listener.Port},
		message.Field{Name: "X-Request-Id", Value: x.id})
}
