package h1

import (
	"strings"

	"tripod/proxy/web/message"
)

// section is what a parser of field lines has found out on its way, besides the fields.
type section struct {
	fields   []message.Field
	lines    int // with those that make no field
	hosts    int
	host     string
	length   int64 // of Content-Length; -1 if there is none
	chunked  bool
	expects  int
	expect   string
	upgrades int
	upgrade  string
	te       bool // TE: trailers
	conn     bool // there is a Connection field
	close    bool
	keep     bool
	switches bool // Connection: upgrade
	named    []string
}

// parse reads field lines up to the empty line that ends the section, beginning at buf[at]. It returns where it ends.
func (s *section) parse(buf []byte, at int) (int, error) {
	for {
		if at >= len(buf) {
			return 0, ErrIncomplete
		}
		if c := buf[at]; c == '\r' {
			if at+1 >= len(buf) {
				return 0, ErrIncomplete
			}
			if buf[at+1] != '\n' {
				return 0, bad("a carriage return that is not followed by a line feed", "RFC 9112 §2.2")
			}
			return at + 2, nil
		}
		if s.lines++; s.lines > MostFields {
			return 0, &Error{431, "more fields than are taken", "RFC 6585 §5"}
		}
		next, err := s.line(buf, at)
		if err != nil {
			return 0, err
		}
		at = next
	}
}

// line reads one field line at buf[at] and returns where the next one begins.
func (s *section) line(buf []byte, at int) (int, error) {
	i := at
	for i < len(buf) && classes[buf[i]]&tokenByte != 0 {
		i++
	}
	if i >= len(buf) {
		return 0, ErrIncomplete
	}
	if buf[i] != ':' || i == at {
		return 0, badName(buf[at:], i-at)
	}
	name := text(buf[at:i])
	i++
	for i < len(buf) && (buf[i] == ' ' || buf[i] == '\t') {
		i++
	}
	from := i
	for i < len(buf) && classes[buf[i]]&valueByte != 0 {
		i++
	}
	if i+1 >= len(buf) {
		if i < len(buf) && buf[i] != '\r' {
			return 0, badValue(buf[i])
		}
		return 0, ErrIncomplete
	}
	if buf[i] != '\r' || buf[i+1] != '\n' {
		return 0, badValue(buf[i])
	}
	end := i
	for end > from && (buf[end-1] == ' ' || buf[end-1] == '\t') {
		end--
	}
	return i + 2, s.add(name, text(buf[from:end]))
}

func badName(line []byte, n int) error {
	switch c := line[n]; {
	case n == 0 && (c == ' ' || c == '\t'):
		return bad("a field line that is folded, or begins with white space", "RFC 9112 §5.2")
	case n == 0 && c == ':':
		return bad("a field without a name", "RFC 9112 §5")
	case c == ' ' || c == '\t':
		return bad("white space between a field's name and its colon", "RFC 9112 §5.1")
	case c == '\r' || c == '\n':
		return bad("a field line without a colon", "RFC 9112 §5")
	}
	return bad("a character that no field name has", "RFC 9110 §5.1")
}

func badValue(c byte) error {
	switch c {
	case '\n':
		return bad("a line feed without a carriage return", "RFC 9112 §2.2")
	case '\r':
		return bad("a carriage return that is not followed by a line feed", "RFC 9112 §2.2")
	}
	return bad("a control character in a field's value", "RFC 9110 §5.5")
}

// add takes in a field.
func (s *section) add(name, value string) error {
	kind := message.KindOf(name)
	switch kind {
	case message.Host:
		s.hosts++
		s.host = value
		return nil
	case message.ContentLength:
		if s.length >= 0 {
			return bad("more than one Content-Length", "RFC 9112 §6.3")
		}
		n, ok := parseLength(value)
		if !ok {
			return bad("a Content-Length that is no number of bytes", "RFC 9112 §6.3")
		}
		s.length = n
		return nil
	case message.TransferEncoding:
		if s.chunked {
			return bad("more than one Transfer-Encoding", "RFC 9112 §6.1")
		}
		if !message.EqualFold(value, "chunked") {
			return bad("a Transfer-Encoding other than chunked", "RFC 9112 §6.1")
		}
		s.chunked = true
		return nil
	case message.Connection:
		s.conn = true
		if !s.connection(value) {
			return &Error{431, "more tokens in Connection than are taken", "RFC 6585 §5"}
		}
	case message.Trailer:
		if !s.trailing(value) {
			return bad("a Trailer that announces framing", "RFC 9110 §6.5.1")
		}
	case message.Upgrade:
		s.upgrades++
		s.upgrade = value
	case message.TE:
		s.te = s.te || message.HasToken(value, "trailers")
	case message.Expect:
		s.expects++
		s.expect = value
		return nil
	case message.Other:
		if Disguised(name) {
			return bad("a name that is Content-Length or Transfer-Encoding to programs that cannot tell underscores from hyphens", "RFC 3875 §4.1.18")
		}
	}
	s.fields = append(s.fields, message.Field{Name: name, Value: value, Kind: kind})
	return nil
}

// Disguised tells whether a name frames the message for programs that get fields as CGI variables.
func Disguised(name string) bool {
	switch len(name) {
	case len("content_length"):
		return message.EqualFold(name, "content_length")
	case len("transfer_encoding"):
		return message.EqualFold(name, "transfer_encoding")
	}
	return false
}

// connection takes in the tokens of Connection; false if there are too many, since a field whose name were not looked at would be
// passed on.
func (s *section) connection(list string) bool {
	for token, rest, ok := message.NextToken(list); ok; token, rest, ok = message.NextToken(rest) {
		switch {
		case message.EqualFold(token, "close"):
			s.close = true
		case message.EqualFold(token, "keep-alive"):
			s.keep = true
		case message.EqualFold(token, "upgrade"):
			s.switches = true
		default:
			if message.KindOf(token).HopByHop() {
				continue
			}
			if len(s.named) >= MostFields {
				return false
			}
			s.named = append(s.named, token)
		}
	}
	return true
}

// trailing tells whether none of the fields that Trailer announces says where the message ends, as none that comes so late can.
func (s *section) trailing(list string) bool {
	for token, rest, ok := message.NextToken(list); ok; token, rest, ok = message.NextToken(rest) {
		switch message.KindOf(token) {
		case message.ContentLength, message.TransferEncoding, message.Trailer:
			return false
		}
	}
	return true
}

// protocol is what the message wants to change to, or changes to: the one value of Upgrade, if Connection says so too (RFC 9110 §7.8).
// HTTP itself is none, in whatever version and be it under TLS (RFC 2817 §3): a server that took it would carry requests past the routes.
func (s *section) protocol() string {
	if !s.switches || s.upgrades != 1 {
		return ""
	}
	for token, rest, ok := message.NextToken(s.upgrade); ok; token, rest, ok = message.NextToken(rest) {
		name, _, _ := strings.Cut(token, "/")
		for _, http := range [...]string{"h2c", "h2", "h3", "http", "tls"} {
			if message.EqualFold(name, http) {
				return ""
			}
		}
	}
	return s.upgrade
}

// persists tells whether the connection goes on after the message (RFC 9112 §9.3).
func (s *section) persists(minor uint8) bool { return !s.close && (minor >= 1 || s.keep) }

// parseLength reads a Content-Length: digits alone.
func parseLength(value string) (int64, bool) {
	const digits = 18 // fewer than 2^63 in any case
	if value == "" || len(value) > digits || !is(value, digitByte) {
		return 0, false
	}
	var n int64
	for i := range len(value) {
		n = n*10 + int64(value[i]-'0')
	}
	return n, true
}
