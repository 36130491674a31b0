package proxy

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// Requests that do not come to their end: what stands behind them may be a part of them, so that it is never answered.
func TestContentThatDoesNotCome(t *testing.T) {
	r := start(t, func(o *Options) { o.Timeouts.Body = 500 * time.Millisecond })
	for _, c := range []struct{ rule, request, server string }{
		{"RFC 9112 §6.3", post1 + "Content-Length: 500\r\n\r\nhello", post1 + "Content-Length: 500\r\n\r\nhello" + second},
		{"RFC 9112 §6.3", get1 + "Content-Length: 500\r\n\r\n", get1 + "Content-Length: 500\r\n\r\n" + second},
		{"RFC 9112 §6.3", post1 + "Content-Length: 999999999999999999\r\n\r\n", post1 + "Content-Length: 999999999999999999\r\n\r\n" + second},
		{"RFC 9112 §7.1", post1 + "Transfer-Encoding: chunked\r\n\r\n1f4\r\n", chunkedUp + fmt.Sprintf("%x\r\n%s\r\n", len(second), second)},
	} {
		t.Run(c.rule+fmt.Sprintf(" %.60q", strings.TrimPrefix(c.request, post1)), func(t *testing.T) {
			r.try(t, attack{rule: c.rule, request: c.request, status: 408, server: c.server})
		})
	}
}

// A head that comes too slowly is refused, however steadily it comes, or stops to come.
func TestSlowHead(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a head may")
	}
	t.Parallel()
	r := start(t)
	server := record(t)
	config, plain := r.config(server.address)
	secure := r.secure(&config)
	var all sync.WaitGroup
	defer all.Wait()
	for _, c := range []struct {
		name string
		b    *browser
		text string
	}{
		{"plain", browse(t, plain), "GET / HTTP/1.1\r\nHost: a.test\r\n"},
		{"request line", browse(t, plain), "GET /"},
		{"TLS", browseTLS(t, secure), "GET / HTTP/1.1\r\nHost: a.test\r\n"},
		{"second request", browse(t, plain), get1 + "\r\n" + get1},
		{"one byte", browse(t, plain), "G"},
		{"one byte over TLS", browseTLS(t, secure), "G"},
	} {
		io.WriteString(c.b.c, c.text)
		if c.name == "second request" {
			if res, _, err := c.b.read("GET"); err != nil || res.StatusCode != 200 {
				t.Fatal(res, err)
			}
		}
		stop := make(chan struct{})
		if len(c.text) > 1 {
			all.Go(func() { drip(c.b.c, stop) })
		}
		all.Go(func() {
			defer close(stop)
			res, _, err := c.b.read("GET")
			if err != nil || res.StatusCode != 408 || !res.Close {
				t.Errorf("%s: got %v, %v", c.name, res, err)
			}
		})
	}
}

// drip writes a byte now and then.
func drip(w io.Writer, stop <-chan struct{}) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			io.WriteString(w, "x")
		case <-stop:
			return
		}
	}
}
