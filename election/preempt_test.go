package election

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// zoned reads nodes such as "a/west b/east !c": a and b are ready and have a zone, c is not ready. "a-2" is unfit for
// the second address.
func zoned(text string) []Candidate {
	nodes := []Candidate{}
	for word := range strings.FieldsSeq(text) {
		name, zone, _ := strings.Cut(word, "/")
		name, no := strings.CutPrefix(name, "!")
		node := Candidate{Name: "", Zone: zone, Ready: !no}
		node.Name, name, _ = strings.Cut(name, "-")
		if name != "" {
			node.Unfit = map[netip.Addr]string{vipList(int(name[0] - '0'))[name[0]-'1']: "no carrier"}
		}
		nodes = append(nodes, node)
	}
	return nodes
}

func TestPlaceByWishes(t *testing.T) {
	const soon = 10 * time.Second
	west, back, evenly := Wish{Zone: "west"}, Wish{Zone: "west", Preempt: true}, Wish{Preempt: true}
	tests := []struct {
		name    string
		wishes  []Wish
		holders string // of the records; "-" for none
		nodes   string
		steady  string // nodes that have been there for long enough
		want    string
	}{
		{"the preferred zone first", []Wish{west, west, west}, "- - -", "a/east b/west c/west", "", "b c b"},
		{"other zones if there is nobody", []Wish{west, {}}, "- -", "a/east b/east !c/west", "", "a b"},
		{"no move back by itself", []Wish{west}, "a", "a/east b/west", "b", "a"},
		{"not into the zone for nothing", []Wish{{}, {}}, "a a", "a/east b/west", "b", "a a"},
		{"back to the zone", []Wish{back}, "a", "a/east b/west c/west", "b c", "b"},
		{"back to a steady node only", []Wish{back}, "a", "a/east b/west c/west", "c", "c"},
		{"not yet", []Wish{back}, "a", "a/east b/west", "a", "a"},
		{"within the zone it stays", []Wish{back, back, back}, "b b b", "a/east b/west c/west", "a b c", "b b b"},
		{"spread within the zone when it moves", []Wish{back, back}, "a a", "a/east b/west c/west", "b c", "b c"},
		{"not out of the zone for the spread", []Wish{back, back, back}, "b b b", "a b/west", "a b", "b b b"},
		{"one more is even enough", []Wish{evenly}, "a", "a b", "a b", "a"},
		{"two more is uneven", []Wish{evenly, evenly}, "a a", "a b", "a b", "b a"},
		{"only what may move, moves", []Wish{{}, evenly, {}}, "a a a", "a b", "a b", "a b a"},
		{"as far as needed", []Wish{evenly, evenly, evenly, evenly, evenly}, "a a a a a", "a b", "b", "b b a a a"},
		{"over three", []Wish{evenly, evenly, evenly}, "a a a", "a b c", "b c", "b c a"},
		{"to the steady", []Wish{evenly, evenly, evenly}, "a a a", "a b c", "c", "c a a"},
		{"not to one that cannot hold it", []Wish{evenly, evenly, evenly}, "a a a", "a b-1", "a b", "a b a"},
		{"an unfit holder gives way", []Wish{{}, {}}, "a a", "a-2 b", "", "a b"},
		{"an unfit node gets none", []Wish{{}, {}}, "- -", "a-1 b c", "", "b a"},
		{"unfit in the zone: the next zone", []Wish{west}, "-", "a/east b-1/west", "", "a"},
		{"nobody is fit: it stays", []Wish{{}, {}}, "b -", "a-1 b-1", "", "b a"},
		{"one that cannot hold weighs nothing", []Wish{{}, {}, {}}, "a - -", "a-1 b-1", "", "a a b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			view := View{Nodes: zoned(test.nodes), Records: map[netip.Addr]Record{}}
			want := map[netip.Addr]string{}
			holders, wants := strings.Fields(test.holders), strings.Fields(test.want)
			for i, vip := range vipList(len(test.wishes)) {
				wish := test.wishes[i]
				wish.Address, wish.PreemptDelay = vip, soon
				view.VIPs = append(view.VIPs, wish)
				if holders[i] != "-" {
					view.Records[vip] = Record{Holder: holders[i], Revision: 1}
				}
				want[vip] = wants[i]
			}
			view.Steady = func(name string, vip Wish) bool {
				return vip.PreemptDelay == soon && strings.Contains(test.steady, name)
			}
			for range 5 {
				if got := Place(view); !maps.Equal(got, want) {
					t.Fatalf("placed %v, want %v", got, want)
				}
				rand.Shuffle(len(view.Nodes), func(i, j int) { view.Nodes[i], view.Nodes[j] = view.Nodes[j], view.Nodes[i] })
			}
		})
	}
}

