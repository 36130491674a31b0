package election

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for something that is sure to come.
const patience = 10 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func withTimeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// store is a linearizable store in memory which numbers as etcd does.
type store struct {
	mu       sync.Mutex
	revision int64
	records  map[netip.Addr]Record
	watchers []func()
	reads    atomic.Int64
	broken   atomic.Pointer[func(context.Context) error] // called by reads, if set
}

func (s *store) put(address netip.Addr, record Record, ifRevision int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.records[address]
	if ifRevision >= 0 && before.Revision != ifRevision {
		return ErrConflict
	}
	s.revision++
	record.Revision, record.Created, record.Version = s.revision, before.Created, before.Version+1
	if before.Revision == 0 {
		record.Created = s.revision
	}
	if s.records == nil {
		s.records = map[netip.Addr]Record{}
	}
	s.records[address] = record
	s.notify()
	return nil
}

func (s *store) write(_ context.Context, address netip.Addr, record Record, ifRevision int64) error {
	return s.put(address, record, ifRevision)
}

func (s *store) remove(_ context.Context, address netip.Addr, ifRevision int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records[address].Revision != ifRevision {
		return ErrConflict
	}
	s.revision++
	delete(s.records, address)
	s.notify()
	return nil
}

func (s *store) notify() {
	for _, watcher := range s.watchers {
		watcher()
	}
}

func (s *store) watch(watcher func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, watcher)
}

func (s *store) read(ctx context.Context) (map[netip.Addr]Record, error) {
	s.reads.Add(1)
	if broken := s.broken.Load(); broken != nil {
		if err := (*broken)(ctx); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.records), nil
}

func (s *store) breakReads(how func(context.Context) error) { s.broken.Store(&how) }

// answering is what stands for the sockets of a VIP: at most one node may answer for each.
type answering struct {
	mu    sync.Mutex
	nodes map[netip.Addr]string
	error string
}

func (a *answering) take(node string, address netip.Addr) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if other := a.nodes[address]; other != "" {
		a.error = node + " and " + other + " answer for " + address.String()
	}
	if a.nodes == nil {
		a.nodes = map[netip.Addr]string{}
	}
	a.nodes[address] = node
	return nil
}

func (a *answering) drop(node string, address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.nodes[address] == node {
		delete(a.nodes, address)
	}
}

func (a *answering) node(address netip.Addr) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nodes[address]
}

// events collects what a part tells.
type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) add(event Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
}

func (e *events) count(kind Kind) int { return len(e.of(kind)) }

func (e *events) of(kind Kind) []Event {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.all), func(event Event) bool { return event.Kind != kind })
}

func openHolder(t *testing.T, cfg HolderConfig) *Holder {
	t.Helper()
	h := NewHolder(cfg)
	if err := h.Open(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(withTimeout(t)); err != nil {
			t.Error(err)
		}
	})
	return h
}

func TestHolderHandsOver(t *testing.T) {
	t.Parallel()
	var s store
	var a answering
	var timeline Timeline
	vips := []netip.Addr{testVIP, netip.MustParseAddr("::2")}
	holders := map[string]*Holder{}
	all := map[string]*events{}
	for _, name := range []string{"a", "b", "c"} {
		seen := &events{}
		all[name] = seen
		holders[name] = openHolder(t, HolderConfig{
			Self: name, Read: s.read,
			Take: func(address netip.Addr, _ time.Duration) error { return a.take(name, address) },
			Drop: func(address netip.Addr) { a.drop(name, address) },
			Acknowledge: func(_ context.Context, to string, word Acknowledgement) error {
				holders[to].Acknowledged(word) // holders is complete before the first record is written
				return nil
			},
			Event: func(event Event) { timeline.Add(name, event); seen.add(event) },
		})
	}
	for _, h := range holders {
		s.watch(h.Wake)
	}
	for _, name := range []string{"a", "b", "c", "a"} {
		for _, vip := range vips {
			if err := s.put(vip, Record{Holder: name, Epoch: 1}, -1); err != nil {
				t.Fatal(err)
			}
		}
		for _, vip := range vips {
			eventually(t, name+" holds", func() bool { return a.node(vip) == name })
			eventually(t, name+" says so", func() bool {
				held := holders[name].Held()
				return len(held) == 2 && held[1].Address == vips[1] && held[0].Since.After(time.Now().Add(-time.Minute))
			})
		}
	}
	if err := timeline.Check(); err != nil {
		t.Error(err)
	}
	if a.error != "" {
		t.Error(a.error)
	}
	if n := all["b"].count(Acknowledged) + all["c"].count(Acknowledged); n == 0 {
		t.Error("no handover was acknowledged in time")
	}
	if claims := timeline.Claims(testVIP); len(claims) < 4 {
		t.Errorf("the timeline has %d claims, want 4: %+v", len(claims), claims)
	}
}

