package h1

import (
	"fmt"
	"strings"
	"testing"

	"tripod/proxy/web/message"
)

// ok begins a response that is valid so far.
const ok = "HTTP/1.1 200 OK\r\n"

var refusedResponses = []refusal{
	// The status line.
	{"RFC 9112 §2.3", "SSH-2.0-OpenSSH\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "http/1.1 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "HTTP/1.x 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "HTTP/1 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "ICY 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "\r\nHTTP/1.1 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", " HTTP/1.1 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "\nHTTP/1.1 200 OK\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "hello, world!\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "HTTP/2.0 200 OK\r\n\r\n", 400, "a version other than HTTP/1"},
	{"RFC 9112 §2.3", "HTTP/0.9 200 OK\r\n\r\n", 400, "a version other than HTTP/1"},
	{"RFC 9112 §4", "HTTP/1.1  200 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1\t200 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 20 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 +20 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 -20 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 099 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 2x0 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 OK\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1\r\n\r\n\r\n\r\n", 400, "a status that is not of three digits"},
	{"RFC 9112 §4", "HTTP/1.1 2000 OK\r\n\r\n", 400, "a status that is not followed by a space"},
	{"RFC 9112 §4", "HTTP/1.1 200\tOK\r\n\r\n", 400, "a status that is not followed by a space"},
	{"RFC 9112 §4", "HTTP/1.1 200\nX: 1\r\n\r\n", 400, "a status that is not followed by a space"},
	{"RFC 9112 §2.2", "HTTP/1.1 200 OK\nX: 1\r\n\r\n", 400, "a line feed without a carriage return"},
	{"RFC 9112 §2.2", "HTTP/1.1 200 OK\rX: 1\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 9112 §2.2", "HTTP/1.1 200\r\r\nX: 1\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 9110 §5.5", "HTTP/1.1 200 O\x00K\r\n\r\n", 400, "a control character in a field's value"},

	// Field lines.
	{"RFC 9112 §5.1", ok + "X : 1\r\n\r\n", 400, "white space between a field's name and its colon"},
	{"RFC 9112 §5.2", ok + "X: 1\r\n 2\r\n\r\n", 400, "a field line that is folded, or begins with white space"},
	{"RFC 9112 §5.2", ok + " X: 1\r\n\r\n", 400, "a field line that is folded, or begins with white space"},
	{"RFC 9112 §5", ok + ": 1\r\n\r\n", 400, "a field without a name"},
	{"RFC 9112 §5", ok + "X\r\n\r\n", 400, "a field line without a colon"},
	{"RFC 9112 §5", ok + "\n", 400, "a field line without a colon"},
	{"RFC 9110 §5.1", ok + "X\x80: 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.5", ok + "X: \x00\r\n\r\n", 400, "a control character in a field's value"},
	{"RFC 9112 §2.2", ok + "X: 1\n\r\n", 400, "a line feed without a carriage return"},
	{"RFC 9112 §2.2", ok + "X: 1\rSet-Cookie: a\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 6585 §5", ok + strings.Repeat("X: 1\r\n", MostFields+1) + "\r\n", 431, "more fields than are taken"},

	// Framing.
	{"RFC 9112 §6.3", ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both Content-Length and Transfer-Encoding"},
	{"RFC 9112 §6.3", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400, "more than one Content-Length"},
	{"RFC 9112 §6.3", ok + "Content-Length: 5, 5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", ok + "Content-Length: -5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", ok + "Content-Length:\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.1", ok + "Transfer-Encoding: gzip\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", ok + "Transfer-Encoding: identity\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", ok + "Transfer-Encoding: chunked, identity\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "more than one Transfer-Encoding"},
	{"RFC 9112 §6.1", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "Transfer-Encoding in HTTP/1.0"},
	{"RFC 9112 §6.1", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "content in an informational response"},
	{"RFC 9110 §8.6", "HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\n", 400, "content in an informational response"},
	{"RFC 9110 §6.5.1", ok + "Trailer: Content-Length\r\n\r\n", 400, "a Trailer that announces framing"},
}

func TestResponsesThatBreakRules(t *testing.T) {
	for _, c := range refusedResponses {
		t.Run(c.rule+" "+short(c.head), func(t *testing.T) {
			var r message.Response
			_, err := ParseResponse(&r, []byte(c.head))
			checkRefusal(t, err, c)
			everyPrefix(t, c.head, err, func(b []byte) (int, error) { return ParseResponse(&r, b) })
		})
	}
}

func TestResponses(t *testing.T) {
	for _, c := range []struct{ rule, head, want string }{
		{"RFC 9112 §4", ok + "\r\n", "200 1.1 len=-1"},
		{"RFC 9112 §4", "HTTP/1.1 200 \r\n\r\n", "200 1.1 len=-1"},
		{"RFC 9112 §4", "HTTP/1.1 200\r\n\r\n", "200 1.1 len=-1"},
		{"RFC 9112 §4", "HTTP/1.1 404  Not\tF\xfcnd \r\nContent-Length: 0\r\n\r\n", "404 1.1 len=0"},
		{"RFC 9110 §15", "HTTP/1.1 999 What\r\n\r\n", "999 1.1 len=-1"},
		{"RFC 9110 §2.5", "HTTP/1.7 200 OK\r\n\r\n", "200 1.7 len=-1"},
		{"RFC 9112 §9.3", "HTTP/1.0 200 OK\r\n\r\n", "200 1.0 len=-1 close"},
		{"RFC 9112 §9.3", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n", "200 1.0 len=3 Connection=keep-alive"},
		{"RFC 9112 §9.6", ok + "Connection: X-Hop, close\r\nX-Hop: 1\r\n\r\n", "200 1.1 len=-1 close Connection=X-Hop, close X-Hop=1 named=X-Hop"},
		{"RFC 9112 §7", ok + "transfer-encoding: Chunked\r\n\r\n", "200 1.1 len=-1 chunked"},
		{"RFC 9110 §8.6", ok + "Content-Length: 12\r\n\r\n", "200 1.1 len=12"},
		{"RFC 9110 §8.6", "HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n", "100 1.1 len=0"},
		{"RFC 9110 §7.8", "HTTP/1.1 101 Switching\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n", "101 1.1 len=-1 upgrade=foo Upgrade=foo Connection=Upgrade"},
		{"RFC 9110 §7.8", "HTTP/1.1 101 Switching\r\nUpgrade: foo\r\n\r\n", "101 1.1 len=-1 Upgrade=foo"},
		{"RFC 9110 §7.8", "HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", "101 1.1 len=-1 Upgrade=h2c Connection=Upgrade"},
		{"RFC 9110 §15.5.22", "HTTP/1.1 426 Upgrade\r\nUpgrade: foo\r\nConnection: Upgrade\r\n\r\n", "426 1.1 len=-1 Upgrade=foo Connection=Upgrade"},
	} {
		t.Run(c.rule+" "+short(c.head), func(t *testing.T) {
			var r message.Response
			n, err := ParseResponse(&r, []byte(c.head+"HTTP/1.1 200"))
			if err != nil || n != len(c.head) {
				t.Fatalf("%q: %d bytes of %d, error %v", c.head, n, len(c.head), err)
			}
			if got := describeResponse(&r); got != c.want {
				t.Errorf("%q:\ngot  %q\nwant %q", c.head, got, c.want)
			}
			everyPrefix(t, c.head, nil, func(b []byte) (int, error) { return ParseResponse(&r, b) })
		})
	}
}

func describeResponse(r *message.Response) string {
	b := fmt.Appendf(nil, "%d %d.%d len=%d", r.Status, r.Major, r.Minor, r.Length)
	if r.Chunked {
		b = append(b, " chunked"...)
	}
	if r.Close {
		b = append(b, " close"...)
	}
	if r.Upgrade != "" {
		b = append(b, " upgrade="+r.Upgrade...)
	}
	for _, f := range r.Fields {
		b = append(b, " "+f.Name+"="+f.Value...)
	}
	if len(r.Named) > 0 {
		b = append(b, " named="+strings.Join(r.Named, ",")...)
	}
	return string(b)
}
