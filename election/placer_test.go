package election

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scene is the world of a Placer.
type scene struct {
	store
	leading atomic.Bool
	mu      sync.Mutex
	vips    []Wish
	nodes   []Candidate
	down    map[string]bool
	seen    events
}

func (s *scene) config() PlacerConfig {
	return PlacerConfig{
		Leading: s.leading.Load,
		VIPs:    func() []Wish { s.mu.Lock(); defer s.mu.Unlock(); return s.vips },
		Nodes:   func() []Candidate { s.mu.Lock(); defer s.mu.Unlock(); return s.nodes },
		Records: s.read, Write: s.write, Remove: s.remove,
		Suspected: func(name string) bool { s.mu.Lock(); defer s.mu.Unlock(); return s.down[name] },
		Event:     s.seen.add,
		Interval:  5 * time.Millisecond, Grace: time.Millisecond,
	}
}

func (s *scene) change(how func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how()
}

func (s *scene) record(address netip.Addr) Record {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	return s.records[address]
}

func openPlacer(t *testing.T, cfg PlacerConfig) *Placer {
	t.Helper()
	p := NewPlacer(cfg)
	if err := p.Open(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := p.Close(withTimeout(t)); err != nil {
				t.Error(err)
			}
		}
	})
	return p
}

func TestPlacer(t *testing.T) {
	t.Parallel()
	s := &scene{vips: wishes(vipList(2)), nodes: ready("a", "b"), down: map[string]bool{}}
	first, second := s.vips[0].Address, s.vips[1].Address
	p := openPlacer(t, s.config())
	p.Wake()
	s.leading.Store(true)
	eventually(t, "both are placed", func() bool { return s.record(first).Holder == "a" && s.record(second).Holder == "b" })

	s.change(func() { s.down["a"] = true })
	eventually(t, "the first one moves", func() bool { return s.record(first).Holder == "b" })
	s.change(func() { s.down["a"] = false })
	if got := s.record(first); got.Epoch != 2 {
		t.Errorf("the record is %+v", got)
	}
	s.change(func() { s.nodes = ready("a") })
	eventually(t, "both move", func() bool { return s.record(first).Holder == "a" && s.record(second).Holder == "a" })

	_ = s.put(first, Record{Holder: "nonsense", Epoch: math.MaxInt64}, -1) // by hand
	eventually(t, "the strange record is replaced", func() bool { return s.record(first).Holder == "a" })
	if got := s.record(first); got.Epoch != 1 {
		t.Errorf("the record is %+v", got)
	}

	s.change(func() { s.vips = wishes(vipList(1)) })
	eventually(t, "the second is removed", func() bool { return s.record(second).Revision == 0 })
	if s.record(first).Holder != "a" || s.seen.count(Removed) != 1 {
		t.Errorf("removed: %+v", s.seen.of(Removed))
	}

	s.leading.Store(false)
	s.change(func() { s.vips = wishes(vipList(2)) })
	n := s.reads.Load()
	p.Wake()
	if err := p.Close(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	if s.record(second).Revision != 0 || s.reads.Load() > n+1 { // one look may have been under way
		t.Error("it places without leading")
	}
}

func TestPlacerKnowsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	s := &scene{}
	vips := vipList(3)
	_ = s.put(vips[0], Record{Holder: "a"}, -1)
	_ = s.put(vips[1], Record{Holder: "b"}, -1)
	now := time.Hour
	cfg := s.config()
	cfg.Grace = time.Second
	cfg.Clock = func() time.Duration { return now }
	p := NewPlacer(cfg)
	s.leading.Store(true)
	look := func(writes int) {
		t.Helper()
		before := s.revision
		if err := p.reconcile(withTimeout(t)); err != nil {
			t.Fatal(err)
		}
		if n := int(s.revision - before); n != writes {
			t.Fatalf("%d writes, want %d: %+v", n, writes, s.seen.all)
		}
	}
	look(0) // nothing is known
	s.nodes = ready("c")
	look(0) // no vips
	s.nodes, s.vips = nil, wishes(vips[:1])
	look(0) // no nodes
	now += time.Minute
	s.nodes, s.vips = ready("c"), wishes([]netip.Addr{vips[0], vips[2]})
	look(1) // only the one without a record
	now += time.Second - 1
	look(0)
	s.leading.Store(false)
	now += time.Hour
	look(0)
	s.leading.Store(true)
	look(0) // a new term
	now += time.Second
	look(2) // a's moves, and b's is removed
	s.vips = []Wish{}
	look(2) // an empty document, unlike an unknown one
	if len(s.records) != 0 {
		t.Errorf("left: %v", s.records)
	}
}

