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

	"tripod/proxy/upstream/health"
)

func ptr(n int) *int { return &n }

// at is the address of the server that a letter stands for.
func at(letter string) string { return fmt.Sprintf("127.1.0.%d:1", letter[0]) }

// letter is the reverse of at.
func letter(s *Server) string {
	var n byte
	fmt.Sscanf(s.Address(), "127.1.0.%d:1", &n)
	return string(rune(n))
}

// named are servers by their letters.
func named(letters string) []ServerConfig {
	var all []ServerConfig
	for _, l := range letters {
		all = append(all, ServerConfig{Address: at(string(l))})
	}
	return all
}

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

// one acquires, for a client with a sticky cookie's tag.
func one(t testing.TB, s *Service, tag string) *Server {
	t.Helper()
	server, err := s.Acquire(t.Context(), &Ask{Cookie: tag})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// take acquires n times and releases at once; it returns the order of the servers.
func take(t testing.TB, s *Service, n int) string {
	t.Helper()
	var b strings.Builder
	for range n {
		server := one(t, s, "")
		b.WriteString(letter(server))
		server.Release()
	}
	return b.String()
}

func TestAcquireFollowsTheDocument(t *testing.T) {
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: at("a"), Weight: ptr(5)}, {Address: at("b")}, {Address: at("c")}}})
	if got := take(t, s, 7); got != "aabacaa" { // the example of nginx
		t.Errorf("got %s", got)
	}
	commit(p, map[string]Config{"s": {Balance: First, Servers: named("cab")}})
	if got := take(t, s, 3); got != "ccc" {
		t.Errorf("first: got %s", got)
	}
	commit(p, map[string]Config{"s": {Balance: LeastRequests, Servers: named("ab")}})
	one(t, s, "")
	one(t, s, "")
	if a, b := s.servers[0].place.Running(), s.servers[1].place.Running(); a != 1 || b != 1 {
		t.Errorf("least: %d and %d", a, b)
	}
}

func TestEqualRequestsGoToOneServer(t *testing.T) {
	for _, c := range []Config{{Balance: IPHash}, {Balance: Hash, Hash: &HashConfig{Path: true}}} {
		c.Servers = named("abcdefgh")
		_, s := pool(t, c)
		_, other := pool(t, c)
		seen := map[string]bool{}
		for i := range 100 {
			ask := Ask{}
			ask.Hash = HashOf(fmt.Sprint("10.0.0.", i))
			here, err := s.Acquire(t.Context(), &ask)
			if err != nil {
				t.Fatal(err)
			}
			here.Release()
			there, _ := other.Acquire(t.Context(), &ask)
			there.Release()
			if here.Address() != there.Address() {
				t.Fatalf("%s: here %s, on another node %s", c.Balance, here.Address(), there.Address())
			}
			seen[here.Address()] = true
		}
		if len(seen) != 8 {
			t.Errorf("%s: %d of 8 servers were chosen", c.Balance, len(seen))
		}
	}
}

func TestTriedServersArePassedOver(t *testing.T) {
	for _, b := range []Balance{RoundRobin, LeastRequests, RandomTwo, IPHash, First} {
		_, s := pool(t, Config{Balance: b, Servers: named("abcdefghijklmnopqrst")})
		seen := map[*Server]bool{}
		ask := Ask{}
		for range 20 {
			server, err := s.Acquire(t.Context(), &ask)
			if err != nil || seen[server] {
				t.Fatalf("%s: %v, seen %v", b, err, seen[server])
			}
			seen[server] = true
			ask.Try(server)
		}
		if _, err := s.Acquire(t.Context(), &ask); !errors.Is(err, ErrNoneUp) {
			t.Errorf("%s: all tried: %v", b, err)
		}
	}
}

type closer struct{ closed int }

func (c *closer) Close() error { c.closed++; return nil }

func TestStateSurvivesChanges(t *testing.T) {
	p, s := pool(t, Config{Servers: named("ab")})
	take(t, s, 10)
	a, b := s.servers[0], s.servers[1]
	pools := []*closer{{}, {}}
	for i, server := range s.servers {
		server.Pool(func(*Server) io.Closer { return pools[i] })
	}
	commit(p, map[string]Config{"s": {Balance: LeastRequests, Servers: []ServerConfig{{Address: at("c")}, {Address: at("a"), Weight: ptr(7), Backup: true}}}, "t": {Servers: named("b")}})
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
	p, s := pool(t, Config{Servers: []ServerConfig{{Address: silent(t)}}, Health: &health.Config{Timeout: time.Minute}})
	got := make(chan error)
	go func() {
		_, err := s.Acquire(t.Context(), &Ask{})
		got <- err
	}()
	commit(p, nil)
	if err := <-got; !errors.Is(err, ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestCountsAreExactUnderConcurrency(t *testing.T) {
	_, s := pool(t, Config{Servers: []ServerConfig{{Address: at("a"), Weight: ptr(3)}, {Address: at("b")}}})
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
	if n := s.running.Load(); n != 0 {
		t.Errorf("%d requests run", n)
	}
}

func TestBackupsAnswerOnlyWhenNobodyElseDoes(t *testing.T) {
	c := []ServerConfig{{Address: at("a")}, {Address: at("b"), Backup: true}, {Address: at("c"), Backup: true}}
	p, s := pool(t, Config{Servers: c})
	if got := take(t, s, 3); got != "aaa" {
		t.Errorf("got %s", got)
	}
	p.SetOrders(map[string]map[string]Order{"s": {at("a"): {State: Maint}}})
	if got := take(t, s, 4); strings.Count(got, "b") != 2 || strings.Count(got, "c") != 2 {
		t.Errorf("got %s", got)
	}
}

func BenchmarkAcquire(b *testing.B) {
	for _, balance := range []Balance{RoundRobin, LeastRequests} {
		for _, n := range []int{3, 1000} {
			b.Run(fmt.Sprint(balance, "/", n), func(b *testing.B) {
				c := Config{Balance: balance}
				for i := range n {
					c.Servers = append(c.Servers, ServerConfig{Address: fmt.Sprintf("127.2.%d.%d:1", i>>8, i&255)})
				}
				_, s := pool(b, c)
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					ask := Ask{}
					for pb.Next() {
						server, err := s.Acquire(context.Background(), &ask)
						if err != nil {
							b.Fatal(err)
						}
						server.Release()
					}
				})
			})
		}
	}
}
