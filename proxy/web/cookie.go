package web

import (
	"strings"

	"tripod/proxy/web/message"
)

// cookieValue finds a cookie in a Cookie field (RFC 6265 §4.2.1).
func cookieValue(field, name string) (string, bool) {
	for field != "" {
		var pair string
		pair, field, _ = strings.Cut(field, ";")
		if n, value, ok := strings.Cut(message.TrimOWS(pair), "="); ok && n == name {
			if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
				value = value[1 : len(value)-1]
			}
			return value, true
		}
	}
	return "", false
}
