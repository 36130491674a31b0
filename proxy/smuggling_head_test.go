package proxy

import (
	"fmt"
	"strings"
	"testing"
)

func TestSmugglingByRequestLine(t *testing.T) {
	const fields = "Host: a.test\r\n\r\n"
	all := []attack{
		accepted("RFC 9112 §2.2", "\r\n"+get1+"\r\n", get1+"\r\n"),
		accepted("RFC 9112 §3.2.2", "GET http://a.test/x?y HTTP/1.1\r\n"+fields, "GET /x?y HTTP/1.1\r\n"+fields),
		accepted("RFC 9112 §3.2.2", "GET HTTP://a.test?y HTTP/1.1\r\n"+fields, "GET /?y HTTP/1.1\r\n"+fields),
		accepted("RFC 9112 §3.2.2", "GET http://a.test:80 HTTP/1.1\r\n"+fields, "GET / HTTP/1.1\r\nHost: a.test:80\r\n\r\n"),
		accepted("RFC 9112 §3.2.1", "GET //evil.test/x HTTP/1.1\r\n"+fields, "GET //evil.test/x HTTP/1.1\r\n"+fields),
		accepted("RFC 9112 §3.2.1", "GET /http://evil.test/ HTTP/1.1\r\n"+fields, "GET /http://evil.test/ HTTP/1.1\r\n"+fields),
		accepted("RFC 9112 §3.2.1", "GET /%0d%0aX:%20y?%0d%0a HTTP/1.1\r\n"+fields, "GET /%0d%0aX:%20y?%0d%0a HTTP/1.1\r\n"+fields),
		// A method is a method whatever it says: servers know theirs.
		accepted("RFC 9110 §9.1", "get / HTTP/1.1\r\n"+fields, "get / HTTP/1.1\r\n"+fields),
		accepted("RFC 9110 §9.1", "GPOST / HTTP/1.1\r\n"+fields, "GPOST / HTTP/1.1\r\n"+fields),
		refused("RFC 9110 §9.1", strings.Repeat("M", 100)+" / HTTP/1.1\r\n"+fields, 501),
		refused("RFC 9110 §9.3.6", "CONNECT a.test@b:443 HTTP/1.1\r\n"+fields, 400),
		{rule: "RFC 9110 §9.3.6", request: "CONNECT a.test:443 HTTP/1.1\r\n" + fields, status: 405, next: 200},
		{rule: "RFC 9110 §9.3.6", request: "CONNECT /admin HTTP/1.1\r\n" + fields, status: 405, next: 200},
		{rule: "RFC 9110 §9.3.8", request: "TRACE / HTTP/1.1\r\n" + fields, status: 405, next: 200},
		refused("RFC 9110 §9.3.7", "OPTIONS * HTTP/1.1\r\n"+fields, 400),
		refused("RFC 9113 §3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
	}
	for _, line := range []string{
		"\nGET / HTTP/1.1\r\n", "\rGET / HTTP/1.1\r\n", "\x00GET / HTTP/1.1\r\n", " GET / HTTP/1.1\r\n", "\tGET / HTTP/1.1\r\n", "\x0bGET / HTTP/1.1\r\n",
		"\xef\xbb\xbfGET / HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n", "GET /  HTTP/1.1\r\n", "GET\t/ HTTP/1.1\r\n", "GET /\tHTTP/1.1\r\n", "GET\x0b/ HTTP/1.1\r\n",
		"GET\xa0/ HTTP/1.1\r\n", "GET\x00/ HTTP/1.1\r\n", "GET / HTTP/1.1 \r\n", "GET / HTTP/1.1\t\r\n", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\r\n",
		"GET / HTTP/1.1\x00\r\n", "GET / HTTP/1.1 X: y\r\n", "GET / HTTP/1.1 HTTP/1.1\r\n", "GET / HTTP/1.1\rX: y\r\n", "GET / HTTP/1.1\nX: y\r\n",
		"GET /\r\n", "GET /\n", "GET\r\n", "GET \r\n", "GET / \r\n", "/ HTTP/1.1\r\n", "GET HTTP/1.1\r\n", " / HTTP/1.1\r\n",
		"GET / http/1.1\r\n", "GET / Http/1.1\r\n", "GET / HTTP/1.1.1\r\n", "GET / HTTP/1.10\r\n", "GET / HTTP/01.1\r\n", "GET / HTTP/1\r\n", "GET / HTTP/1.\r\n",
		"GET / HTTP/.1\r\n", "GET / HTTP/1,1\r\n", "GET / HTTP/+1.1\r\n", "GET / HTTP 1.1\r\n", "GET / HTTP\\1.1\r\n", "GET / HTTPS/1.1\r\n", "GET / XTTP/1.1\r\n",
		"GET / HTTP/A.1\r\n", "GET / HTTP/1.\xb9\r\n", "G[T / HTTP/1.1\r\n", "GET: / HTTP/1.1\r\n", "G\xc3\x8bT / HTTP/1.1\r\n", "GE\rT / HTTP/1.1\r\n", "\"GET\" / HTTP/1.1\r\n",
	} {
		all = append(all, refused("RFC 9112 §3", line+fields, 400))
	}
	for _, version := range []string{"0.9", "1.2", "1.9", "2.0", "2.1", "3.0", "9.9", "0.0"} {
		all = append(all, refused("RFC 9110 §2.5", "GET / HTTP/"+version+"\r\n"+fields, 505))
	}
	for _, target := range []string{
		"/a b", "/a\tb", "/a\x00b", "/a\x0bb", "/a\x0cb", "/a\rb", "/a\nb", "/a\x7fb", "/a\x80b", "/\xc3\xa4", "/a?b\x00", "/a?\xc3\xa4", "/a#b", "/#", "/?#", "/a\\b", "/\\evil.test",
		"\\", "/\"", "/<x>", "/%", "/%2", "/%zz", "/%u0041", "/%00", "/a%00.html", "/%0", "a", "admin", "../admin", "?x", "*", "*/x", "evil.test:80", ":80", "/%%41",
		"http:", "http:/", "http://", "http:///x", "http:/x", "http:x", "//", "://a.test/", "http://@a.test/", "http://me@a.test/", "http://me:pw@a.test/",
		"http://a.test@evil.test/", "http://a.test\\@evil.test/", "http://a.test\\.evil.test/", "http://a.test%40evil.test/", "http://a.test:80:80/", "http://a.test:/x@y:z",
		"http://a.test:http/", "http://a.test:-1/", "http://a.test:+80/", "http://a.test:999999/", "http://a.test#@evil.test/", "http://a.test;x/", "http://[::1/", "http://::1/",
		"http://[::1]x/", "http://[a.test]/", "http://[v1.a]/", "http://[fe80::1%25lo]/", "http://a test/", "http://a\x00.test/", "http://a.test/%00", "http://a.test/\\",
		"http://evil.test/", "http://a.test.evil.test/", "http://a.test:81/", "https://a.test:80/", "http://a.test:443/", "http://a.test./", "http://a.tes/",
		"ftp://a.test/", "file:///etc/passwd", "javascript:alert(1)", "ws://a.test/", "gopher://a.test/_x", "httpx://a.test/", "http\x00://a.test/", "data:,x", "view-source:http://a.test/",
	} {
		if target == "//" || target == "http://a.test:/x@y:z" || target == "http://a.test;x/" {
			continue // authorities and paths like others
		}
		all = append(all, refused("RFC 9112 §3.2", "GET "+target+" HTTP/1.1\r\n"+fields, 400))
	}
	attacks(t, all)
}

func TestSmugglingByHost(t *testing.T) {
	all := []attack{
		accepted("RFC 9110 §7.2", "GET / HTTP/1.1\r\nhOST: A.test:8080\r\n\r\n", "GET / HTTP/1.1\r\nHost: A.test:8080\r\n\r\n"),
		accepted("RFC 9110 §7.2", "GET / HTTP/1.1\r\nX: y\r\nHost:\ta.test\t\r\n\r\n", get1+"X: y\r\n\r\n"),
		accepted("RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", "GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n"),
		accepted("RFC 9112 §3.2.2", "GET http://A.TEST/ HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / HTTP/1.1\r\nHost: A.TEST\r\n\r\n"),
		// What only looks like Host is another field.
		accepted("RFC 9110 §5.1", get1+"X-Host: evil\r\nHosts: evil\r\nHost2: evil\r\n\r\n", get1+"X-Host: evil\r\nHosts: evil\r\nHost2: evil\r\n\r\n"),
	}
	for _, lines := range []string{
		"", "X: y\r\n", "X-Forwarded-Host: a.test\r\n", "Host: a.test\r\nHost: a.test\r\n", "Host: a.test\r\nHost: evil.test\r\n", "Host: a.test\r\nX: y\r\nhost: evil.test\r\n",
		"Host: a.test\r\nHost:\r\n", "Host:\r\nHost: a.test\r\n", "Host:\r\n", "Host: \t \r\n", "Host : a.test\r\n", "Host\t: a.test\r\n", " Host: a.test\r\n", "X: y\r\n Host: a.test\r\n",
		"Host: a.test\r\n evil.test\r\n", "Host:\r\n a.test\r\n", "Host: a.test\r\nHost : evil.test\r\n", "Host: a.test\r\n Host: evil.test\r\n", "Host: a.test\nHost: evil.test\r\n",
		"Host: a.test\rHost: evil.test\r\n", "Host\x00: a.test\r\n", "Host\r\n", "Host\r\n: a.test\r\n", "Host a.test\r\n",
	} {
		all = append(all, refused("RFC 9112 §3.2", "GET / HTTP/1.1\r\n"+lines+"\r\n", 400), refused("RFC 9112 §3.2", "GET http://a.test/ HTTP/1.1\r\n"+lines+"\r\n", 400))
	}
	for _, value := range []string{
		"a test", "a.test evil.test", "a.test, evil.test", "a.test\tevil.test", "a.test/", "a.test/x", "/", "a.test?x", "a.test#x", "a.test\\x", "me@a.test", "a.test@evil.test", "@a.test", "a.test@",
		"http://a.test", "//a.test", "a.test:", ":80", ":", "a.test:80:80", "a.test:x", "a.test:-80", "a.test:+80", "a.test: 80", "a.test :80", "a.test:80x", "a.test:999999", "a.test:0x50",
		"[::1", "::1", "[]", "[:]", "[::1]]", "[[::1]]", "[::1]80", "[::1]:x", "[a.test]", "[1.2.3.4]", "[fe80::1%lo]", "[::1]a.test", "a.test[::1]", "a%2etest", "a.test%00", "%61.test", "a.test\x00",
		"a.test\x0b", "\x0ba.test", "a.test\x7f", "\xc3\xa4.test", "a.test\xa0", "\"a.test\"", "<a.test>", "{a}", "a|b", "a^b", "`a`", strings.Repeat("a", 256),
	} {
		if value == "a.test:" {
			continue // an empty port is the default (RFC 3986 §3.2.3)
		}
		all = append(all, refused("RFC 9110 §7.2", "GET / HTTP/1.1\r\nHost: "+value+"\r\n\r\n", 400), refused("RFC 9110 §7.2", "GET / HTTP/1.0\r\nHost: "+value+"\r\n\r\n", 400))
	}
	attacks(t, all)
}

func TestSmugglingByFieldLines(t *testing.T) {
	all := []attack{
		accepted("RFC 9110 §5.5", get1+"X:y\r\nx:  \t z \xff\t\r\nEmpty:\r\nQ: \"a, b\"; c=\\\"\r\n\r\n", get1+"X: y\r\nx: z \xff\r\nEmpty: \r\nQ: \"a, b\"; c=\\\"\r\n\r\n"),
		accepted("RFC 9110 §5.6.2", get1+"!#$%&'*+-.^_`|~09aZ: y\r\n\r\n", get1+"!#$%&'*+-.^_`|~09aZ: y\r\n\r\n"),
		accepted("RFC 9110 §5.1", get1+"Content-Lengths: 5\r\nXContent-Length: 5\r\n\r\n", get1+"Content-Lengths: 5\r\nXContent-Length: 5\r\n\r\n"),
	}
	for _, lines := range []string{
		"X : y\r\n", "X\t: y\r\n", "X  : y\r\n", " X: y\r\n", "\tX: y\r\n", "X: y\r\n z\r\n", "X: y\r\n\tz\r\n", "X: y\r\n \r\n", "X:\r\n y\r\n", ": y\r\n", ":\r\n", "X\r\n", "X y\r\n", "X=y\r\n",
		"X: y\n", "X: y\nZ: z\r\n", "X: y\r", "X: y\rZ: z\r\n", "X: y\r\r\n", "X: y\n\r\n", "X: y\n\n" + inner, "X: y\r\n\n" + inner, "X: y\n\r\n" + inner, "X: y\r\r" + inner, "\n", "\r", "\n\n", "\r\r", "X: \r\n\n",
		"X\x00: y\r\n", "X: \x00\r\n", "X: y\x00z\r\n", "\x00\r\n", "X\x0b: y\r\n", "X: y\x0bz\r\n", "X: y\x0cz\r\n", "X: \x08\r\n", "X: \x1b[0m\r\n", "X: \x7f\r\n", "X\x7f: y\r\n", "X\x80: y\r\n", "\xc3\xa4: y\r\n",
		"X(: y\r\n", "X): y\r\n", "X<: y\r\n", "X>: y\r\n", "X@: y\r\n", "X,: y\r\n", "X;: y\r\n", "X\\: y\r\n", "X\": y\r\n", "X/: y\r\n", "X[: y\r\n", "X]: y\r\n", "X?: y\r\n", "X=: y\r\n", "X{: y\r\n", "X}: y\r\n",
		"GET /x HTTP/1.1\r\n", "GET http://evil.test/ HTTP/1.1\r\n", "HTTP/1.1 200 OK\r\n",
	} {
		all = append(all, refused("RFC 9112 §5", get1+lines+"\r\n", 400), refused("RFC 9112 §5", "GET / HTTP/1.1\r\n"+lines+"Host: a.test\r\n\r\n", 400),
			refused("RFC 9112 §5", post1+lines+"Content-Length: 5\r\n\r\nhello", 400))
	}
	all = append(all,
		refused("RFC 9110 §15.5.15", "GET /"+strings.Repeat("x", 80<<10)+" HTTP/1.1\r\nHost: a.test\r\n\r\n", 414),
		refused("RFC 6585 §5", get1+"X: "+strings.Repeat("x", 80<<10)+"\r\n\r\n", 431),
		refused("RFC 6585 §5", get1+strings.Repeat("x", 80<<10)+": y\r\n\r\n", 431),
		refused("RFC 6585 §5", get1+strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 80)+"\r\n", 431),
		refused("RFC 6585 §5", get1+strings.Repeat("X: y\r\n", 256)+"\r\n", 431),
		refused("RFC 6585 §5", get1+"Connection: "+strings.Repeat("x,", 300)+"Secret\r\nSecret: y\r\n\r\n", 431),
		accepted("RFC 6585 §5", get1+strings.Repeat("X: y\r\n", 255)+"\r\n", get1+strings.Repeat("X: y\r\n", 255)+"\r\n"),
		accepted("RFC 9110 §15.5.15", "GET /"+strings.Repeat("x", 40<<10)+" HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET /"+strings.Repeat("x", 40<<10)+" HTTP/1.1\r\nHost: a.test\r\n\r\n"),
	)
	attacks(t, all)
}

