package upstream

import (
	"errors"
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
	for _, tt := range []struct {
		initial health.Initial
		results string // . passes, x fails, D is an agent's word that it is down
		states  string // after each: U or d
		changes string // after each, whether the next is to come sooner: ! or -
	}{
		{"", ".", "U", "-"},       // the first pass is enough
		{"", "xx.", "ddU", "!!-"}, // also after failures
		{"", "xxxxx", "ddddd", "!!!!!"},
		{"", ".xx.", "UUUU", "-!!-"},       // fall is 3
		{"", ".xxx..", "UUUddU", "-!!-!-"}, // rise is 2
		{"", ".xxxx..", "UUUdddU", "-!!--!-"},
		{"", ".xxx.x..", "UUUddddU", "-!!-!-!-"},
		{"", ".xx.xx.xxx", "UUUUUUUUUd", "-!!-!!-!!-"},
		{"", ".D..", "UddU", "--!-"}, // nobody asks an agent twice
		{"", ".xD", "UUd", "-!-"},
		{"", "D.", "dU", "!-"},
		{health.Up, ".", "U", "-"},
		{health.Up, "xxx", "UUd", "!!!"},
		{health.Up, "xxx.", "UUdU", "!!!-"}, // it was never seen well, so one pass is enough
		{health.Up, "x.", "UU", "!-"},
		{health.Up, "D", "d", "!"},
	} {
		c := Config{Servers: []ServerConfig{{Address: silent(t)}}, Health: &health.Config{Interval: time.Hour, Timeout: time.Hour, Initial: tt.initial}}
		p, s := pool(t, c)
		server := s.servers[0]
		if up(p) != (tt.initial == health.Up) {
			t.Errorf("%s: up %t at first", tt.initial, up(p))
		}
		var states, changes strings.Builder
		for _, r := range tt.results {
			server.result(server.check, server.check.probe.Config(), health.Verdict{}, map[rune]error{'x': errors.New("bad"), 'D': &health.DownError{Word: "down"}}[r])
			states.WriteByte(map[bool]byte{true: 'U', false: 'd'}[up(p)])
			changes.WriteByte(map[bool]byte{true: '!', false: '-'}[server.changing()])
		}
		if states.String() != tt.states || changes.String() != tt.changes {
			t.Errorf("%s %s: got %s and %s, want %s and %s", tt.initial, tt.results, &states, &changes, tt.states, tt.changes)
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

// While a server's state is about to change, and until it was up once, it is asked at fastinter; else it is not.
func TestFastinter(t *testing.T) {
	c := newChecked(t, 500)
	h := &health.Config{Interval: time.Hour, Fast: 5 * time.Millisecond, Timeout: 20 * time.Second, Fall: 3, Rise: 3}
	config := Config{Servers: []ServerConfig{{Address: c.address}}, Health: h}
	p, _ := pool(t, config)
	next := func() time.Duration { return time.Until(p.Status()[0].Servers[0].Next) }
	eventually(t, "many failed checks of a server that was never up", func() bool { return c.checks.Load() > 10 })
	c.status.Store(200)
	eventually(t, "up", func() bool { return up(p) })
	eventually(t, "an hour until the next check", func() bool { return next() > 50*time.Minute })

	// A streak that runs is asked about at fastinter, however short the interval.
	config.Health = &health.Config{Interval: 5 * time.Millisecond, Fast: time.Hour, Timeout: 20 * time.Second, Fall: 3, Rise: 3}
	c.status.Store(500)
	commit(p, map[string]Config{"s": config})
	eventually(t, "an hour until the second failure", func() bool { return next() > 50*time.Minute })
	if st := p.Status()[0].Servers[0]; !st.Up || st.Error == "" {
		t.Errorf("status %+v", st)
	}
}

// With initial: up a new server gets requests before its first check has ended; without it they wait for that.
func TestInitial(t *testing.T) {
	_, s := pool(t, Config{Servers: []ServerConfig{{Address: silent(t)}}, Health: &health.Config{Initial: health.Up, Interval: time.Hour, Timeout: time.Hour}})
	server, err := s.Acquire(t.Context(), &Ask{})
	if err != nil {
		t.Fatal(err)
	}
	server.Release()
	_, s = pool(t, Config{Servers: []ServerConfig{{Address: silent(t)}}, Health: &health.Config{Interval: time.Hour, Timeout: 100 * time.Millisecond}})
	if _, err = s.Acquire(t.Context(), &Ask{}); !errors.Is(err, ErrNoneUp) {
		t.Errorf("a server that was never well: %v", err)
	}
}

// What was asked before the document changed says nothing about what is asked now, whenever it is answered.
func TestLateAnswersAreDropped(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/old" {
			asked <- struct{}{}
			<-release
			w.WriteHeader(500)
		}
	}))
	t.Cleanup(s.Close)
	config := Config{Servers: []ServerConfig{{Address: s.Listener.Addr().String()}}, Health: &health.Config{Path: "/old", Interval: time.Hour, Timeout: time.Hour}}
	p, service := pool(t, config)
	<-asked
	config.Health = &health.Config{Path: "/new", Interval: time.Hour, Timeout: time.Hour}
	commit(p, map[string]Config{"s": config})
	close(release)
	eventually(t, "up by the new check, at once", func() bool { return up(p) })
	if server := service.servers[0]; server.failed.Load() != 0 || server.passed.Load() != 1 {
		t.Errorf("%d passed, %d failed", server.passed.Load(), server.failed.Load())
	}
}

// A server that comes back from maintenance may be another than the one that went: it has to pass before it gets requests, as a new one has.
func TestAfterMaintenanceServersAreCheckedAnew(t *testing.T) {
	c := newChecked(t, 200)
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: c.address}}, Health: &health.Config{Interval: time.Hour, Fast: 5 * time.Millisecond, Timeout: 20 * time.Second, Rise: 2, Fall: 2}})
	order := func(state OrderState) { p.SetOrders(map[string]map[string]Order{"s": {c.address: {State: state}}}) }
	eventually(t, "up", func() bool { return up(p) })
	order(Maint)
	if st := p.Status()[0].Servers[0]; st.State != StateMaint || st.Check != "" {
		t.Errorf("status %+v", st)
	}
	c.status.Store(500)
	n := c.checks.Load()
	order(Ready)
	if _, err := s.Acquire(t.Context(), &Ask{}); !errors.Is(err, ErrNoneUp) {
		t.Errorf("before it passed: %v", err)
	}
	if c.checks.Load() == n {
		t.Error("not checked anew")
	}
	order(Maint)
	c.status.Store(200)
	order(Ready)
	server, err := s.Acquire(t.Context(), &Ask{})
	if err != nil {
		t.Fatalf("the first pass is not enough: %v", err)
	}
	server.Release()
}
