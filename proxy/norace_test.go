//go:build !race

package proxy

import (
	"testing"
)

// The race detector allocates, and empties pools.

// A request on a connection that goes on costs the heap nothing.
func TestRequestsDoNotAllocate(t *testing.T) {
	r := start(t, quiet)
	config, plain := r.config(rawServer(t))
	secure := r.secure(&config)
	const fields = "Host: a.test\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\nCookie: a=b; c=d\r\n"
	for _, c := range []struct{ name, request string }{
		{"GET", "GET /a/b?c=d HTTP/1.1\r\n" + fields + "\r\n"},
		{"POST", "POST /a/b HTTP/1.1\r\n" + fields + "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"},
	} {
		for _, way := range []string{"plain", "TLS"} {
			t.Run(c.name+" "+way, func(t *testing.T) {
				conn, most := browse(t, plain).c, 0.0
				if way == "TLS" {
					// Package tls allocates a reader of 24 bytes for each record that it reads, here as at the client.
					conn, most = browseTLS(t, secure).c, 2
				}
				run := exchanges(t, conn, c.request)
				for range 100 { // pools fill, and slices grow
					run()
				}
				if n := testing.AllocsPerRun(2000, run); n > most {
					t.Errorf("%v allocations for each request", n)
				}
			})
		}
	}
}
