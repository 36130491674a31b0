package h1

import "tripod/proxy/web/message"

// ParseRequest reads the head of a request at the beginning of buf into r, and returns its length in bytes. One empty line before it is
// skipped (RFC 9112 §2.2). The error is ErrIncomplete, or an *Error; r is of use only without one, except that Method and Target
// are set, for the log, when the request line was read.
//
// The strings in r share memory with buf.
func ParseRequest(r *message.Request, buf []byte) (int, error) {
	r.Reset()
	at := 0
	if len(buf) > 0 && buf[0] == '\r' {
		if len(buf) == 1 {
			return 0, ErrIncomplete
		}
		if buf[1] != '\n' {
			return 0, bad("a carriage return that is not followed by a line feed", "RFC 9112 §2.2")
		}
		at = 2
	}
	at, target, err := requestLine(r, buf, at)
	if err != nil {
		return 0, err
	}
	s := section{fields: r.Fields, named: r.Named, length: -1}
	at, err = s.parse(buf, at)
	r.Fields, r.Named = s.fields, s.named
	if err != nil {
		return 0, err
	}
	return at, finishRequest(r, &s, target)
}

// requestLine reads method, target and version (RFC 9112 §3).
func requestLine(r *message.Request, buf []byte, at int) (next int, target string, err error) {
	const longestMethod = 64
	i := at
	for i < len(buf) && classes[buf[i]]&tokenByte != 0 {
		i++
	}
	if i-at > longestMethod {
		return 0, "", &Error{501, "a method that is longer than any", "RFC 9110 §9.1"}
	}
	if i >= len(buf) {
		return 0, "", ErrIncomplete
	}
	if buf[i] != ' ' || i == at {
		return 0, "", bad("a request line that does not begin with a method and one space", "RFC 9112 §3")
	}
	r.Method = text(buf[at:i])
	i++
	from := i
	for i < len(buf) && classes[buf[i]]&targetByte != 0 {
		i++
	}
	if i >= len(buf) {
		return 0, "", ErrIncomplete
	}
	if buf[i] != ' ' || i == from {
		return 0, "", badTarget(buf[i], i-from)
	}
	target = text(buf[from:i])
	r.Target = target
	i++
	if next, err = version(buf, i, &r.Major, &r.Minor); err != nil {
		return 0, "", err
	}
	if next+1 >= len(buf) {
		if next < len(buf) && buf[next] != '\r' {
			return 0, "", bad("a request line that does not end after its version", "RFC 9112 §3")
		}
		return 0, "", ErrIncomplete
	}
	if buf[next] != '\r' || buf[next+1] != '\n' {
		return 0, "", bad("a request line that does not end after its version", "RFC 9112 §3")
	}
	if r.Major != 1 || r.Minor > 1 {
		return 0, "", &Error{505, "a version of HTTP that is not served here", "RFC 9110 §2.5"}
	}
	return next + 2, target, nil
}

func badTarget(c byte, n int) error {
	switch {
	case c == '\r' || c == '\n':
		return bad("a request line without a version", "RFC 9112 §3")
	case n == 0:
		return bad("a request line with more than one space, or without a target", "RFC 9112 §3")
	case c == '#':
		return bad("a fragment in the request target", "RFC 9110 §7.1")
	}
	return bad("a character in the request target that has to be percent-encoded", "RFC 3986 §2.1")
}

// version reads "HTTP/1.1" at buf[at].
func version(buf []byte, at int, major, minor *uint8) (int, error) {
	const form = "HTTP/d.d"
	for i := range len(form) {
		if at+i >= len(buf) {
			return 0, ErrIncomplete
		}
		c := buf[at+i]
		if form[i] != 'd' {
			if c != form[i] {
				return 0, bad("a version that is not written as HTTP/1.1", "RFC 9112 §2.3")
			}
			continue
		}
		if classes[c]&digitByte == 0 {
			return 0, bad("a version that is not written as HTTP/1.1", "RFC 9112 §2.3")
		}
		if i < len(form)-1 {
			*major = c - '0'
		} else {
			*minor = c - '0'
		}
	}
	return at + len(form), nil
}

// finishRequest draws the conclusions.
func finishRequest(r *message.Request, s *section, target string) error {
	switch {
	case s.hosts > 1:
		return bad("more than one Host", "RFC 9112 §3.2")
	case s.hosts == 0 && r.Minor >= 1:
		return bad("no Host", "RFC 9112 §3.2")
	case s.chunked && s.length >= 0:
		return bad("both Content-Length and Transfer-Encoding", "RFC 9112 §6.3")
	case s.chunked && r.Minor == 0:
		return bad("Transfer-Encoding in HTTP/1.0", "RFC 9112 §6.1")
	}
	if s.hosts == 1 && !ValidAuthority(s.host) {
		return bad("a Host that is no host with an optional port", "RFC 9110 §7.2")
	}
	r.Host = s.host
	if err := splitTarget(r, target, s.hosts == 1); err != nil {
		return err
	}
	r.Length = max(s.length, 0)
	if s.chunked {
		r.Length = message.Unknown
	}
	r.Close = !s.persists(r.Minor)
	r.Trailers = s.te && r.Minor >= 1
	if s.expects > 0 && r.Minor >= 1 { // HTTP/1.0 has none (RFC 9110 §10.1.1)
		if s.expects > 1 || !message.EqualFold(s.expect, "100-continue") {
			return &Error{417, "an expectation other than 100-continue", "RFC 9110 §10.1.1"}
		}
		r.Expect = r.Length != 0
	}
	if r.Minor >= 1 { // HTTP/1.0 has no Upgrade (RFC 9110 §7.8)
		r.Upgrade = s.protocol()
	}
	return nil
}
