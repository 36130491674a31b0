package proxy

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// A request that waits for its turn leaves the queue when its client does, and says so when it takes too long as a whole.
func TestTheQueueIsLeft(t *testing.T) {
	let := make(chan bool)
	var arrived atomic.Int32
	everyWay(t, func(w http.ResponseWriter, r *http.Request) {
		arrived.Add(1)
		<-let
	}, func(c *Config) {
		s := c.Services["web"]
		wait := time.Hour
		s.Limits = &upstream.LimitsConfig{Requests: 1, Wait: &wait}
		c.Services["web"] = s
		c.Routes = append(c.Routes, RouteConfig{Path: "/short", Service: "web", Rules: rule.Config{Common: rule.Common{Timeouts: &rule.TimeoutsConfig{Total: ms(300)}}}})
	}, func(t *testing.T, w *way) {
		arrived.Store(0)
		var all sync.WaitGroup
		all.Go(func() { want(t, "status of the first", w.do(t, "GET", "/", "").StatusCode, 200) })
		eventually(t, "the service is full", func() bool { return arrived.Load() == 1 })
		queued := func() int64 { return w.p.Status().Services[0].Queued }

		ctx, cancel := context.WithCancel(t.Context())
		for _, method := range []string{"GET", "POST"} {
			all.Go(func() {
				req, _ := http.NewRequestWithContext(ctx, method, w.url, nil)
				if res, err := w.client.Do(req); err == nil {
					res.Body.Close()
					t.Errorf("an answer of nobody: %s", res.Status)
				}
			})
		}
		eventually(t, "two wait", func() bool { return queued() == 2 })
		cancel()
		eventually(t, "nobody waits", func() bool { return queued() == 0 })
		want(t, "status of one that takes too long", w.do(t, "GET", "/short", "").StatusCode, 504)
		want(t, "those that wait", queued(), 0)
		let <- true
		all.Wait()
		eventually(t, "nobody runs", func() bool { return w.p.Status().Services[0].Running == 0 })
	})
}

// A request whose server cannot be reached waits for its turn at another one.
func TestWhoWasRefusedWaitsForTheOthers(t *testing.T) {
	let, arrived := make(chan bool), make(chan bool, 2)
	r := start(t)
	c, at := r.config(deadAddress(t), backend(t, func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-let
		io.WriteString(w, "well")
	}))
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Servers[1].MaxConnections = 1
	s.Passive = &upstream.PassiveConfig{Failures: new(int)}
	wait := time.Hour
	s.Limits = &upstream.LimitsConfig{Wait: &wait}
	c.Services["web"] = s
	r.apply(c)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			res, err := client(t, false).Post("http://"+at, "", nil)
			if err != nil {
				t.Error(err)
				return
			}
			res.Body.Close()
			want(t, "status", res.StatusCode, 200)
		})
	}
	<-arrived
	eventually(t, "the other one waits", func() bool { return r.p.Status().Services[0].Queued == 1 })
	let <- true
	let <- true
	all.Wait()
}
