package upstream

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tripod/proxy/upstream/health"
)

var errTest = errors.New("connection refused")

// states are those of the service's servers, in order.
func states(s *Service) string {
	var all []string
	for _, server := range s.status().Servers {
		all = append(all, string(server.State))
	}
	return strings.Join(all, " ")
}

func fail(s *Server, times int) {
	for range times {
		s.Failed(errTest)
	}
}

func TestFailuresInARowEject(t *testing.T) {
	_, s := pool(t, Config{Servers: named("abc"), Passive: &PassiveConfig{Failures: ptr(3), Eject: 40 * time.Millisecond}})
	a := s.servers[0]
	fail(a, 2)
	a.Answered(200)
	fail(a, 2)
	if got := states(s); got != "up up up" {
		t.Fatalf("without three in a row: %s", got)
	}
	fail(a, 1)
	if got := states(s); got != "ejected up up" {
		t.Fatalf("after three in a row: %s", got)
	}
	if got := take(t, s, 8); strings.Contains(got, "a") {
		t.Errorf("an ejected server gets requests: %s", got)
	}
	st := s.status().Servers[0]
	if st.Why != "ejected: connection refused" || st.Next.IsZero() || !st.Up || st.Faults != 5 {
		t.Errorf("status: %+v", st)
	}
	eventually(t, "it is back", func() bool { return states(s) == "up up up" })
	// On probation: one failure suffices, and the time doubles.
	before := time.Now()
	a.Failed(errTest)
	after := time.Now()
	if got := states(s); got != "ejected up up" {
		t.Fatalf("on probation: %s", got)
	}
	s.mu.Lock()
	if until := a.ejected.until; until.Before(before.Add(80*time.Millisecond)) || until.After(after.Add(80*time.Millisecond)) {
		t.Errorf("the second time is %s to %s", until.Sub(after), until.Sub(before))
	}
	s.mu.Unlock()
	eventually(t, "it is back again", func() bool { return states(s) == "up up up" })
	a.Answered(200)
	fail(a, 2)
	if got := states(s); got != "up up up" {
		t.Errorf("it has been well since, and two failures eject it: %s", got)
	}
}

func TestOnlyAShareIsEjected(t *testing.T) {
	for _, tt := range []struct {
		servers string
		max     *int
		ejected int
	}{{"a", nil, 0}, {"ab", nil, 1}, {"abc", nil, 1}, {"abcd", nil, 2}, {"abcdefghij", ptr(20), 2}, {"abc", ptr(0), 0}, {"abc", ptr(100), 3}} {
		_, s := pool(t, Config{Servers: named(tt.servers), Passive: &PassiveConfig{Failures: ptr(1), MaxEjected: tt.max, Eject: time.Minute}})
		for _, server := range s.servers {
			fail(server, 3)
		}
		if got := strings.Count(states(s), "ejected"); got != tt.ejected {
			t.Errorf("%s, at most %v: %d ejected, want %d", tt.servers, tt.max, got, tt.ejected)
		}
		one(t, s, "").Release() // whoever is left, or all of them if none is
	}
}

func TestOutliersAreEjected(t *testing.T) {
	_, s := pool(t, Config{Servers: named("abc"), Passive: &PassiveConfig{Margin: 20, Requests: 50, Window: 30 * time.Millisecond, Eject: time.Minute}})
	for i := range 100 {
		for n, server := range s.servers {
			status := 200
			if n == 1 && i%3 == 0 || n == 2 && i%10 == 0 {
				status = 500
			}
			server.Answered(status)
		}
	}
	eventually(t, "the worst is ejected", func() bool { return states(s) == "up ejected up" })
	if why := s.status().Servers[1].Why; why != "ejected: 66 % of its answers were good, of the others' 95 %" {
		t.Errorf("why: %s", why)
	}
}

func TestFewAnswersSayNothing(t *testing.T) {
	_, s := pool(t, Config{Servers: named("abc"), Passive: &PassiveConfig{Margin: 20, Requests: 50, Window: 10 * time.Millisecond}})
	for i := range 49 {
		s.servers[0].Answered(500)
		s.servers[1].Answered(200 + i%2)
		s.servers[2].Answered(200)
	}
	eventually(t, "the window has passed", func() bool { return s.servers[1].good.Load() == 0 })
	if got := states(s); got != "up up up" {
		t.Errorf("got %s", got)
	}
}

func TestStatusesThatCountAsFailures(t *testing.T) {
	_, s := pool(t, Config{Servers: named("ab"), Passive: &PassiveConfig{Failures: ptr(2), Status: []int{502, 503}, Eject: time.Minute}})
	s.servers[0].Answered(500)
	s.servers[0].Answered(500)
	s.servers[1].Answered(503)
	s.servers[1].Answered(502)
	if got := states(s); got != "up ejected" {
		t.Errorf("got %s", got)
	}
	if why := s.status().Servers[1].Why; why != "ejected: answered 502" {
		t.Errorf("why: %s", why)
	}
}

func TestAllDown(t *testing.T) {
	bad := newChecked(t, 500)
	for _, tt := range []struct {
		all  AllDown
		want error
	}{{"", ErrNoneUp}, {FailFast, ErrNoneUp}, {Panic, nil}} {
		c := checkedConfig(bad)
		c.AllDown = tt.all
		_, s := pool(t, c)
		eventually(t, "it is down", func() bool { return states(s) == "down" })
		server, err := s.Acquire(t.Context(), &Ask{})
		if !errors.Is(err, tt.want) {
			t.Errorf("all_down: %s: %v", tt.all, err)
		}
		if err == nil {
			server.Release()
		}
	}
}

