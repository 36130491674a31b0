package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func ptr(n int) *int { return &n }

// pool returns an open pool with one service.
func pool(t testing.TB, c Config) (*Pool, *Service) {
	t.Helper()
	p := New(Options{StickyKey: []byte("key")})
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close(context.Background()) })
	commit(p, map[string]Config{"s": c})
	return p, p.Service("s")
}

func commit(p *Pool, c map[string]Config) {
	plan := p.Plan(c)
	plan.Commit()
	plan.Retire()
}

// take acquires n times and releases at once; it returns the order of the servers.
func take(t testing.TB, s *Service, n int) string {
	t.Helper()
	var b strings.Builder
	for range n {
		server, err := s.Acquire(t.Context(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(strings.TrimSuffix(server.Address(), ":1"))
		server.Release()
	}
	return b.String()
}

func TestRoundRobinIsSmooth(t *testing.T) {
	for want, weights := range map[string][]*int{
		"abcabc":         {nil, nil, nil},
		"aabacaaaabacaa": {ptr(5), ptr(1), ptr(1)}, // the example of nginx
		"aabacaa":        {ptr(250), ptr(50), ptr(50)},
		"abab":           {ptr(3), ptr(3), ptr(0)},
	} {
		var c Config
		for i, w := range weights {
			c.Servers = append(c.Servers, ServerConfig{Address: string(rune('a'+i)) + ":1", Weight: w})
		}
		_, s := pool(t, c)
		if got := take(t, s, len(want)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestRoundRobinIsExactUnderConcurrency(t *testing.T) {
	_, s := pool(t, Config{Servers: []ServerConfig{{Address: "a:1", Weight: ptr(3)}, {Address: "b:1"}}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { take(t, s, 1000) })
	}
	wg.Wait()
	for i, want := range []uint64{6000, 2000} {
		if got := s.servers[i].total.Load(); got != want {
			t.Errorf("server %d: %d requests, want %d", i, got, want)
		}
	}
}

func TestManyWeightedServers(t *testing.T) {
	var c Config
	for i := range 5000 {
		c.Servers = append(c.Servers, ServerConfig{Address: fmt.Sprint("s", i, ":1"), Weight: ptr(1 + i%3)})
	}
	_, s := pool(t, c)
	n := len(s.view.Load().schedule)
	take(t, s, n)
	for i, server := range s.servers {
		if got := int(server.total.Load()); got != 1+i%3 {
			t.Fatalf("server %d: %d requests, want %d", i, got, 1+i%3)
		}
	}
}

func TestLeastRequests(t *testing.T) {
	_, s := pool(t, Config{Balance: LeastRequests, Servers: []ServerConfig{{Address: "a:1", Weight: ptr(2)}, {Address: "b:1"}}})
	count := map[string]int{}
	for range 9 {
		server, err := s.Acquire(t.Context(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		count[server.Address()]++
	}
	if count["a:1"] != 6 || count["b:1"] != 3 {
		t.Errorf("got %v, want twice as many at a", count)
	}
}

func TestLeastRequestsAmongMany(t *testing.T) {
	c := Config{Balance: LeastRequests}
	for i := range 500 {
		c.Servers = append(c.Servers, ServerConfig{Address: fmt.Sprint("s", i, ":1")})
	}
	_, s := pool(t, c)
	most := int64(0)
	for range 5000 {
		server, err := s.Acquire(t.Context(), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, server.active.Load())
	}
	if most > 14 {
		t.Errorf("one server has %d requests, the mean is 10", most)
	}
}

func TestBackupsAnswerOnlyWhenNobodyElseDoes(t *testing.T) {
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: "a:1"}, {Address: "b:1", Backup: true}, {Address: "c:1", Backup: true}}})
	if got := take(t, s, 3); got != "aaa" {
		t.Errorf("got %s", got)
	}
	commit(p, map[string]Config{"s": {Servers: []ServerConfig{{Address: "a:1", Weight: ptr(0)}, {Address: "b:1", Backup: true}, {Address: "c:1", Backup: true}}}})
	if got := take(t, s, 4); strings.Count(got, "b") != 2 || strings.Count(got, "c") != 2 {
		t.Errorf("got %s", got)
	}
}

func TestMaxConnections(t *testing.T) {
	for _, b := range []Balance{RoundRobin, LeastRequests} {
		_, s := pool(t, Config{Balance: b, Servers: []ServerConfig{{Address: "a:1", MaxConnections: 1}, {Address: "b:1", MaxConnections: 2}}})
		var got []*Server
		for range 3 {
			server, err := s.Acquire(t.Context(), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, server)
		}
		if _, err := s.Acquire(t.Context(), "", nil); !errors.Is(err, ErrFull) {
			t.Errorf("%s: the fourth: %v", b, err)
		}
		got[0].Release()
		if server, err := s.Acquire(t.Context(), "", nil); err != nil || server != got[0] {
			t.Errorf("%s: after a release: %v", b, err)
		}
	}
}

func TestTriedServersArePassedOver(t *testing.T) {
	for _, b := range []Balance{RoundRobin, LeastRequests} {
		c := Config{Balance: b}
		for i := range 20 {
			c.Servers = append(c.Servers, ServerConfig{Address: fmt.Sprint("s", i, ":1")})
		}
		_, s := pool(t, c)
		seen := map[*Server]bool{}
		var tried []*Server
		for range 20 {
			server, err := s.Acquire(t.Context(), "", tried)
			if err != nil || seen[server] {
				t.Fatalf("%s: %v, seen %v", b, err, seen[server])
			}
			seen[server] = true
			tried = append(tried, server)
		}
		if _, err := s.Acquire(t.Context(), "", tried); !errors.Is(err, ErrNoneUp) {
			t.Errorf("%s: all tried: %v", b, err)
		}
	}
}

func TestSticky(t *testing.T) {
	c := Config{Sticky: &StickyConfig{Cookie: "c"}, Servers: []ServerConfig{{Address: "a:1"}, {Address: "b:1", MaxConnections: 1}}}
	p, s := pool(t, c)
	other, _ := pool(t, c)
	cookie := s.servers[1].Cookie()
	if cookie == "" || cookie == s.servers[0].Cookie() || cookie != other.Service("s").servers[1].Cookie() {
		t.Errorf("cookies %q %q", cookie, s.servers[0].Cookie())
	}
	b, err := s.Acquire(t.Context(), cookie, nil)
	if err != nil || b.Address() != "b:1" {
		t.Fatal(b, err)
	}
	if again, err := s.Acquire(t.Context(), cookie, nil); err != nil || again.Address() != "a:1" {
		t.Errorf("full: %v %v", again, err)
	}
	b.Release()
	commit(p, map[string]Config{"s": {Sticky: c.Sticky, Servers: []ServerConfig{{Address: "a:1"}, {Address: "b:1", Weight: ptr(0)}}}})
	if drained, err := s.Acquire(t.Context(), cookie, nil); err != nil || drained.Address() != "a:1" {
		t.Errorf("weight 0: %v %v", drained, err)
	}
}

type closer struct{ closed int }

func (c *closer) Close() error { c.closed++; return nil }

func TestStateSurvivesChanges(t *testing.T) {
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: "a:1"}, {Address: "b:1"}}})
	take(t, s, 10)
	a, b := s.servers[0], s.servers[1]
	pools := []*closer{{}, {}}
	for i, server := range s.servers {
		server.Pool(func(*Server) io.Closer { return pools[i] })
	}
	commit(p, map[string]Config{"s": {Balance: LeastRequests, Servers: []ServerConfig{{Address: "c:1"}, {Address: "a:1", Weight: ptr(7), Backup: true}}}, "t": {Servers: []ServerConfig{{Address: "b:1"}}}})
	if p.Service("s") != s || s.servers[1] != a || a.total.Load() != 5 {
		t.Error("the server that stayed is another one")
	}
	if pools[0].closed != 0 || pools[1].closed != 1 || !b.Gone() || a.Gone() {
		t.Errorf("closed: %v %v", pools[0], pools[1])
	}
	commit(p, nil)
	if pools[0].closed != 1 {
		t.Error("the service left, its pool is open")
	}
	if late := b.Pool(func(*Server) io.Closer { return &closer{} }); late != io.Closer(pools[1]) {
		t.Error("another pool")
	}
}

func TestWaitersOfAServiceThatLeavesAreTold(t *testing.T) {
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: silent(t)}}, Health: &HealthConfig{Timeout: time.Minute}})
	got := make(chan error)
	go func() {
		_, err := s.Acquire(t.Context(), "", nil)
		got <- err
	}()
	commit(p, nil)
	if err := <-got; !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkAcquire(b *testing.B) {
	for _, balance := range []Balance{RoundRobin, LeastRequests} {
		for _, n := range []int{3, 1000} {
			b.Run(fmt.Sprint(balance, "/", n), func(b *testing.B) {
				c := Config{Balance: balance}
				for i := range n {
					c.Servers = append(c.Servers, ServerConfig{Address: fmt.Sprint("s", i, ":1")})
				}
				_, s := pool(b, c)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						server, _ := s.Acquire(context.Background(), "", nil)
						server.Release()
					}
				})
			})
		}
	}
}
