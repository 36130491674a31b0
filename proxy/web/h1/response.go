package h1

import "tripod/proxy/web/message"

// ParseResponse reads the head of a response at the beginning of buf into r, and returns its length in bytes. The error is ErrIncomplete or
// an *Error. Whether content follows also depends on the request: see message.HasContent.
//
// The strings in r share memory with buf.
func ParseResponse(r *message.Response, buf []byte) (int, error) {
	r.Reset()
	at, err := statusLine(r, buf)
	if err != nil {
		return 0, err
	}
	s := section{fields: r.Fields, named: r.Named, length: -1}
	at, err = s.parse(buf, at)
	r.Fields, r.Named = s.fields, s.named
	if err != nil {
		return 0, err
	}
	switch {
	case s.chunked && s.length >= 0:
		return 0, bad("both Content-Length and Transfer-Encoding", "RFC 9112 §6.3")
	case s.chunked && r.Minor == 0:
		return 0, bad("Transfer-Encoding in HTTP/1.0", "RFC 9112 §6.1")
	case r.Status < 200 && (s.chunked || s.length > 0):
		return 0, bad("content in an informational response", "RFC 9110 §8.6, RFC 9112 §6.1")
	}
	r.Chunked = s.chunked
	r.Length = s.length
	r.Close = !s.persists(r.Minor)
	if r.Status == 101 {
		r.Upgrade = s.protocol()
	}
	return at, nil
}

// statusLine reads version, status and reason (RFC 9112 §4). Servers that leave out the space before an empty reason are many, and nobody can mistake
// what they mean.
func statusLine(r *message.Response, buf []byte) (int, error) {
	i, err := version(buf, 0, &r.Major, &r.Minor)
	if err != nil {
		return 0, err
	}
	if r.Major != 1 {
		return 0, bad("a version other than HTTP/1", "RFC 9112 §2.3")
	}
	if i+4 >= len(buf) {
		return 0, ErrIncomplete
	}
	if buf[i] != ' ' || classes[buf[i+1]]&classes[buf[i+2]]&classes[buf[i+3]]&digitByte == 0 || buf[i+1] == '0' {
		return 0, bad("a status that is not of three digits", "RFC 9112 §4")
	}
	r.Status = int(buf[i+1]-'0')*100 + int(buf[i+2]-'0')*10 + int(buf[i+3]-'0')
	i += 4
	if buf[i] != ' ' && buf[i] != '\r' {
		return 0, bad("a status that is not followed by a space", "RFC 9112 §4")
	}
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
	return i + 2, nil
}
