package proxy

import (
	"fmt"
	"io"
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// arrived returns when all that was written to a connection is in the other side's kernel.
func arrived(t *testing.T, c net.Conn) {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	eventually(t, "an acknowledgement", func() bool {
		left := 0
		_ = raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
		return err == nil && left == 0
	})
}

// What a server says while nobody asks is no answer to whoever asks next (response queue poisoning, RFC 9112 §9.2).
func TestUnsolicitedAnswers(t *testing.T) {
	const tooLate = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
	for _, c := range []struct {
		name, method, first, later string
		close                      bool
	}{
		{"an answer", "GET", okHello, poison, false},
		{"content of an answer to HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 52\r\n\r\n", poison, false},
		{"content of 204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", poison, false},
		{"content of 304", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 52\r\n\r\n", poison, false},
		{"goodbye", "GET", okHello, tooLate, true},
		{"an interim answer", "GET", okHello, "HTTP/1.1 103 Early Hints\r\nLink: poison\r\n\r\n", false},
		{"an empty line", "GET", okHello, "\r\n", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t)
			answered, said := make(chan struct{}), make(chan struct{})
			server := script(t, c.first, func(conn net.Conn) {
				<-answered
				io.WriteString(conn, c.later)
				arrived(t, conn)
				if c.close {
					conn.Close()
				}
				close(said)
			})
			at := r.serve(server.address)
			b := browse(t, at)
			if _, _, err := b.do(c.method, toFirst); err != nil {
				t.Fatal(err)
			}
			// The connection has idled before anybody says more.
			r.idle(t)
			close(answered)
			<-said
			for _, method := range []string{"GET", "POST", "GET"} {
				res, body, err := b.do(method, "/next HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx")
				if err != nil || res.StatusCode != 200 || body != "/next" {
					t.Fatalf("%s: got %v %q, %v", method, res, body, err)
				}
			}
			for _, n := range server.on("/next") {
				if n == 1 {
					t.Errorf("the next requests came on connections %v", server.on("/next"))
				}
			}
		})
	}
}

// Servers close idle connections whenever they like. No request suffers: what may be sent again is, and what may not goes only where it is
// known to arrive.
func TestServerClosesIdleConnections(t *testing.T) {
	r := start(t)
	go1 := make(chan struct{})
	closed := make(chan struct{})
	server := script(t, okHello, func(conn net.Conn) {
		<-go1
		conn.(*net.TCPConn).CloseWrite()
		arrived(t, conn)
		conn.Close()
		closed <- struct{}{}
	})
	at := r.serve(server.address)
	b := browse(t, at)
	n := 0
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "BREW"} {
		if _, _, err := b.do("GET", toFirst); err != nil {
			t.Fatal(err)
		}
		r.idle(t)
		go1 <- struct{}{}
		<-closed
		for _, content := range []string{"Content-Length: 4\r\n\r\nonce", "Transfer-Encoding: chunked\r\n\r\n4\r\nonce\r\n0\r\n\r\n", "\r\n"} {
			path := fmt.Sprintf("/%d", n)
			n++
			res, body, err := b.do(method, path+" HTTP/1.1\r\nHost: a.test\r\n"+content)
			if err != nil || res.StatusCode != 200 || method != "HEAD" && body != path {
				t.Fatalf("%s: got %v %q, %v", method, res, body, err)
			}
			want(t, "times that the server was asked", len(server.on(path)), 1)
		}
	}
}
