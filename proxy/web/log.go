package web

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// logAccess writes a line about the exchange: one JSON object, in the form that slog has, and made by hand because it costs each
// request a fraction so. Whoever takes the line must not keep it, and must not wait.
func (x *exchange) logAccess(took time.Duration) {
	path, _ := splitTarget(x.req.Target) // no query: it may hold secrets
	var service, server string
	if x.route != nil && x.route.service != nil {
		service = x.route.service.Name()
	}
	if x.server != nil {
		server = x.server.Address()
	}
	b := append(x.line[:0], `{"time":"`...)
	b = x.now.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"INFO","msg":"request","id":"`...)
	b = append(b, x.id...)
	b = append(b, '"')
	b = appendText(b, "client", x.address)
	b = appendText(b, "method", x.req.Method)
	b = appendText(b, "host", x.req.Host)
	b = appendText(b, "path", path)
	b = appendText(b, "protocol", protocol(x.req.Major, x.req.Minor))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(x.status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, x.bytes, 10)
	b = append(b, `,"duration_ms":`...)
	b = strconv.AppendFloat(b, float64(took.Microseconds())/1000, 'f', -1, 64)
	b = appendMS(b, "queued_ms", x.choice.Waited)
	b = appendMS(b, "connect_ms", x.spent.connect)
	b = appendMS(b, "first_byte_ms", x.spent.head)
	if x.tries > 1 {
		b = append(b, `,"tries":`...)
		b = strconv.AppendInt(b, int64(x.tries), 10)
	}
	if x.fault != nil {
		b = appendText(b, "error", x.fault.Error())
	}
	b = appendText(b, "service", service)
	b = appendText(b, "server", server)
	b = appendText(b, "listener", x.listener.Name)
	b = append(b, "}\n"...)
	x.line = b
	x.engine.opts.AccessLog.Write(b)
}

// appendMS appends a time that was waited, if it was.
func appendMS(b []byte, name string, d time.Duration) []byte {
	if d <= 0 {
		return b
	}
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":`...)
	return strconv.AppendFloat(b, float64(d.Microseconds())/1000, 'f', -1, 64)
}

// protocol is the version as a log has it.
func protocol(major, minor uint8) string {
	switch {
	case major == 2:
		return "HTTP/2.0"
	case minor == 0:
		return "HTTP/1.0"
	}
	return "HTTP/1.1"
}

// appendText appends a member with a text that strangers chose (RFC 8259 §7).
func appendText(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, `":"`...)
	for i := 0; i < len(value); {
		c := value[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' && c != 0x7f {
			b = append(b, c)
			i++
			continue
		}
		if c < utf8.RuneSelf {
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(value[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, `\ufffd`...)
		} else {
			b = append(b, value[i:i+size]...)
		}
		i += size
	}
	return append(b, '"')
}