// Whatever the wishes, moving comes to an end, nothing is placed on a node that cannot hold it, and what is not allowed
// to move does not.
func TestPlaceComesToRest(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 3))
		zone := func() string { return []string{"", "west", "east"}[rng.IntN(3)] }
		view := View{Records: map[netip.Addr]Record{}, Steady: func(string, Wish) bool { return true }}
		vips := vipList(1 + rng.IntN(9))
		for i := range 2 + rng.IntN(4) {
			node := Candidate{Name: fmt.Sprint("n", i), Zone: zone(), Ready: rng.IntN(5) > 0, Draining: rng.IntN(6) == 0, Unfit: map[netip.Addr]string{}}
			for _, vip := range vips {
				if rng.IntN(4) == 0 {
					node.Unfit[vip] = "no carrier"
				}
			}
			view.Nodes = append(view.Nodes, node)
		}
		for _, vip := range vips {
			view.VIPs = append(view.VIPs, Wish{Address: vip, Zone: zone(), Preempt: rng.IntN(2) == 0})
			if rng.IntN(4) > 0 {
				view.Records[vip] = Record{Holder: fmt.Sprint("n", rng.IntN(7)), Revision: 1}
			}
		}
		can := func(name string, vip netip.Addr) bool {
			for _, node := range view.Nodes {
				if _, unfit := node.Unfit[vip]; node.Name == name {
					return node.able() && !unfit
				}
			}
			return false
		}
		for round := 0; ; round++ {
			moved := false
			for vip, name := range Place(view) {
				before := view.Records[vip].Holder
				if name == before {
					continue
				}
				if !can(name, vip) {
					t.Fatalf("seed %d: %s is placed on %s, which cannot hold it", seed, vip, name)
				}
				at := 0
				for view.VIPs[at].Address != vip {
					at++
				}
				if can(before, vip) && !view.VIPs[at].Preempt {
					t.Fatalf("seed %d: %s moved from %s, which is well, to %s", seed, vip, before, name)
				}
				view.Records[vip] = Record{Holder: name, Revision: 1}
				moved = true
			}
			if !moved {
				break
			}
			if round > 20 {
				t.Fatalf("seed %d: it goes on and on", seed)
			}
		}
	}
}

// The better place must have been there for the whole delay without a break, in one term, and the record must have
// been as it is.
func TestPlacerMovesBackAfterTheDelay(t *testing.T) {
	t.Parallel()
	vip := vipList(1)[0]
	both, alone := zoned("a/east b/west"), zoned("a/east !b/west")
	s := &scene{
		vips:  []Wish{{Address: vip, Zone: "west", Preempt: true, PreemptDelay: 10 * time.Second}},
		nodes: alone, down: map[string]bool{},
	}
	now := time.Hour
	cfg := s.config()
	cfg.Clock = func() time.Duration { return now }
	p := NewPlacer(cfg)
	s.leading.Store(true)
	after := func(wait time.Duration, want string) {
		t.Helper()
		now += wait
		if err := p.reconcile(withTimeout(t)); err != nil {
			t.Fatal(err)
		}
		if got := s.record(vip); got.Holder != want {
			t.Fatalf("held by %s, want %s: %+v", got.Holder, want, got)
		}
	}
	after(0, "a") // nobody of the zone is there
	after(time.Minute, "a")
	s.nodes = both
	after(time.Second, "a")
	after(10*time.Second-1, "a")
	after(1, "b")
	if got := s.record(vip); got.From != "a" || got.Reason != "preempt: back to zone west" {
		t.Errorf("the record tells %+v", got)
	}

	// b fails, and comes back with a break after nine seconds.
	s.down["b"] = true
	after(time.Second, "a")
	if got := s.record(vip); got.Reason != "b does not answer" {
		t.Errorf("the record tells %+v", got)
	}
	s.down["b"] = false
	after(time.Second, "a")
	after(9*time.Second, "a")
	s.nodes = alone
	after(time.Millisecond, "a")
	s.nodes = both
	after(time.Millisecond, "a")
	after(10*time.Second-1, "a")
	// A new term counts from its own beginning.
	s.leading.Store(false)
	after(0, "a")
	s.leading.Store(true)
	after(time.Second, "a")
	after(10*time.Second-1, "a")
	after(1, "b")

	// An operator's move stands for as long.
	after(time.Hour, "b")
	if _, err := p.Move(withTimeout(t), vip, "a", "ann"); err != nil {
		t.Fatal(err)
	}
	after(0, "a")
	after(10*time.Second-1, "a")
	after(1, "b")

	// Without preempt nothing moves back.
	s.vips = []Wish{{Address: vip, Zone: "west"}}
	s.down["b"] = true
	after(0, "a")
	s.down["b"] = false
	after(time.Hour, "a")
	after(time.Hour, "a")
}

// The record says how long nothing had been heard of a holder that failed.
func TestPlacerTellsTheSilence(t *testing.T) {
	t.Parallel()
	vip := vipList(1)[0]
	s := &scene{vips: wishes([]netip.Addr{vip}), nodes: ready("a", "b"), down: map[string]bool{"a": true}}
	_ = s.put(vip, Record{Holder: "a", Epoch: 1}, -1)
	cfg := s.config()
	cfg.Why = func(name string) (string, time.Duration) {
		return "silent for 300ms:\n" + strings.Repeat("dial tcp ", 100), 312 * time.Millisecond
	}
	p := NewPlacer(cfg)
	s.leading.Store(true)
	if err := p.reconcile(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	got := s.record(vip)
	if got.Holder != "b" || got.From != "a" || got.Silence != 312 || !strings.HasPrefix(got.Reason, "a does not answer: silent for 300ms: dial tcp") ||
		len(got.Reason) > 300 || strings.ContainsAny(got.Reason, "\n\t") {
		t.Errorf("the record tells %+v", got)
	}
}