func TestSlowStart(t *testing.T) {
	p, s := pool(t, Config{Servers: named("ab"), SlowStart: 400 * time.Millisecond})
	if got := take(t, s, 4); got != "abab" {
		t.Fatalf("new servers warm up: %s", got)
	}
	p.SetOrders(map[string]map[string]Order{"s": {at("a"): {State: Maint}}})
	p.SetOrders(nil)
	if got := strings.Count(take(t, s, 110), "a"); got > 40 {
		t.Errorf("a cold server gets %d of 110", got)
	}
	if percent := s.status().Servers[0].Percent; percent >= 100 {
		t.Errorf("it is at %d %%", percent)
	}
	eventually(t, "it is warm", func() bool { return strings.Count(take(t, s, 100), "a") == 50 })
}

// checkedConfig is a service of one server that is checked often.
func checkedConfig(c *checked) Config {
	return Config{Servers: []ServerConfig{{Address: c.address}}, Health: &health.Config{Interval: 5 * time.Millisecond, Fall: 1}}
}

func TestEjectionsAreForgiven(t *testing.T) {
	_, s := pool(t, Config{Servers: named("abc"), Passive: &PassiveConfig{Eject: time.Hour, Longest: 100 * time.Hour}})
	a, p := s.servers[0], s.config.Passive.passive()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for i, tt := range []struct{ well, ejected int }{{0, 1}, {0, 2}, {2, 2}, {1, 4}, {4, 4}, {7, 1}} { // hours
		now = now.Add(time.Duration(tt.well) * time.Hour)
		if !s.ejectNow(a, "test", now) {
			t.Fatalf("%d.: it is not ejected", i)
		}
		s.rebuild(now)
		if got := a.ejected.until.Sub(now); got != time.Duration(tt.ejected)*time.Hour {
			t.Errorf("%d.: well for %d h, then ejected for %s, want %d h", i, tt.well, got, tt.ejected)
		}
		now = a.ejected.until
		s.readmit(now)
		s.rebuild(now)
		if a.stand.state != StateUp || a.row.Load() != p.failures-1 {
			t.Fatalf("%d.: back it is %s, with %d failures", i, a.stand.state, a.row.Load())
		}
	}
}

func TestServersWithoutWeightAreNotAmongTheRest(t *testing.T) {
	_, s := pool(t, Config{
		Servers: []ServerConfig{{Address: at("a")}, {Address: at("b")}, {Address: at("c"), Weight: ptr(0)}, {Address: at("d"), Weight: ptr(0)}},
		Passive: &PassiveConfig{Failures: ptr(1), Eject: time.Minute},
	})
	fail(s.servers[0], 1)
	fail(s.servers[1], 1)
	if got := states(s); got != "ejected up up up" {
		t.Errorf("got %s", got)
	}
}

func TestServersThatLeftAreNotEjected(t *testing.T) {
	p, s := pool(t, Config{Servers: named("abc"), Passive: &PassiveConfig{Failures: ptr(1)}})
	a := s.servers[0]
	commit(p, map[string]Config{"s": {Servers: named("bc"), Passive: &PassiveConfig{Failures: ptr(1)}}})
	a.Failed(errTest)
	if n := s.status().Ejections; n != 0 {
		t.Errorf("%d ejections", n)
	}
}

// A server that failed requests, and that the checks found down as well, is back as soon as they find it up; one that they never found down stays out for its
// time.
func TestChecksEndAnEjection(t *testing.T) {
	c := newChecked(t, 200)
	config := checkedConfig(c)
	config.Servers = append(config.Servers, ServerConfig{Address: newChecked(t, 200).address})
	config.Passive = &PassiveConfig{Failures: ptr(2), Eject: time.Hour, Longest: time.Hour}
	_, s := pool(t, config)
	eventually(t, "both are up", func() bool { return states(s) == "up up" })
	fail(s.servers[0], 2)
	if got := states(s); got != "ejected up" {
		t.Fatalf("after two failures: %s", got)
	}
	passed := s.servers[0].passed.Load()
	eventually(t, "some checks pass", func() bool { return s.servers[0].passed.Load() > passed+3 })
	if got := states(s); got != "ejected up" {
		t.Errorf("checks that pass let it in: %s", got)
	}
	c.status.Store(500)
	eventually(t, "it is down", func() bool { return states(s) == "down up" })
	c.status.Store(200)
	eventually(t, "it is back", func() bool { return states(s) == "up up" })
	fail(s.servers[0], 1)
	if got := states(s); got != "ejected up" {
		t.Errorf("on probation: %s", got)
	}
}

// What the node itself has not enough of is no server's failure: else one after the other would be ejected.
func TestWhatTheNodeLacksIsNoFault(t *testing.T) {
	_, s := pool(t, Config{Servers: named("ab"), Passive: &PassiveConfig{Failures: ptr(1), Eject: time.Minute}})
	foreign := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(203, 0, 113, 1)}} // an address that the node has not
	_, err := foreign.Dial("tcp", "127.0.0.1:1")
	if !errors.Is(err, syscall.EADDRNOTAVAIL) {
		t.Fatalf("dial: %v", err)
	}
	for _, err := range []error{err, &net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}} {
		s.servers[0].Failed(err)
	}
	if got, n := states(s), s.servers[0].faults.Load(); got != "up up" || n != 0 {
		t.Errorf("%s, %d faults", got, n)
	}
	s.servers[0].Failed(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
	if got := states(s); got != "ejected up" {
		t.Errorf("refused: %s", got)
	}
}
