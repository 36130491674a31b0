package web

import (
	"unsafe"

	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
	"tripod/proxy/web/rule"
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
	b = append(b, x.sendTarget()...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, x.sendHost()...)
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

// sendTarget is the target that the server sees.
func (x *exchange) sendTarget() string {
	if !x.rules.ChangesTarget() {
		return x.req.Target
	}
	x.target = x.rules.Target(x.target[:0], x.req.Target)
	return unsafe.String(unsafe.SliceData(x.target), len(x.target))
}

// sendHost is the host that the server sees.
func (x *exchange) sendHost() string {
	if host, ok := x.rules.Host(&x.vars); ok {
		return host
	}
	return x.req.Host
}

// appendFields makes the fields that the server gets, but for those about the connection.
func (x *exchange) appendFields(fields []message.Field) []message.Field {
	r := x.req
	for _, f := range r.Fields {
		if f.Kind != message.Provenance && !r.EndsHere(f) && !x.ourOwn(f) {
			fields = append(fields, f)
		}
	}
	if x.rules != nil {
		fields = x.rules.EditRequest(fields, &x.vars)
	}
	if x.rules.Forwarded().HasStandard() {
		start := len(x.vars.Scratch)
		x.vars.Scratch = rule.AppendForwarded(x.vars.Scratch, x.origin, r.Host, x.proto, "")
		value := x.vars.Scratch[start:]
		fields = append(fields, message.Field{Name: "Forwarded", Value: unsafe.String(unsafe.SliceData(value), len(value))})
	}
	if x.rules.Forwarded().HasX() {
		fields = x.appendForwarded(fields)
	}
	return append(fields, message.Field{Name: "X-Request-Id", Value: x.id})
}

// ourOwn tells whether a field is one that we write ourselves, where it is needed. HTTP/1 keeps the first two apart, HTTP/2 does not.
func (x *exchange) ourOwn(f message.Field) bool {
	switch f.Kind {
	case message.ContentLength, message.Expect:
		return true
	case message.Other:
		return x.req.Major == 2 && (h1.Disguised(f.Name) || x.connects() && message.EqualFold(f.Name, "sec-websocket-key"))
	}
	return false
}

// appendForwarded tells the server about the client in the fields that everybody knows. What trusted proxies stood in between is told by
// the address of the last of them.
func (x *exchange) appendForwarded(fields []message.Field) []message.Field {
	client := x.address
	if x.origin != x.remote {
		client += ", " + x.peer
	}
	fields = append(fields, message.Field{Name: "X-Forwarded-For", Value: client})
	if x.req.Host != "" {
		fields = append(fields, message.Field{Name: "X-Forwarded-Host", Value: x.req.Host})
	}
	if prefix := x.rules.StrippedPrefix(); prefix != "" {
		fields = append(fields, message.Field{Name: "X-Forwarded-Prefix", Value: prefix})
	}
	return append(fields,
		message.Field{Name: "X-Forwarded-Proto", Value: x.proto},
		message.Field{Name: "X-Forwarded-Port", Value: x.listener.Port})
}
