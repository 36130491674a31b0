package h1

import (
	"io"
	"testing"

	"tripod/proxy/web/message"
)

// A browser's request and a server's response, as they come by the thousand.
const (
	typicalRequest = "GET /static/app.js?v=17 HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept: */*\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n" +
		"Referer: https://shop.example.com/\r\nCookie: session=0123456789abcdef; theme=dark\r\nPriority: u=2\r\n\r\n"
	typicalPost = "POST /api HTTP/1.1\r\nHost: [2001:db8::1]:8443\r\nContent-Type: application/json\r\nContent-Length: 17\r\n" +
		"Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nExpect: 100-continue\r\nTE: trailers\r\n\r\n"
	typicalResponse = "HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: text/html; charset=utf-8\r\n" +
		"Content-Length: 1234\r\nConnection: keep-alive\r\nETag: \"abc\"\r\nVary: Accept-Encoding\r\nSet-Cookie: a=b; Path=/\r\n\r\n"
)

func TestParsingDoesNotAllocate(t *testing.T) {
	var req message.Request
	var res message.Response
	chunks := []byte("5;x=y\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n")
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"request", parser(typicalRequest, func(b []byte) (int, error) { return ParseRequest(&req, b) })},
		{"request with content", parser(typicalPost, func(b []byte) (int, error) { return ParseRequest(&req, b) })},
		{"response", parser(typicalResponse, func(b []byte) (int, error) { return ParseResponse(&res, b) })},
		{"chunks", func() error {
			var c Chunked
			for rest := chunks; ; {
				_, n, err := c.Decode(rest)
				if err == io.EOF {
					return nil
				} else if err != nil {
					return err
				}
				rest = rest[n:]
			}
		}},
	} {
		var err error
		if n := testing.AllocsPerRun(1000, func() { err = c.run() }); n != 0 || err != nil {
			t.Errorf("%s: %v allocations, error %v", c.name, n, err)
		}
	}
}

func parser(head string, parse func([]byte) (int, error)) func() error {
	b := []byte(head)
	return func() error {
		_, err := parse(b)
		return err
	}
}

func BenchmarkParseRequest(b *testing.B) {
	var r message.Request
	head := []byte(typicalRequest)
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(&r, head); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseResponse(b *testing.B) {
	var r message.Response
	head := []byte(typicalResponse)
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseResponse(&r, head); err != nil {
			b.Fatal(err)
		}
	}
}
