package upstream

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream/health"
)

// checked is a server whose health is switched, and that counts its checks.
type checked struct {
	address string
	status  atomic.Int32
	checks  atomic.Int32
	conns   atomic.Int32
	request atomic.Pointer[http.Request]
}

func newChecked(t *testing.T, status int) *checked {
	t.Helper()
	c := &checked{}
	c.status.Store(int32(status))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.checks.Add(1)
		c.request.Store(r)
		w.WriteHeader(int(c.status.Load()))
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			c.conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	c.address = s.Listener.Addr().String()
	return c
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// silent is the address of a server that takes connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().String()
}

func up(p *Pool) bool { return p.Status()[0].Servers[0].Up }

func TestHealthFollowsTheServer(t *testing.T) {
	c := newChecked(t, 204)
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: c.address}}, Health: &health.Config{Path: "/h?x=1", Host: "shop.test", Interval: 5 * time.Millisecond}})
	if _, err := s.Acquire(t.Context(), &Ask{}); err != nil {
		t.Errorf("a request while the first check runs: %v", err)
	}
	if n := c.checks.Load(); n < 1 {
		t.Error("up without a check")
	}
	r := c.request.Load()
	if r.Method != "GET" || r.RequestURI != "/h?x=1" || r.Host != "shop.test" || !r.Close {
		t.Errorf("asked %s %s at %s", r.Method, r.RequestURI, r.Host)
	}
	since := p.Status()[0].Servers[0].Since
	c.status.Store(503)
	eventually(t, "down", func() bool { return !up(p) })
	st := p.Status()[0].Servers[0]
	if st.Error != "answered 503 Service Unavailable" || !st.Since.After(since) || st.Checking {
		t.Errorf("status %+v", st)
	}
	if _, err := s.Acquire(t.Context(), &Ask{}); !errors.Is(err, ErrNoneUp) {
		t.Errorf("down: %v", err)
	}
	c.status.Store(302)
	eventually(t, "up again", func() bool { return up(p) })
	if c.conns.Load() < c.checks.Load() {
		t.Errorf("%d checks on %d connections", c.checks.Load(), c.conns.Load())
	}
}

// TestRiseAndFall feeds results by hand, for exactness.
func TestRiseAndFall(t *testing.T) {
	bad := errors.New("bad")
	for _, tt := range []struct {
		results string // . passes, x fails
		states  string // after each: U or d
	}{
		{".", "U"},           // the first pass is enough
		{"xx.", "ddU"},       // also after failures
		{".xx.", "UUUU"},     // fall is 3
		{".xxx..", "UUUddU"}, // rise is 2
		{".xxx.x..", "UUUddddU"},
		{".xx.xx.xxx", "UUUUUUUUUd"},
	} {
		p, s := pool(t, Config{Servers: []ServerConfig{{Address: silent(t)}}, Health: &health.Config{Interval: time.Hour, Timeout: time.Hour}})
		server := s.servers[0]
		var got strings.Builder
		for _, r := range tt.results {
			var err error
			if r == 'x' {
				err = bad
			}
			server.result(server.check, server.check.probe.Config(), health.Verdict{}, err)
			if up(p) {
				got.WriteByte('U')
			} else {
				got.WriteByte('d')
			}
		}
		if got.String() != tt.states {
			t.Errorf("%s: got %s, want %s", tt.results, got.String(), tt.states)
		}
	}
}

func TestHealthSurvivesChanges(t *testing.T) {
	c := newChecked(t, 500)
	config := Config{Servers: []ServerConfig{{Address: c.address}}, Health: &health.Config{Interval: time.Hour}}
	p, s := pool(t, config)
	eventually(t, "first check", func() bool { return !p.Status()[0].Servers[0].Checking })
	changed := config
	changed.Servers = []ServerConfig{{Address: c.address, Weight: ptr(2)}}
	changed.Health = &health.Config{Interval: 10 * time.Millisecond, Path: "/new"}
	commit(p, map[string]Config{"s": changed})
	if up(p) || p.Status()[0].Servers[0].Checking {
		t.Error("a change forgot what was known")
	}
	eventually(t, "the new check", func() bool { return c.request.Load().URL.Path == "/new" })
	changed.Health = nil
	commit(p, map[string]Config{"s": changed})
	if !up(p) {
		t.Error("down without a check")
	}
	n := c.checks.Load()
	commit(p, map[string]Config{"s": config})
	if !up(p) {
		t.Error("a check that was added took the server down before its first result")
	}
	eventually(t, "checks again", func() bool { return c.checks.Load() > n })
	if s.servers[0].total.Load() != 0 {
		t.Error("checks count as requests")
	}
}

func TestManyChecksAreSpreadAndBounded(t *testing.T) {
	var now, most, total atomic.Int32
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		total.Add(1)
	})}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	services := map[string]Config{}
	const n = 600
	for i := range n {
		services[fmt.Sprint("s", i)] = Config{Servers: []ServerConfig{{Address: "127.0.0.1:" + port}}, Health: &health.Config{Interval: 200 * time.Millisecond, Timeout: 20 * time.Second}}
	}
	p, _ := pool(t, Config{Servers: []ServerConfig{{Address: "a:1"}}})
	start := time.Now()
	commit(p, services)
	p.checker.mu.Lock()
	span := p.checker.queue[0].due
	last := span
	for _, c := range p.checker.queue {
		if c.due.After(last) {
			last = c.due
		}
	}
	p.checker.mu.Unlock()
	if d := last.Sub(start); d < 100*time.Millisecond {
		t.Errorf("all first checks within %s", d)
	}
	eventually(t, "every server up", func() bool {
		for _, s := range p.Status() {
			if !s.Servers[0].Up {
				return false
			}
		}
		return true
	})
	if most.Load() > maxChecks {
		t.Errorf("%d checks at once", most.Load())
	}
	commit(p, nil)
	p.checker.mu.Lock()
	left := len(p.checker.queue)
	p.checker.mu.Unlock()
	if left != 0 {
		t.Errorf("%d checks left", left)
	}
}