func TestHolderDropsWhileReadsHang(t *testing.T) {
	t.Parallel()
	var s store
	var a answering
	var seen events
	h := NewHolder(HolderConfig{
		Self: "a", Read: s.read, Interval: 20 * time.Millisecond, Hold: 100 * time.Millisecond,
		Take:  func(address netip.Addr, _ time.Duration) error { return a.take("a", address) },
		Drop:  func(address netip.Addr) { a.drop("a", address) },
		Event: seen.add,
	})
	_ = s.put(testVIP, Record{Holder: "a"}, -1)
	if err := h.Open(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a holds", func() bool { return a.node(testVIP) == "a" })
	release := make(chan struct{})
	s.breakReads(func(context.Context) error { <-release; return nil }) // does not even heed its context
	eventually(t, "a drops", func() bool { return a.node(testVIP) == "" })
	dropped := seen.of(Dropped)[0]
	if dropped.At < dropped.Until {
		t.Errorf("dropped at %v, before %v", dropped.At, dropped.Until)
	}
	if len(h.Held()) != 0 {
		t.Error("a says that it holds")
	}
	// Reads that hang for good do not pile up.
	before := s.reads.Load()
	eventually(t, "a gives up reading", func() bool {
		n := s.reads.Load()
		time.Sleep(200 * time.Millisecond)
		return s.reads.Load() == n
	})
	if n := s.reads.Load() - before; n > mostReads {
		t.Errorf("%d reads under way", n)
	}
	s.broken.Store(nil)
	close(release)
	eventually(t, "a holds again", func() bool { return a.node(testVIP) == "a" })

	// Close does not wait for ever for a read that hangs.
	hang := make(chan struct{})
	s.breakReads(func(context.Context) error { <-hang; return nil })
	n := s.reads.Load()
	eventually(t, "a read hangs", func() bool { return s.reads.Load() > n })
	short, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := h.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close while a read hangs: %v", err)
	}
	if a.node(testVIP) != "" {
		t.Error("a answers after Close")
	}
	close(hang)
	if err := h.Close(withTimeout(t)); err != nil {
		t.Errorf("Close after the read returned: %v", err)
	}
}

func TestHolderReadsFail(t *testing.T) {
	t.Parallel()
	var s store
	var a answering
	_ = s.put(testVIP, Record{Holder: "a"}, -1)
	openHolder(t, HolderConfig{
		Self: "a", Read: s.read, Interval: 20 * time.Millisecond, Hold: 100 * time.Millisecond,
		Take: func(address netip.Addr, _ time.Duration) error { return a.take("a", address) },
		Drop: func(address netip.Addr) { a.drop("a", address) },
	})
	eventually(t, "a holds", func() bool { return a.node(testVIP) == "a" })
	s.breakReads(func(context.Context) error { return errors.New("no leader") })
	eventually(t, "a drops", func() bool { return a.node(testVIP) == "" })
	s.broken.Store(nil)
	eventually(t, "a holds again", func() bool { return a.node(testVIP) == "a" })
}

func TestHolderTriesAgainToTake(t *testing.T) {
	t.Parallel()
	var s store
	var a answering
	var seen events
	var attempts atomic.Int64
	_ = s.put(testVIP, Record{Holder: "a", Epoch: 3}, -1)
	h := openHolder(t, HolderConfig{
		Self: "a", Read: s.read,
		Take: func(address netip.Addr, _ time.Duration) error {
			if attempts.Add(1) < 3 {
				return errors.New("address already in use")
			}
			return a.take("a", address)
		},
		Drop:  func(address netip.Addr) { a.drop("a", address) },
		Event: seen.add,
	})
	eventually(t, "a holds", func() bool { return len(h.Held()) == 1 })
	failed := seen.of(Failed)
	if len(failed) != 2 || failed[0].Reason != "address already in use" {
		t.Errorf("failures: %+v", failed)
	}
	if n := seen.count(Dropped); n != 0 {
		t.Errorf("dropped %d times what it did not hold", n)
	}
	if held := h.Held()[0]; held.Epoch != 3 || held.Revision != 1 || held.Address != testVIP || held.Until == 0 {
		t.Errorf("held: %+v", held)
	}
}

func TestHolderCloses(t *testing.T) {
	t.Parallel()
	var s store
	var a answering
	_ = s.put(testVIP, Record{Holder: "a"}, -1)
	h := openHolder(t, HolderConfig{
		Self: "a", Read: s.read, Interval: 20 * time.Millisecond, Hold: 100 * time.Millisecond,
		Take: func(address netip.Addr, _ time.Duration) error { return a.take("a", address) },
		Drop: func(address netip.Addr) { a.drop("a", address) },
	})
	eventually(t, "a holds", func() bool { return a.node(testVIP) == "a" })
	for range 2 {
		if err := h.Close(withTimeout(t)); err != nil {
			t.Fatal(err)
		}
	}
	if a.node(testVIP) != "" || len(h.Held()) != 0 {
		t.Error("a holds after Close")
	}
	h.Wake()
	h.Acknowledged(Acknowledgement{})
	if err := h.Open(withTimeout(t)); err == nil {
		t.Error("opened again")
	}
}

