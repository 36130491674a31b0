package web

import (
	"errors"
	"strconv"
	"time"

	"tripod/proxy/web/message"
	"tripod/proxy/web/rule"
)

// admit applies the rules that decide whether a request is let in. It answers those that are not.
func (x *exchange) admit() bool {
	if x.rules == nil {
		return true
	}
	if !x.rules.Admit(x.origin) {
		x.page(403, "this client is not let in")
		return false
	}
	if !x.withinRates() {
		return false
	}
	switch err := x.rules.Authenticate(authorization(x.req.Fields)); {
	case errors.Is(err, rule.ErrBusy):
		x.page(503, "too many passwords are being checked")
		return false
	case err != nil:
		x.fields = append(x.fields[:0], message.Field{Name: "WWW-Authenticate", Value: x.rules.Challenge()})
		x.page(401, "a user name and a password are needed")
		return false
	}
	if x.rules.Challenge() != "" {
		x.now = time.Now() // checking a password takes long by intent, and that is not the server's time
	}
	if most := x.rules.MaxBody(); most > 0 {
		if x.req.Length > most {
			x.refuse(413, "the request's content is too large")
			return false
		}
		x.send.most = most
	}
	return true
}

// withinRates counts the request, and answers it if there are too many. One that follows the document has been counted before.
func (x *exchange) withinRates() bool {
	if x.moves > 0 {
		return true
	}
	wait, ok := x.rules.Take(x.origin, x.req.Fields, x.now)
	if ok {
		return true
	}
	seconds := int((wait + time.Second - 1) / time.Second)
	x.fields = append(x.fields[:0], message.Field{Name: "Retry-After", Value: strconv.Itoa(seconds)})
	x.page(429, "there are more requests than are let through")
	return false
}

// authorization is the value of the one Authorization field. Several are as good as none: the server may heed another than we do.
func authorization(fields []message.Field) string {
	value, n := "", 0
	for i := range fields {
		if fields[i].Kind == message.Authorization {
			value = fields[i].Value
			n++
		}
	}
	if n > 1 {
		return ""
	}
	return value
}
