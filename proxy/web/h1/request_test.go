package h1

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"tripod/proxy/web/message"
)

// refusal is a head that breaks a rule.
type refusal struct {
	rule   string // where the standard says so; also what the parser has to name
	head   string
	status int
	reason string
}

// host begins a request that is valid so far.
const host = "GET / HTTP/1.1\r\nHost: a.test\r\n"

// refusedRequests are whole: each ends with the empty line, so that none of them is refused for being cut.
var refusedRequests = []refusal{
	// The request line.
	{"RFC 9112 §2.2", "\n" + host + "\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §2.2", "\rGET / HTTP/1.1\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 9112 §2.2", "\r\n\r\n" + host + "\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "\tGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "G\x00T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "G\xc9T / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "GET\r\nHost: a\r\n\r\n", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "\x16\x03\x01\x02\x00\x01\x00", 400, "a request line that does not begin with a method and one space"},
	{"RFC 9112 §3", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line with more than one space, or without a target"},
	{"RFC 9112 §3", "GET \t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request line with more than one space, or without a target"},
	{"RFC 9112 §3", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §3", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400, "a request line that does not end after its version"},
	{"RFC 9112 §3", "GET / HTTP/1.1\t\r\nHost: a\r\n\r\n", 400, "a request line that does not end after its version"},
	{"RFC 9112 §3", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400, "a request line that does not end after its version"},
	{"RFC 9112 §3", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", 400, "a request line that does not end after its version"},
	{"RFC 9112 §3", "GET / HTTP/1.1\rHost: a\r\n\r\n", 400, "a request line that does not end after its version"},
	{"RFC 9112 §3", "GET / HTTP/1.11\r\nHost: a\r\n\r\n", 400, "a request line that does not end after its version"},
	{"RFC 9112 §3", "GET /\r\n\r\n", 400, "a request line without a version"},
	{"RFC 9112 §3", "GET /\nHost: a\r\n\r\n", 400, "a request line without a version"},
	{"RFC 9112 §3", "GET / \r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §3", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "GET / http/1.1\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "GET / HTTP/1,1\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "GET / HTTP/+1.1\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "GET / HTTP/1.\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "GET / HTTP/11\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9112 §2.3", "GET / ICY/1.1\r\nHost: a\r\n\r\n", 400, "a version that is not written as HTTP/1.1"},
	{"RFC 9110 §2.5", "GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "a version of HTTP that is not served here"},
	{"RFC 9110 §2.5", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "a version of HTTP that is not served here"},
	{"RFC 9110 §2.5", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "a version of HTTP that is not served here"},
	{"RFC 9110 §2.5", "GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505, "a version of HTTP that is not served here"},
	{"RFC 9113 §3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "a version of HTTP that is not served here"},
	{"RFC 9110 §9.1", strings.Repeat("M", 65) + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501, "a method that is longer than any"},

	// The target.
	{"RFC 9110 §7.1", "GET /#top HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a fragment in the request target"},
	{"RFC 3986 §2.1", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the request target that has to be percent-encoded"},
	{"RFC 3986 §2.1", "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the request target that has to be percent-encoded"},
	{"RFC 3986 §2.1", "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the request target that has to be percent-encoded"},
	{"RFC 3986 §2.1", "GET /\x0b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the request target that has to be percent-encoded"},
	{"RFC 3986 §2.1", "GET /a\t HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the request target that has to be percent-encoded"},
	{"RFC 3986 §2.1", "GET /?a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the request target that has to be percent-encoded"},
	{"RFC 3986 §2.1", "GET /% HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a percent sign in the path without two hexadecimal digits"},
	{"RFC 3986 §2.1", "GET /%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a percent sign in the path without two hexadecimal digits"},
	{"RFC 3986 §2.1", "GET /%2?a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a percent sign in the path without two hexadecimal digits"},
	{"RFC 3986 §2.1", "GET /%g0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a percent sign in the path without two hexadecimal digits"},
	{"RFC 3986 §7.3", "GET /a%00b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "%00 in the path"},
	{"RFC 3986 §3.3", "GET /\\evil HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the path that has to be percent-encoded"},
	{"RFC 3986 §3.3", "GET /\" HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the path that has to be percent-encoded"},
	{"RFC 3986 §3.3", "GET /<script> HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a character in the path that has to be percent-encoded"},
	{"RFC 9112 §3.2", "GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target of no known form"},
	{"RFC 9112 §3.2", "GET \\a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target of no known form"},
	{"RFC 9112 §3.2", "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target of no known form"},
	{"RFC 9112 §3.2", "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target of no known form"},
	{"RFC 9112 §3.2", "GET ://a HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target of no known form"},
	{"RFC 9112 §3.2.4", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "the target * with a method other than OPTIONS"},
	{"RFC 9110 §4.2", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target with a scheme other than http and https"},
	{"RFC 9110 §4.2", "GET @http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target with a scheme other than http and https"},
	{"RFC 9110 §4.2.1", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target whose authority is no host with an optional port"},
	{"RFC 9110 §4.2.4", "GET http://me@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target whose authority is no host with an optional port"},
	{"RFC 9110 §4.2.1", "GET http://a\\@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target whose authority is no host with an optional port"},
	{"RFC 9110 §4.2.1", "GET http://a%2eb/ HTTP/1.1\r\nHost: a.b\r\n\r\n", 400, "a request target whose authority is no host with an optional port"},
	{"RFC 9110 §4.2.1", "GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target whose authority is no host with an optional port"},
	{"RFC 9110 §4.2.1", "GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a request target whose authority is no host with an optional port"},
	{"RFC 9112 §3.2.2", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a Host that is not the target's"},
	{"RFC 9112 §3.2.2", "GET http://a:8080/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a Host that is not the target's"},
	{"RFC 9112 §3.2.2", "GET https://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a Host that is not the target's"},
	{"RFC 9112 §3.2.2", "GET http://a./ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a Host that is not the target's"},
	{"RFC 9112 §3.2.3", "CONNECT a@b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "a CONNECT whose target is no host with a port"},

	// Field lines.
	{"RFC 9112 §5.1", host + "X : 1\r\n\r\n", 400, "white space between a field's name and its colon"},
	{"RFC 9112 §5.1", host + "X\t: 1\r\n\r\n", 400, "white space between a field's name and its colon"},
	{"RFC 9112 §5.1", host + "X Y: 1\r\n\r\n", 400, "white space between a field's name and its colon"},
	{"RFC 9112 §5.2", host + " X: 1\r\n\r\n", 400, "a field line that is folded, or begins with white space"},
	{"RFC 9112 §5.2", host + "X: 1\r\n 2\r\n\r\n", 400, "a field line that is folded, or begins with white space"},
	{"RFC 9112 §5.2", host + "X: 1\r\n\t2\r\n\r\n", 400, "a field line that is folded, or begins with white space"},
	{"RFC 9112 §5.2", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400, "a field line that is folded, or begins with white space"},
	{"RFC 9112 §5", host + ": 1\r\n\r\n", 400, "a field without a name"},
	{"RFC 9112 §5", host + "X\r\n\r\n", 400, "a field line without a colon"},
	{"RFC 9112 §5", host + "X\n\r\n", 400, "a field line without a colon"},
	{"RFC 9112 §5", host + "\n", 400, "a field line without a colon"},
	{"RFC 9110 §5.1", host + "X\x00: 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "X\x0b: 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "X\xa0: 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "X(Y): 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "X/Y: 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "\"X\": 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "[X]: 1\r\n\r\n", 400, "a character that no field name has"},
	{"RFC 9110 §5.1", host + "GET /x HTTP/1.1: 1\r\n\r\n", 400, "white space between a field's name and its colon"},
	{"RFC 9110 §5.5", host + "X: \x00\r\n\r\n", 400, "a control character in a field's value"},
	{"RFC 9110 §5.5", host + "X: a\x0bb\r\n\r\n", 400, "a control character in a field's value"},
	{"RFC 9110 §5.5", host + "X: a\x7f\r\n\r\n", 400, "a control character in a field's value"},
	{"RFC 9110 §5.5", host + "X: \x1b[31m\r\n\r\n", 400, "a control character in a field's value"},
	{"RFC 9112 §2.2", host + "X: 1\n\r\n", 400, "a line feed without a carriage return"},
	{"RFC 9112 §2.2", host + "X: 1\nY: 2\r\n\r\n", 400, "a line feed without a carriage return"},
	{"RFC 9112 §2.2", host + "X: 1\rY: 2\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 9112 §2.2", host + "X: 1\r\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 9112 §2.2", host + "\rX: 1\r\n\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 9112 §2.2", host + "\r\r\n", 400, "a carriage return that is not followed by a line feed"},
	{"RFC 6585 §5", host + strings.Repeat("X: 1\r\n", MostFields) + "\r\n", 431, "more fields than are taken"},
	{"RFC 6585 §5", "GET / HTTP/1.1\r\n" + strings.Repeat("Host: a\r\n", MostFields+1) + "\r\n", 431, "more fields than are taken"},
	{"RFC 6585 §5", host + "Connection: " + strings.Repeat("x,", MostFields) + "x\r\n\r\n", 431, "more tokens in Connection than are taken"},

	// Host.
	{"RFC 9112 §3.2", "GET / HTTP/1.1\r\n\r\n", 400, "no Host"},
	{"RFC 9112 §3.2", "GET http://a/ HTTP/1.1\r\n\r\n", 400, "no Host"},
	{"RFC 9112 §3.2", host + "host: a.test\r\n\r\n", 400, "more than one Host"},
	{"RFC 9112 §3.2", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400, "more than one Host"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: \xc3\xa4\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a:+80\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 256) + "\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [::::]\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", 400, "a Host that is no host with an optional port"},
	{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [v1.x]\r\n\r\n", 400, "a Host that is no host with an optional port"},

	// Framing: lengths.
	{"RFC 9112 §6.3", host + "Content-Length: 5, 5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 5,\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 5 5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: +5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: -1\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 0x5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 5.0\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 1e1\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: \"5\"\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 5;\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: \xd9\xa5\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length:\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: chunked\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 18446744073709551617\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 9223372036854775808\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 0000000000000000005\r\n\r\n", 400, "a Content-Length that is no number of bytes"},
	{"RFC 9112 §6.3", host + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "more than one Content-Length"},
	{"RFC 9112 §6.3", host + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", 400, "more than one Content-Length"},
	{"RFC 9112 §6.3", host + "Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400, "more than one Content-Length"},

	// Framing: codings.
	{"RFC 9112 §6.3", host + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both Content-Length and Transfer-Encoding"},
	{"RFC 9112 §6.3", host + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400, "both Content-Length and Transfer-Encoding"},
	{"RFC 9112 §6.1", "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "Transfer-Encoding in HTTP/1.0"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "more than one Transfer-Encoding"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400, "more than one Transfer-Encoding"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: identity\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: gzip, chunked\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chunked, chunked\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chunked,\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: ,chunked\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chunked;q=1\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: \"chunked\"\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: xchunked\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chunkedx\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9112 §6.1", host + "Transfer-Encoding: chun\xe2\x84\xaaed\r\n\r\n", 400, "a Transfer-Encoding other than chunked"},
	{"RFC 9110 §6.5.1", host + "Trailer: X, content-length\r\n\r\n", 400, "a Trailer that announces framing"},
	{"RFC 9110 §6.5.1", host + "Trailer: Transfer-Encoding\r\n\r\n", 400, "a Trailer that announces framing"},
	{"RFC 9110 §6.5.1", host + "Trailer: trailer\r\n\r\n", 400, "a Trailer that announces framing"},

	{"RFC 3875 §4.1.18", host + "content_LENGTH: 5\r\n\r\n", 400, "a name that is Content-Length or Transfer-Encoding to programs that cannot tell underscores from hyphens"},
	{"RFC 3875 §4.1.18", host + "Transfer_Encoding: x\r\n\r\n", 400, "a name that is Content-Length or Transfer-Encoding to programs that cannot tell underscores from hyphens"},

	// Expectations.
	{"RFC 9110 §10.1.1", host + "Expect: 200-ok\r\nContent-Length: 1\r\n\r\n", 417, "an expectation other than 100-continue"},
	{"RFC 9110 §10.1.1", host + "Expect:\r\nContent-Length: 1\r\n\r\n", 417, "an expectation other than 100-continue"},
	{"RFC 9110 §10.1.1", host + "Expect: 100-continue, x\r\nContent-Length: 1\r\n\r\n", 417, "an expectation other than 100-continue"},
	{"RFC 9110 §10.1.1", host + "Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 417, "an expectation other than 100-continue"},
}

func TestRequestsThatBreakRules(t *testing.T) {
	for _, c := range refusedRequests {
		t.Run(c.rule+" "+short(c.head), func(t *testing.T) {
			var r message.Request
			_, err := ParseRequest(&r, []byte(c.head))
			checkRefusal(t, err, c)
			everyPrefix(t, c.head, err, func(b []byte) (int, error) { return ParseRequest(&r, b) })
		})
	}
}

// checkRefusal tells whether an error is the one of a row. What the parser names as the rule may be broader than the row's.
func checkRefusal(t *testing.T, err error, c refusal) {
	t.Helper()
	var wrong *Error
	if !errors.As(err, &wrong) {
		t.Fatalf("%q: got %v", c.head, err)
	}
	if wrong.Status != c.status || wrong.Reason != c.reason || !strings.HasPrefix(wrong.Rule, "RFC ") {
		t.Errorf("%q: got %d %v", c.head, wrong.Status, wrong)
	}
}

// everyPrefix checks that what has come only in part is incomplete, or wrong already in the same way as the whole.
func everyPrefix(t *testing.T, whole string, want error, parse func([]byte) (int, error)) {
	t.Helper()
	for n := range len(whole) {
		_, err := parse([]byte(whole)[:n:n])
		if err == ErrIncomplete || err != nil && want != nil && err.Error() == want.Error() {
			continue
		}
		t.Errorf("%q: got %v, the whole gives %v", whole[:n], err, want)
		return
	}
}

// short is a name for a test.
func short(s string) string {
	s = strings.TrimPrefix(s, host)
	return fmt.Sprintf("%.40q", s)
}

func TestRequests(t *testing.T) {
	for _, c := range []struct {
		rule, head string
		want       string
	}{
		{"RFC 9112 §3", host + "\r\n", "GET / a.test 1.1 len=0"},
		{"RFC 9112 §2.2", "\r\n" + host + "\r\n", "GET / a.test 1.1 len=0"},
		{"RFC 9112 §3", "get-x!#$%&'*+.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n", "get-x!#$%&'*+.^_`|~9 / a 1.1 len=0"},
		{"RFC 9112 §3.2.1", "GET //x/../?a=%zz&b=\\\"<>|{}^` HTTP/1.1\r\nHost: a:8080\r\n\r\n", "GET //x/../?a=%zz&b=\\\"<>|{}^` a:8080 1.1 len=0"},
		{"RFC 9112 §3.2.2", "GET HTTP://A.test:80?q HTTP/1.1\r\nHost: a.TEST\r\n\r\n", "GET /?q A.test:80 1.1 http len=0"},
		{"RFC 9112 §3.2.2", "GET https://a HTTP/1.1\r\nHost: a:443\r\n\r\n", "GET / a 1.1 https len=0"},
		{"RFC 9112 §3.2.2", "GET http://[::1]:8/%20 HTTP/1.1\r\nHost: [::1]:8\r\n\r\n", "GET /%20 [::1]:8 1.1 http len=0"},
		{"RFC 9112 §3.2.2", "GET http://a/x HTTP/1.0\r\n\r\n", "GET /x a 1.0 http len=0 close"},
		{"RFC 9112 §3.2.3", "CONNECT a:443 HTTP/1.1\r\nHost: b\r\n\r\n", "CONNECT  a:443 1.1 len=0"},
		{"RFC 9112 §3.2.4", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * a 1.1 len=0"},
		{"RFC 9112 §3.2", "GET / HTTP/1.0\r\n\r\n", "GET /  1.0 len=0 close"},
		{"RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: a:\r\n\r\n", "GET / a: 1.1 len=0"},
		{"RFC 3986 §3.2.2", "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:80\r\n\r\n", "GET / [::ffff:1.2.3.4]:80 1.1 len=0"},
		{"RFC 9110 §5.5", host + "X:1\r\nY: \t a\tb \xff \t\r\nZ:\r\nX:2\r\n\r\n", "GET / a.test 1.1 len=0 X=1 Y=a\tb \xff Z= X=2"},
		{"RFC 9110 §8.6", host + "Content-Length: 5\r\n\r\n", "GET / a.test 1.1 len=5"},
		{"RFC 9110 §8.6", host + "content-LENGTH:\t007 \r\n\r\n", "GET / a.test 1.1 len=7"},
		{"RFC 9110 §8.6", host + "Content-Length: 999999999999999999\r\n\r\n", "GET / a.test 1.1 len=999999999999999999"},
		{"RFC 9112 §7", host + "Transfer-Encoding: CHUNKED\r\n\r\n", "GET / a.test 1.1 len=-1"},
		{"RFC 9112 §9.3", host + "Connection: x , CLOSE,,\r\n\r\n", "GET / a.test 1.1 len=0 close Connection=x , CLOSE,, named=x"},
		{"RFC 9112 §9.3", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /  1.0 len=0 Connection=Keep-Alive"},
		{"RFC 9112 §9.3", "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", "GET /  1.0 len=0 close Connection=keep-alive, close"},
		{"RFC 9110 §7.8", host + "Connection: upgrade\r\nUpgrade: foo/2\r\n\r\n", "GET / a.test 1.1 len=0 upgrade=foo/2 Connection=upgrade Upgrade=foo/2"},
		{"RFC 9110 §7.8", host + "Upgrade: foo\r\n\r\n", "GET / a.test 1.1 len=0 Upgrade=foo"},
		{"RFC 9110 §7.8", "GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n", "GET /  1.0 len=0 close Connection=upgrade Upgrade=foo"},
		{"RFC 9113 §3.1", host + "Connection: upgrade\r\nUpgrade: foo, H2C\r\n\r\n", "GET / a.test 1.1 len=0 Connection=upgrade Upgrade=foo, H2C"},
		{"RFC 2817 §3", host + "Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n", "GET / a.test 1.1 len=0 Connection=upgrade Upgrade=TLS/1.0, HTTP/1.1"},
		{"RFC 9110 §10.1.1", host + "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", "GET / a.test 1.1 len=1 expect"},
		{"RFC 9110 §10.1.1", host + "Expect: 100-continue\r\n\r\n", "GET / a.test 1.1 len=0"},
		{"RFC 9110 §10.1.1", "POST / HTTP/1.0\r\nExpect: what\r\nContent-Length: 1\r\n\r\n", "POST /  1.0 len=1 close"},
		{"RFC 9110 §10.1.4", host + "TE: deflate, Trailers\r\n\r\n", "GET / a.test 1.1 len=0 trailers TE=deflate, Trailers"},
		{"RFC 9110 §6.6.2", host + "Trailer: X-Sum\r\n\r\n", "GET / a.test 1.1 len=0 Trailer=X-Sum"},
		{"RFC 6585 §5", host + strings.Repeat("X: 1\r\n", MostFields-1) + "\r\n", "GET / a.test 1.1 len=0" + strings.Repeat(" X=1", MostFields-1)},
	} {
		t.Run(c.rule+" "+short(c.head), func(t *testing.T) {
			var r message.Request
			n, err := ParseRequest(&r, []byte(c.head+"GET /next HTTP/1.1\r\n"))
			if err != nil || n != len(c.head) {
				t.Fatalf("%q: %d bytes of %d, error %v", c.head, n, len(c.head), err)
			}
			if got := describe(&r); got != c.want {
				t.Errorf("%q:\ngot  %q\nwant %q", c.head, got, c.want)
			}
			everyPrefix(t, c.head, nil, func(b []byte) (int, error) { return ParseRequest(&r, b) })
		})
	}
}

// describe puts a request into a line.
func describe(r *message.Request) string {
	b := fmt.Appendf(nil, "%s %s %s %d.%d", r.Method, r.Target, r.Host, r.Major, r.Minor)
	if r.Scheme != "" {
		b = append(b, " "+r.Scheme...)
	}
	b = fmt.Appendf(b, " len=%d", r.Length)
	for _, flag := range []struct {
		on   bool
		name string
	}{{r.Close, "close"}, {r.Expect, "expect"}, {r.Trailers, "trailers"}, {r.Upgrade != "", "upgrade=" + r.Upgrade}} {
		if flag.on {
			b = append(b, " "+flag.name...)
		}
	}
	for _, f := range r.Fields {
		b = append(b, " "+f.Name+"="+f.Value...)
	}
	if len(r.Named) > 0 {
		b = append(b, " named="+strings.Join(r.Named, ",")...)
	}
	return string(b)
}

// A message that is used again has nothing of the one before, whether that was good or not.
func TestReusedRequestForgets(t *testing.T) {
	var r message.Request
	full := "POST http://x/ HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade, a\r\nUpgrade: foo\r\nTE: trailers\r\nExpect: 100-continue\r\nContent-Length: 9\r\n"
	for _, before := range []string{full + "\r\n", full + "bad\r\n", full} {
		_, _ = ParseRequest(&r, []byte(before))
		if _, err := ParseRequest(&r, []byte(host+"\r\n")); err != nil {
			t.Fatal(err)
		}
		if got := describe(&r); got != "GET / a.test 1.1 len=0" {
			t.Errorf("after %q: %q", before, got)
		}
	}
}

// The method and the target are known as soon as their line was read, for the log.
func TestRefusedRequestIsNamed(t *testing.T) {
	var r message.Request
	if _, err := ParseRequest(&r, []byte("PUT /x?y HTTP/1.1\r\nHost : a\r\n\r\n")); err == nil || r.Method != "PUT" || r.Target != "/x?y" {
		t.Errorf("%v: method %q, target %q", err, r.Method, r.Target)
	}
}

func TestIsPreface(t *testing.T) {
	for text, want := range map[string]bool{
		preface: true, "PRI * HTTP/2.0\r\n": true, "PRI * HTTP/2.0\r": false, "PRI * HTTP/2.1\r\n\r\nSM": false, "": false, "GET / HTTP/1.1\r\n\r\n": false,
	} {
		if got := IsPreface([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
