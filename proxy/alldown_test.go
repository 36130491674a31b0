package proxy

import (
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
)

// Where servers are asked although they are down, that they are down is no reason to leave them.
func TestPanicKeepsToItsServers(t *testing.T) {
	var seen atomic.Int32
	h := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			w.WriteHeader(500)
			return
		}
		seen.Add(1)
		time.Sleep(1500 * time.Millisecond) // which is longer than a server that is down is waited for
	}
	everyWay(t, h, func(c *Config) {
		s := c.Services["web"]
		s.Servers = append(s.Servers, upstream.ServerConfig{Address: bilingual(t, h)})
		s.Health = &health.Config{Path: "/health", Interval: 10 * time.Millisecond, Fall: 1}
		s.AllDown = upstream.Panic
		c.Services["web"] = s
	}, func(t *testing.T, w *way) {
		seen.Store(0)
		eventually(t, "both are down", func() bool {
			servers := w.p.Status().Services[0].Servers
			return servers[0].State == upstream.StateDown && servers[1].State == upstream.StateDown
		})
		want(t, "status", w.do(t, "GET", "/", "").StatusCode, 200)
		want(t, "times that it was seen", seen.Load(), 1)
	})
}