func TestHolderReadsWhenWoken(t *testing.T) {
	t.Parallel()
	var s store
	h := openHolder(t, HolderConfig{Self: "a", Read: s.read, Take: func(netip.Addr, time.Duration) error { return nil }, Drop: func(netip.Addr) {}})
	eventually(t, "the first read", func() bool { return s.reads.Load() == 1 })
	for n := range int64(20) { // within much less than twenty slow ticks
		h.Wake()
		eventually(t, "a read", func() bool { return s.reads.Load() >= n+2 })
	}
	if h.cfg.Clock() <= 0 {
		t.Error("the clock does not run")
	}
}

// A word that does not arrive at first is sent again, and given up when a newer record makes it moot.
func TestHolderRepeatsItsWord(t *testing.T) {
	t.Parallel()
	var s store
	var a answering
	var attempts atomic.Int64
	arrived := make(chan Acknowledgement, 1)
	started, ended := make(chan struct{}, 9), make(chan error, 9)
	_ = s.put(testVIP, Record{Holder: "a"}, -1)
	h := openHolder(t, HolderConfig{
		Self: "a", Read: s.read, Interval: 50 * time.Millisecond, Hold: time.Second,
		Take: func(address netip.Addr, _ time.Duration) error { return a.take("a", address) },
		Drop: func(address netip.Addr) { a.drop("a", address) },
		Acknowledge: func(ctx context.Context, to string, word Acknowledgement) error {
			if to == "c" {
				started <- struct{}{}
				<-ctx.Done() // hangs
				ended <- ctx.Err()
				return ctx.Err()
			}
			if attempts.Add(1) < 3 {
				return errors.New("connection refused")
			}
			arrived <- word
			return nil
		},
	})
	eventually(t, "a holds", func() bool { return a.node(testVIP) == "a" })
	_ = s.put(testVIP, Record{Holder: "b"}, -1)
	h.Wake()
	select {
	case word := <-arrived:
		if want := (Acknowledgement{testVIP, "a", 1, 1, 1, 2}); word != want {
			t.Errorf("the word is %+v, want %+v", word, want)
		}
		if a.node(testVIP) != "" {
			t.Error("a answers after its word")
		}
	case <-time.After(patience):
		t.Fatal("the word does not arrive")
	}
	_ = s.put(testVIP, Record{Holder: "a"}, -1)
	h.Wake()
	eventually(t, "a holds", func() bool { return a.node(testVIP) == "a" })
	_ = s.put(testVIP, Record{Holder: "c"}, -1)
	h.Wake()
	<-started
	_ = s.put(testVIP, Record{Holder: "a"}, -1)
	h.Wake()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the moot word ended with %v", err)
	}
}

func TestHolderConfig(t *testing.T) {
	good := HolderConfig{
		Self: "a", Read: new(store).read,
		Take: func(netip.Addr, time.Duration) error { return nil }, Drop: func(netip.Addr) {},
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for says, spoil := range map[string]func(*HolderConfig){
		"name":     func(c *HolderConfig) { c.Self = "" },
		"Read":     func(c *HolderConfig) { c.Read = nil },
		"Drop":     func(c *HolderConfig) { c.Drop = nil },
		"negative": func(c *HolderConfig) { c.Hold = -1 },
		"twice":    func(c *HolderConfig) { c.Interval = time.Second },
	} {
		bad := good
		spoil(&bad)
		h := NewHolder(bad)
		if err := h.Open(withTimeout(t)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("without %s: %v", says, err)
		}
		if err := h.Close(withTimeout(t)); err != nil {
			t.Error(err)
		}
	}
}

// Where a kernel has no guard, a new holder waits for as long as the former one's kernel may go on answering.
func TestHolderWaitsForTheLag(t *testing.T) {
	vip := netip.MustParseAddr("192.0.2.1")
	s, a := &store{}, &answering{}
	const lag = 300 * time.Millisecond
	var took atomic.Int64
	began := time.Now()
	if err := s.put(vip, Record{Holder: "a", Epoch: 1}, 0); err != nil {
		t.Fatal(err)
	}
	openHolder(t, HolderConfig{
		Self: "a", Read: s.read, Hold: 200 * time.Millisecond, Interval: 50 * time.Millisecond,
		Lag: func() time.Duration { return lag },
		Take: func(address netip.Addr, _ time.Duration) error {
			took.Store(int64(time.Since(began)))
			return a.take("a", address)
		},
		Drop: func(address netip.Addr) { a.drop("a", address) },
	})
	eventually(t, "the address is taken", func() bool { return took.Load() != 0 })
	if least := waitFor(200*time.Millisecond) + lag; time.Duration(took.Load()) < least {
		t.Errorf("taken after %s, before %s were over", time.Duration(took.Load()), least)
	}
}
