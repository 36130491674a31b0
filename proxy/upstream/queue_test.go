package upstream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

func duration(d time.Duration) *time.Duration { return &d }

func TestTheQueueIsFirstComeFirstServed(t *testing.T) {
	for _, c := range []Config{
		{Servers: []ServerConfig{{Address: at("a"), MaxConnections: 1}}},
		{Servers: named("ab"), Limits: &LimitsConfig{Requests: 1}},
	} {
		c.Limits = &LimitsConfig{Requests: 1, Wait: duration(time.Minute)}
		_, s := pool(t, c)
		first := one(t, s, "")
		const n = 50
		order := make(chan int, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				ask := Ask{}
				server, err := s.Acquire(t.Context(), &ask)
				if err != nil {
					t.Error(err)
					return
				}
				if ask.Waited <= 0 {
					t.Error("nobody says that it waited")
				}
				order <- i
				server.Release()
			})
			eventually(t, "it waits", func() bool { return s.queue.length() == int64(i+1) })
		}
		if got := s.status(); got.Queued != n || got.Running != 1 {
			t.Errorf("status: %d queued, %d running", got.Queued, got.Running)
		}
		first.Release()
		all.Wait()
		for i := range n {
			if got := <-order; got != i {
				t.Fatalf("turn %d was that of the %d.", i, got)
			}
		}
		if s.queue.length() != 0 || s.running.Load() != 0 {
			t.Errorf("left: %d queued, %d running", s.queue.length(), s.running.Load())
		}
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	_, s := pool(t, Config{
		Servers: []ServerConfig{{Address: at("a"), MaxConnections: 1}, {Address: at("b"), MaxConnections: 2}},
		Limits:  &LimitsConfig{Pending: ptr(1), Wait: duration(30 * time.Millisecond)},
	})
	var got []*Server
	for range 3 {
		got = append(got, one(t, s, ""))
	}
	began := time.Now()
	ended := make(chan error)
	go func() {
		_, err := s.Acquire(t.Context(), &Ask{})
		ended <- err
	}()
	eventually(t, "one waits", func() bool { return s.queue.length() == 1 })
	if _, err := s.Acquire(t.Context(), &Ask{}); !errors.Is(err, ErrFull) {
		t.Errorf("one more than may wait: %v", err)
	}
	if err := <-ended; !errors.Is(err, ErrFull) || time.Since(began) < 30*time.Millisecond {
		t.Errorf("the one that waited: %v after %s", err, time.Since(began))
	}
	if st := s.status(); st.GaveUp != 1 || st.Refused != 1 {
		t.Errorf("gave up %d, refused %d", st.GaveUp, st.Refused)
	}
	got[0].Release()
	if server := one(t, s, ""); server != got[0] {
		t.Errorf("after a release: %s", server.Address())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Acquire(ctx, &Ask{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that has ended: %v", err)
	}
	if s.queue.length() != 0 {
		t.Error("somebody waits still")
	}
}

// A place that becomes free goes to somebody, whenever those who wait give up.
func TestNoPlaceIsLost(t *testing.T) {
	_, s := pool(t, Config{Servers: []ServerConfig{{Address: at("a"), MaxConnections: 2}}, Limits: &LimitsConfig{Wait: duration(time.Millisecond)}})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 300 {
				server, err := s.Acquire(t.Context(), &Ask{})
				if err == nil {
					if n := server.place.Running(); n > 2 {
						t.Errorf("%d requests at a server that takes 2", n)
					}
					time.Sleep(50 * time.Microsecond)
					server.Release()
				} else if !errors.Is(err, ErrFull) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if s.running.Load() != 0 || s.servers[0].place.Running() != 0 || s.queue.length() != 0 {
		t.Errorf("left: %d running, %d there, %d queued", s.running.Load(), s.servers[0].place.Running(), s.queue.length())
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	_, s := pool(t, Config{Servers: named("a"), Limits: &LimitsConfig{Connections: 2}})
	var entered []bool
	for range 3 {
		entered = append(entered, s.EnterConnection())
	}
	if !slices.Equal(entered, []bool{true, true, false}) {
		t.Errorf("got %v, want two", entered)
	}
	s.LeaveConnection()
	if !s.EnterConnection() {
		t.Error("none after one has ended")
	}
}

func TestRetriesHaveABudget(t *testing.T) {
	_, s := pool(t, Config{Servers: named("a"), Retries: &RetriesConfig{Budget: ptr(50)}})
	for range 40 {
		one(t, s, "")
	}
	for i := range 20 {
		if !s.Retry(t.Context()) {
			t.Fatalf("%d. retry of 40 requests is refused", i+1)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if s.Retry(short) {
		t.Error("more than half are sent again")
	}
	done := make(chan bool)
	go func() { done <- s.Retry(t.Context()) }()
	eventually(t, "it waits for its turn", func() bool {
		s.budget.mu.Lock()
		defer s.budget.mu.Unlock()
		return len(s.budget.waiting) == 1
	})
	s.EndRetry()
	if !<-done {
		t.Error("it had its turn, and was refused")
	}
	if st := s.status(); st.Retries != 21 || st.OverBudget != 1 {
		t.Errorf("retries %d, over the budget %d", st.Retries, st.OverBudget)
	}
	for range 20 {
		s.EndRetry()
	}
	if s.budget.running != 0 {
		t.Errorf("%d retries run", s.budget.running)
	}
}

func TestFewRequestsMayBeRetriedToo(t *testing.T) {
	_, s := pool(t, Config{Servers: named("a")})
	one(t, s, "")
	if !s.Retry(t.Context()) {
		t.Error("the only request may not be sent again")
	}
	_, none := pool(t, Config{Servers: named("a"), Retries: &RetriesConfig{Budget: ptr(0)}})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if none.Retry(ctx) {
		t.Error("a budget of nothing lets one through")
	}
}

func TestThoseWhoFailTakeNoTurnAway(t *testing.T) {
	_, s := pool(t, Config{Servers: named("a"), Limits: &LimitsConfig{Requests: 1, Wait: duration(20 * time.Second)}})
	stop := make(chan struct{})
	var others, all sync.WaitGroup
	for range 4 {
		others.Go(func() {
			ask := Ask{}
			ask.Try(s.servers[0])
			for {
				select {
				case <-stop:
					return
				default:
				}
				if server, err := s.AcquireNow(&ask); err == nil {
					t.Errorf("%s was tried before", server.Address())
					server.Release()
				}
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for range 2000 {
				server, err := s.Acquire(t.Context(), &Ask{})
				if err != nil {
					t.Errorf("waited in vain: %v", err)
					return
				}
				server.Release()
			}
		})
	}
	all.Wait()
	close(stop)
	others.Wait()
	if n := s.running.Load(); n != 0 || s.queue.length() != 0 {
		t.Errorf("left: %d running, %d queued", n, s.queue.length())
	}
}

func TestNobodyOvertakesThoseWhoWait(t *testing.T) {
	_, s := pool(t, Config{Servers: []ServerConfig{{Address: at("a"), MaxConnections: 1}}, Limits: &LimitsConfig{Wait: duration(time.Minute)}})
	one(t, s, "")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := s.Acquire(ctx, &Ask{})
		ended <- err
	}()
	eventually(t, "one waits", func() bool { return s.queue.length() == 1 })
	// A place that is free only because it has not been given to the one who waits yet.
	s.queue.mu.Lock()
	s.servers[0].place.Leave()
	s.running.Add(-1)
	s.view.Load().set.Left(s.servers[0].place)
	if server, err := s.AcquireNow(&Ask{}); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, %v: want its turn to come", server, err)
	}
	s.queue.mu.Unlock()
	s.serveQueue()
	if err := <-ended; err != nil {
		t.Errorf("the one that waited: %v", err)
	}
	cancel()
}

func TestARequestThatWasTriedWaits(t *testing.T) {
	_, s := pool(t, Config{
		Servers: []ServerConfig{{Address: at("a")}, {Address: at("b"), MaxConnections: 1}}, Balance: First, Limits: &LimitsConfig{Wait: duration(time.Minute)},
	})
	ask := Ask{}
	ask.Try(s.servers[0])
	busy, err := s.Acquire(t.Context(), &ask)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan *Server)
	go func() {
		again := Ask{}
		again.Try(s.servers[0])
		server, err := s.Acquire(t.Context(), &again)
		if err != nil {
			t.Error(err)
		}
		got <- server
	}()
	eventually(t, "it waits", func() bool { return s.queue.length() == 1 })
	// Nobody else has to wait for that: there is room where it has been.
	server, err := s.Acquire(t.Context(), &Ask{})
	if err != nil || server != s.servers[0] {
		t.Errorf("another request: %v, %v", server, err)
	}
	busy.Release()
	if server := <-got; server != s.servers[1] {
		t.Errorf("its turn was at %v", server)
	}
}

func TestNoBudgetIsNotWaitedFor(t *testing.T) {
	_, s := pool(t, Config{Servers: named("a"), Retries: &RetriesConfig{Budget: ptr(0)}})
	one(t, s, "")
	began := time.Now()
	if s.Retry(t.Context()) {
		t.Error("a budget of nothing lets one through")
	}
	if took := time.Since(began); took >= budgetWait {
		t.Errorf("it was waited for: %s", took)
	}
	if st := s.status(); st.OverBudget != 1 {
		t.Errorf("%d were refused", st.OverBudget)
	}
}
