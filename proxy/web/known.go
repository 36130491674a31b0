package web

import (
	"strings"

	"tripod/proxy/upstream"
	"tripod/proxy/web/message"
)

// know says what the request is known by, for choosing a server.
func (x *exchange) know() {
	x.choice.Reset()
	service := x.route.service
	x.renew = false
	if sticky := service.Sticky(); sticky != nil {
		x.choice.Cookie, x.renew = sticky.Read(x.cookie(sticky.Name()), x.start)
	}
	switch on, byIP := service.HashOn(); {
	case byIP:
		x.choice.Hash = upstream.HashOf(x.address)
	case on != upstream.HashConfig{}:
		value := x.knownBy(on)
		if value == "" { // what has none is spread over all
			value = x.id
		}
		x.choice.Hash = upstream.HashOf(value)
	}
}

// knownBy is the value that the request has of what the service hashes; empty if it has none.
func (x *exchange) knownBy(on upstream.HashConfig) string {
	switch {
	case on.Header != "":
		for _, f := range x.req.Fields {
			if message.EqualFold(f.Name, on.Header) {
				return f.Value
			}
		}
	case on.Cookie != "":
		return x.cookie(on.Cookie)
	case on.Query != "":
		_, query := splitTarget(x.req.Target)
		for pair := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
			if name, value, _ := strings.Cut(pair, "="); name == on.Query {
				return value
			}
		}
	case on.Path:
		path, _ := splitTarget(x.req.Target)
		return path
	}
	return ""
}

// cookie is the value of a cookie that the client sent; empty if it sent none of that name.
func (x *exchange) cookie(name string) string {
	for _, f := range x.req.Fields {
		if f.Kind == message.Cookie {
			if value, ok := cookieValue(f.Value, name); ok {
				return value
			}
		}
	}
	return ""
}
