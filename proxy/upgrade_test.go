package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// switching is a server that changes to a protocol in which it answers each line with the same in capitals. What it says first comes in one
// piece with its answer.
func switching(t *testing.T, protocol string) string {
	return rawBackend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		req, err := http.ReadRequest(in)
		if err != nil || req.Header.Get("Upgrade") == "" {
			return
		}
		io.Copy(io.Discard, req.Body)
		fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\nX-Extra: 1\r\n\r\nfirst\n", protocol)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			io.WriteString(c, strings.ToUpper(line))
		}
		io.WriteString(c, "bye\n")
		c.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, in)
	})
}

// Any protocol may follow, and nothing of it is lost that comes in one piece with what is before it.
func TestUpgradeToAnything(t *testing.T) {
	r := start(t)
	config, plain := r.config(switching(t, "Shout/2"))
	secure := r.secure(&config)
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout/2\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: whisper, shout/2\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: SHOUT/2\r\nContent-Length: 5\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout/2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		for _, open := range []func() *browser{func() *browser { return browse(t, plain) }, func() *browser { return browseTLS(t, secure) }} {
			b := open()
			io.WriteString(b.c, request+"behind\n")
			res, err := http.ReadResponse(b.in, nil)
			if err != nil || res.StatusCode != 101 || !strings.EqualFold(res.Header.Get("Upgrade"), "shout/2") || res.Header.Get("X-Extra") != "1" {
				t.Fatalf("%q: got %v, %v", request, res, err)
			}
			for _, line := range []string{"first\n", "BEHIND\n"} {
				got, err := b.in.ReadString('\n')
				want(t, "a line", fmt.Sprint(got, err), fmt.Sprint(line, nil))
			}
			io.WriteString(b.c, "later\n")
			got, err := b.in.ReadString('\n')
			want(t, "a line", fmt.Sprint(got, err), fmt.Sprint("LATER\n", nil))
			// Each direction ends for itself.
			b.c.(interface{ CloseWrite() error }).CloseWrite()
			rest, err := io.ReadAll(b.in)
			want(t, "the rest", fmt.Sprint(string(rest), err), fmt.Sprint("bye\n", nil))
			b.c.Close()
		}
	}
	r.idle(t)
	eventually(t, "closed connections", func() bool {
		s := r.p.Status()
		return s.Listeners[0].Connections+s.Listeners[1].Connections == 0
	})
}

// A protocol that was not asked for, or in the middle of a request, is no answer (RFC 9110 §7.8).
func TestUpgradeThatIsNone(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ request, protocol string }{
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n", "other"},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n", "shout, other"},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n", ""},
		{"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n", "h2c"},
		{"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: shout\r\n\r\n", "shout"},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "shout"},
	} {
		at := r.serve(rawBackend(t, func(conn net.Conn) {
			http.ReadRequest(bufio.NewReader(conn))
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: %s\r\n\r\n%s", c.protocol, poison)
			io.Copy(io.Discard, conn)
		}))
		b := browse(t, at)
		io.WriteString(b.c, c.request)
		if res, body, err := b.read("GET"); err != nil || res.StatusCode != 502 {
			t.Errorf("%q, %q: got %v %q, %v", c.request, c.protocol, res, body, err)
		}
	}
	at := r.serve(rawBackend(t, func(conn net.Conn) {
		http.ReadRequest(bufio.NewReader(conn))
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: shout\r\n\r\n"+poison)
		io.Copy(io.Discard, conn)
	}))
	for _, framing := range []string{"Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		b := browse(t, at)
		io.WriteString(b.c, "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: shout\r\n"+framing)
		if res, body, err := b.read("POST"); err != nil || res.StatusCode != 502 || !res.Close {
			t.Errorf("%q: got %v %q, %v", framing, res, body, err)
		}
		b.ends()
	}
}