func TestPlacerSeesErrors(t *testing.T) {
	t.Parallel()
	s := &scene{vips: wishes(vipList(2)), nodes: ready("a")}
	s.leading.Store(true)
	cfg := s.config()
	fail := errors.New("no quorum")
	var conflicts int
	cfg.Write = func(_ context.Context, address netip.Addr, _ Record, _ int64) error {
		if address == s.vips[0].Address {
			return fail
		}
		conflicts++
		return ErrConflict
	}
	p := NewPlacer(cfg)
	if err := p.reconcile(withTimeout(t)); !errors.Is(err, fail) || errors.Is(err, ErrConflict) || conflicts != 1 {
		t.Errorf("reconcile: %v, %d conflicts", err, conflicts)
	}
	s.breakReads(func(context.Context) error { return fail })
	if err := p.reconcile(withTimeout(t)); !errors.Is(err, fail) {
		t.Errorf("reconcile: %v", err)
	}
	if _, err := p.Move(withTimeout(t), s.vips[0].Address, "a", ""); !errors.Is(err, fail) {
		t.Errorf("move: %v", err)
	}
	if err := NewPlacer(PlacerConfig{}).Open(withTimeout(t)); err == nil {
		t.Error("opened without functions")
	}
}

func TestPlacerMove(t *testing.T) {
	t.Parallel()
	first, second := vipList(2)[0], vipList(2)[1]
	nodes := append(ready("a", "b", "c", "dead"), Candidate{Name: "slow"}, Candidate{Name: "drained", Ready: true, Draining: true},
		Candidate{Name: "unplugged", Ready: true, Unfit: map[netip.Addr]string{first: "interface eth0 has no carrier"}})
	s := &scene{vips: wishes(vipList(2)), nodes: nodes, down: map[string]bool{"dead": true}}
	_ = s.put(first, Record{Holder: "a", Epoch: 4}, -1)
	_ = s.put(second, Record{Holder: "b", Epoch: 1}, -1)
	p := NewPlacer(s.config())
	move := func(address netip.Addr, to string) error {
		_, err := p.Move(withTimeout(t), address, to, "ann@desk")
		return err
	}

	for _, test := range []struct {
		address netip.Addr
		to      string
		want    error
		says    string
	}{
		{testVIP, "a", ErrUnknownAddress, "10.0.0.1, 10.0.0.2"},
		{first, "nobody", ErrUnknownNode, "a, b, c, dead"},
		{first, "dead", ErrNotReady, "does not answer"},
		{first, "slow", ErrNotReady, "not ready"},
		{first, "drained", ErrNotReady, "undrain"},
		{first, "unplugged", ErrNotReady, "unplugged cannot hold it: interface eth0 has no carrier"},
	} {
		if err := move(test.address, test.to); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("move %s to %s: %v", test.address, test.to, err)
		}
	}
	revision := s.revision
	if err := move(first, "a"); err != nil || s.revision != revision {
		t.Errorf("move to its holder: %v", err)
	}
	if err := move(first, "b"); err != nil || s.record(first).Holder != "b" || s.record(first).Epoch != 5 {
		t.Errorf("move to b: %v, %+v", err, s.record(first))
	}
	if got := s.record(first); got.From != "a" || got.Reason != "moved by ann@desk" || time.Since(got.At).Abs() > time.Minute || got.Silence != 0 {
		t.Errorf("the record tells %+v", got)
	}
	if err := move(first, ""); err != nil || s.record(first).Holder != "a" {
		t.Errorf("move to the best: %v, %+v", err, s.record(first))
	}
	s.change(func() { s.nodes = ready("a") })
	if err := move(first, ""); !errors.Is(err, ErrNoCandidate) {
		t.Errorf("move to nobody else: %v", err)
	}
	s.change(func() { s.nodes = append(ready("a", "dead"), nodes[4:]...) })
	if err := move(first, ""); !errors.Is(err, ErrNoCandidate) || !strings.Contains(err.Error(),
		"dead does not answer, drained is draining, slow is not ready, unplugged cannot hold it: interface eth0 has no carrier") {
		t.Errorf("move to nobody else: %v", err)
	}
	s.change(func() { s.nodes = ready("a", "b") })

	// Somebody else writes between the read and the write: once, then every time.
	times := 1
	cfg := s.config()
	cfg.Write = func(ctx context.Context, address netip.Addr, record Record, ifRevision int64) error {
		if times > 0 {
			times--
			_ = s.put(address, Record{Holder: "x", Epoch: 9}, -1)
		}
		return s.write(ctx, address, record, ifRevision)
	}
	p = NewPlacer(cfg)
	if err := move(first, "b"); err != nil || s.record(first).Holder != "b" || s.record(first).Epoch != 10 {
		t.Errorf("move with one conflict: %v, %+v", err, s.record(first))
	}
	times = 1000
	if err := move(first, "a"); !errors.Is(err, ErrConflict) {
		t.Errorf("move with conflicts: %v", err)
	}
}