// Fields that end here, or that the proxy alone says.
func TestSmugglingByHopByHopFields(t *testing.T) {
	const body = "Content-Length: 5\r\n\r\nhello"
	all := []attack{
		// Connection cannot take away what frames or routes, and whatever else it names ends here (RFC 9110 §7.6.1).
		accepted("RFC 9110 §7.6.1", post1+"Connection: Content-Length\r\n"+body, post1+body),
		accepted("RFC 9110 §7.6.1", post1+"Connection: keep-alive, Host, content-length, Transfer-Encoding\r\n"+body, post1+body),
		accepted("RFC 9110 §7.6.1", post1+"Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", chunkedUp+"5\r\nhello\r\n0\r\n\r\n"),
		accepted("RFC 9110 §7.6.1", get1+"Connection: X-Forwarded-For, X-Forwarded-Host, X-Forwarded-Proto, X-Request-Id\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9110 §7.6.1", get1+"Cookie: a\r\nConnection: Cookie, , X-Hop\r\nX-Hop: 1\r\nx-HOP: 2\r\nX-Hope: 3\r\n\r\n", get1+"X-Hope: 3\r\n\r\n"),
		accepted("RFC 9110 §7.6.1", get1+"Connection: a\r\nA: 1\r\nConnection: b\r\nB: 2\r\nC: 3\r\n\r\n", get1+"C: 3\r\n\r\n"),
		accepted("RFC 9110 §7.6.1", get1+"Keep-Alive: x\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\nProxy-Authenticate: x\r\n\r\n", get1+"\r\n"),
		// What the client says about where it comes from is not believed, with underscores neither.
		accepted("RFC 7239 §8.1", get1+"X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Forwarded_For: 6.6.6.6\r\nx_forwarded-for: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"+
			"X_Real_IP: 6.6.6.6\r\nX-Real-Ip: 6.6.6.6\r\nX-Request-Id: x\r\nX_Request_Id: x\r\nX-Forwarded-Server: x\r\n\r\n", get1+"\r\n"),
		// HTTP/2 does not begin here, and a server that would let it is not asked.
		accepted("RFC 9113 §3.1", get1+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9113 §3.1", get1+"Connection: Upgrade\r\nUpgrade: H2C\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9113 §3.1", get1+"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9113 §3.1", get1+"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9113 §3.1", get1+"Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9110 §7.8", get1+"Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n", get1+"\r\n"),
		accepted("RFC 2817 §3", get1+"Connection: Upgrade\r\nUpgrade: TLS/1.0, HTTP/1.1\r\n\r\n", get1+"\r\n"),
		// An upgrade that the server does not agree to changes nothing: the next request is one.
		accepted("RFC 9110 §7.8", get1+"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n",
			get1+"Sec-WebSocket-Version: 777\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
		accepted("RFC 9110 §7.8", "GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n", get1+"\r\n"),
		// Only that trailers are understood is passed on.
		accepted("RFC 9110 §10.1.4", get1+"TE: trailers\r\n\r\n", get1+"TE: trailers\r\nConnection: TE\r\n\r\n"),
		accepted("RFC 9110 §10.1.4", get1+"Connection: TE\r\nTE: gzip, Trailers, chunked\r\n\r\n", get1+"TE: trailers\r\nConnection: TE\r\n\r\n"),
		accepted("RFC 9110 §10.1.4", get1+"TE: gzip\r\n\r\n", get1+"\r\n"),
		refused("RFC 9110 §6.5.1", post1+"Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
	}
	for _, expectation := range []string{"100-continue, x", "x", "", "100-continue;q=1", "100-continue\r\nExpect: 100-continue", "200-ok", "100_continue", "100"} {
		all = append(all, refused("RFC 9110 §10.1.1", post1+"Expect: "+expectation+"\r\n"+body, 417))
	}
	all = append(all,
		refused("RFC 9112 §5.1", post1+"Expect : 100-continue\r\n"+body, 400),
		refused("RFC 9112 §5.2", post1+"Expect:\r\n 100-continue\r\n"+body, 400),
		// Content that has come is not asked for. In HTTP/1.0, and without content, nothing is expected.
		accepted("RFC 9110 §10.1.1", post1+"Expect: 100-Continue\r\n"+body, post1+"Content-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"),
		accepted("RFC 9110 §10.1.1", get1+"Expect: 100-continue\r\n\r\n", get1+"\r\n"),
		accepted("RFC 9110 §10.1.1", strings.Replace(post1, "1.1", "1.0", 1)+"Connection: keep-alive\r\nExpect: x\r\n"+body, post1+body),
	)
	attacks(t, all)
}

// Each request of many in one piece is answered for itself: none swallows, or is swallowed.
func TestSmugglingInAPipeline(t *testing.T) {
	r := start(t)
	var request, server string
	var status []int
	for i := range 20 {
		head := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a.test\r\n", i)
		switch i % 4 {
		case 0:
			request, server = request+head+"\r\n", server+head+"\r\n"
		case 1: // with content that is a request
			content := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner)
			request, server = request+head+content, server+head+content
		case 2:
			content := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)
			request, server = request+head+content, server+head+content
		case 3: // an empty line before it
			request, server = request+"\r\n"+head+"\r\n", server+head+"\r\n"
		}
		status = append(status, 200)
	}
	recorder := record(t)
	config, at := r.config(recorder.address)
	r.apply(config)
	got := send(t, at, request+get1+"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"+second)
	config.Services["web"] = service(deadAddress(t))
	r.apply(config)
	all, err := statuses(got)
	want(t, "answers", fmt.Sprint(all, err), fmt.Sprint(append(status, 400), nil))
	want(t, "the server", ownFields.ReplaceAllString(recorder.all(t), ""), server)
}
