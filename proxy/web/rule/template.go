package rule

import (
	"fmt"
	"strings"
	"unsafe"
)

// Vars are what placeholders stand for in one exchange. An engine keeps one with its connection and uses it again.
type Vars struct {
	Client   string // the client's address, without a port
	Host     string // the request's host as the client sent it
	Path     string // the request's path as the client sent it, without the query
	ID       string // the request's id
	Listener string // the listener's name

	// Scratch holds the values that are put together. They are good until the engine cuts it to nothing for the next exchange:
	// v.Scratch = v.Scratch[:0].
	Scratch []byte
}

// placeholder is a part of a value that is not there before the request is.
type placeholder uint8

const (
	literal placeholder = iota
	client
	host
	path
	id
	listener
)

func placeholderOf(name string) (placeholder, bool) {
	switch name {
	case "client":
		return client, true
	case "host":
		return host, true
	case "path":
		return path, true
	case "id":
		return id, true
	case "listener":
		return listener, true
	}
	return literal, false
}

func (v *Vars) of(p placeholder) string {
	switch p {
	case client:
		return v.Client
	case host:
		return v.Host
	case path:
		return v.Path
	case id:
		return v.ID
	case listener:
		return v.Listener
	}
	return ""
}

// part is literal text, or a placeholder.
type part struct {
	text string
	what placeholder
}

// template is the value of a field.
type template []part

// parseTemplate reads a value with placeholders, or says what is wrong with it.
func parseTemplate(s string) (t template, fault string) {
	var text strings.Builder
	flush := func() {
		if text.Len() > 0 {
			t = append(t, part{text: text.String()})
			text.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '{' && strings.HasPrefix(s[i:], "{{"), c == '}' && strings.HasPrefix(s[i:], "}}"):
			text.WriteByte(c)
			i++
		case c == '{':
			name, _, closed := strings.Cut(s[i+1:], "}")
			if !closed {
				return nil, "a { is never closed; write {{ for a brace"
			}
			p, ok := placeholderOf(name)
			if !ok {
				return nil, fmt.Sprintf("unknown placeholder {%s}: there are {client}, {host}, {path}, {id} and {listener}; write {{ for a brace", shorten(name))
			}
			flush()
			t = append(t, part{what: p})
			i += len(name) + 1
		default:
			text.WriteByte(c)
		}
	}
	flush()
	return t, ""
}

// badHost says what is wrong with a value of Host (RFC 9110 §7.2).
func (t template) badHost() string {
	for _, p := range t {
		switch p.what {
		case host, listener:
		case literal:
			for i := range len(p.text) {
				if c := p.text[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte(".-_:[]", c) >= 0) {
					return "is no host name: give a name or an address, with or without a port"
				}
			}
		default:
			return "a host may be put together with {host} and {listener} only"
		}
	}
	return ""
}

// expand is the value for one exchange. It shares memory with v.
func (t template) expand(v *Vars) string {
	if len(t) == 1 {
		if t[0].what == literal {
			return t[0].text
		}
		if s := v.of(t[0].what); fits(s) {
			return s
		}
	}
	start := len(v.Scratch)
	for _, p := range t {
		if p.what == literal {
			v.Scratch = append(v.Scratch, p.text...)
			continue
		}
		v.Scratch = appendFitting(v.Scratch, v.of(p.what))
	}
	return stringOf(v.Scratch[start:])
}

// fits tells whether what a client sent may stand in a field: nothing that ends a line (RFC 9110 §5.5).
func fits(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

// appendFitting replaces what may not stand in a field. An engine lets no such thing through; this is the second line.
func appendFitting(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c == 0x7f {
			c = '_'
		}
		dst = append(dst, c)
	}
	return dst
}

// stringOf is a string on the memory of b, which nobody writes to again before the string is done with.
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
