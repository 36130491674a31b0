package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// judge is a server that finds out whether all that it gets is requests as the proxy makes them, by net/http's reading.
type judge struct{ wrong atomic.Pointer[string] }

func (j *judge) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err == nil {
			if len(req.Header["X-Request-Id"]) != 1 || fmt.Sprint(req.Header["X-Forwarded-For"]) != "[127.0.0.1]" || len(req.Header) > 300 {
				j.complain("a request that the proxy did not make: %v", req)
			}
			_, err = io.Copy(io.Discard, req.Body)
		}
		switch {
		case err == nil:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, new(*net.OpError)):
			return // the client broke off
		default:
			j.complain("no request: %v", err)
			return
		}
	}
}

func (j *judge) complain(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	j.wrong.Store(&text)
}

// FuzzProxy throws bytes at the whole proxy, in two pieces: the server gets well-formed requests only, each made by the proxy, and the client
// well-formed answers.
func FuzzProxy(f *testing.F) {
	for _, s := range []string{
		get1 + "\r\n" + get1 + "\r\n", post1 + "Content-Length: 5\r\n\r\nhello" + second, post1 + "Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX: y\r\n\r\n" + second,
		post1 + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello", "GET http://a.test/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + second,
		get1 + "Connection: Upgrade, X\r\nUpgrade: websocket\r\nX: y\r\nTE: trailers\r\n\r\nmore", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		post1 + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inner, "\r\n" + get1 + "X : y\r\n\r\n" + inner,
	} {
		f.Add([]byte(s), uint16(len(s)/2))
	}
	j := &judge{}
	server := rawBackend(f, j.serve)
	at := startFuzz(f, server)
	f.Fuzz(func(t *testing.T, wire []byte, cut uint16) {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		go func() { // the proxy may stop to read
			n := min(int(cut), len(wire))
			c.Write(wire[:n])
			c.Write(wire[n:])
			c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Fatalf("%q: %v, after %q", wire, err, got)
		}
		if wrong := j.wrong.Load(); wrong != nil {
			t.Fatalf("%q: %s", wire, *wrong)
		}
		if strings.Contains(string(wire), "HEAD") {
			return // answers that look as if they had content
		}
		if _, err := statuses(got); err != nil {
			t.Fatalf("%q: answers %q: %v", wire, got, err)
		}
	})
}

// startFuzz serves a server, for a fuzz target.
func startFuzz(f *testing.F, server string) string {
	p := opened(f)
	port := freePort(f, p.opts.Local)
	if err := p.Apply(f.Context(), Config{
		Listeners: map[string]ListenerConfig{"http": {Address: fmt.Sprintf(":%d", port)}},
		Routes:    []RouteConfig{{Service: "web"}},
		Services:  map[string]upstream.Config{"web": service(server)},
	}); err != nil {
		f.Fatal(err)
	}
	return fmt.Sprintf("%s:%d", p.opts.Local, port)
}
