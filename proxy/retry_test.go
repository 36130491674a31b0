package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
	"tripod/proxy/web/rule"
)

// A server that ends every connection with its second request sees a request twice at most, however many connections idle.
func TestRequestIsRepeatedOnce(t *testing.T) {
	const conns = 5
	r := start(t)
	var mu sync.Mutex
	seen := map[string]int{}
	var together sync.WaitGroup
	together.Add(conns)
	at := r.serve(rawBackend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for n := 0; n < 2; n++ {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			mu.Lock()
			seen[req.Method]++
			mu.Unlock()
			if n == 1 {
				return
			}
			if req.URL.Path == "/together" {
				together.Done()
				together.Wait()
			}
			io.WriteString(c, okHello)
		}
	}))
	var all sync.WaitGroup
	for range conns {
		b := browse(t, at)
		all.Go(func() {
			if _, _, err := b.do("GET", "/together HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	r.idle(t)
	for method, tt := range map[string]struct{ status, times int }{"DELETE": {200, 2}, "POST": {502, 1}} {
		res, _, err := browse(t, at).do(method, "/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		if err != nil || res.StatusCode != tt.status {
			t.Errorf("%s: %v, %v", method, res, err)
		}
		mu.Lock()
		want(t, "times that the server saw "+method, seen[method], tt.times)
		mu.Unlock()
	}
}

// The time for the answer begins with the connection, and not with the waiting for a server.
func TestWaitingForAServerIsNotWaitingForItsAnswer(t *testing.T) {
	const limit = 800 * time.Millisecond
	well := make(chan struct{})
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			<-well
		}
	}
	w := newWay(t, server, false, upstream.HTTP, func(c *Config) {
		withTimeouts(rule.TimeoutsConfig{}, rule.TimeoutsConfig{FirstByte: ms(int(limit.Milliseconds()))})(c)
		s := c.Services["web"]
		s.Health = &health.Config{Path: "/health", Timeout: 10 * time.Second}
		c.Services["web"] = s
	})
	time.AfterFunc(limit*5/4, func() { close(well) })
	want(t, "status", w.do(t, "GET", "/", "").StatusCode, 200)
}
