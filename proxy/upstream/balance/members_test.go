package balance

import (
	"fmt"
	"strings"
	"testing"
)

// counts picks n times, each request ending at once.
func (r *rig) counts(n int) []int {
	r.t.Helper()
	all := make([]int, len(r.members))
	for k := range n {
		all[r.want(&Ask{Hash: uint64(k)})]++
	}
	return all
}

func TestBackupsAreForWhenNoOtherIsIn(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			r := newRig(t, Options{Kind: kind}, Member{Weight: 1, Limit: 1}, Member{Weight: 1}, Member{Weight: 1, Backup: true}, Member{Weight: 1, Backup: true})
			r.renew(func(m []Member) { m[1].Limit = 1 })
			for range 2 {
				if at, _ := r.pick(&Ask{}); at != 0 && at != 1 {
					t.Fatalf("got %d", at)
				}
			}
			if at, full := r.pick(&Ask{}); at != -1 || !full {
				t.Errorf("full primaries: got %d, full %v", at, full)
			}
			r.leave(0)
			r.leave(1)
			ask := &Ask{Tried: []*Place{r.members[0].Place, r.members[1].Place}}
			if at, full := r.pick(ask); at != -1 || full {
				t.Errorf("primaries were tried: got %d, full %v", at, full)
			}
			r.renew(func(m []Member) { m[0].Out, m[1].Weight = true, 0 })
			c := r.counts(60)
			if c[0]+c[1] > 0 || c[2] == 0 || kind != First && c[3] == 0 {
				t.Errorf("no primary is in: got %v", c)
			}
			r.renew(func(m []Member) { m[0].Out = false })
			if c := r.counts(60); c[0] != 60 {
				t.Errorf("a primary is back: got %v", c)
			}
			r.renew(func(m []Member) { m[0].Out, m[2].Out, m[3].Out = true, true, true })
			if at, full := r.pick(&Ask{}); at != -1 || full {
				t.Errorf("nobody is in: got %d, full %v", at, full)
			}
			if !r.set.Take(3) || r.members[3].Place.Running() != 1 {
				t.Error("one that is out could not be taken")
			}
			r.leave(3)
		})
	}
}

func TestNobody(t *testing.T) {
	for _, kind := range kinds {
		for _, members := range [][]Member{nil, weighted(0, 0)} {
			if at, full := newRig(t, Options{Kind: kind, PreferNear: true}, members...).pick(&Ask{}); at != -1 || full {
				t.Errorf("%s of %d: got %d, full %v", kind, len(members), at, full)
			}
		}
	}
}

func TestFirstFillsInOrder(t *testing.T) {
	for _, n := range []int{3, 33, 1025, 5000} {
		r := newRig(t, Options{Kind: First}, equal(n)...)
		r.renew(func(m []Member) {
			for i := range m {
				m[i].Limit = int64(1 + i%2)
			}
			m[1].Out = true
		})
		for i, m := range r.members {
			if m.Out {
				continue
			}
			for range m.Limit {
				if at, _ := r.pick(&Ask{}); at != i {
					t.Fatalf("of %d: got %d, want %d", n, at, i)
				}
			}
		}
		if at, full := r.pick(&Ask{}); at != -1 || !full {
			t.Fatalf("all are full: got %d, full %v", at, full)
		}
		for _, i := range []int{n - 1, 2, 0} {
			r.leave(i)
			if at, _ := r.pick(&Ask{}); at != i {
				t.Errorf("of %d: got %d, want %d, who alone has room", n, at, i)
			}
		}
		r.leave(n - 1)
		r.leave(0)
		ask := &Ask{Tried: []*Place{r.members[0].Place}}
		if at, _ := r.pick(ask); at != n-1 {
			t.Errorf("of %d: got %d, want the last one, for the first was tried", n, at)
		}
	}
}

// TestFewHaveRoom lets requests find the last places of many members.
func TestFewHaveRoom(t *testing.T) {
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			const n = 3000
			members := mixed(n)
			for i := range members {
				members[i].Limit = 2
			}
			r := newRig(t, Options{Kind: kind}, members...)
			for k := range 2 * n {
				if at, _ := r.pick(&Ask{Hash: uint64(k)}); at < 0 {
					t.Fatalf("nobody was chosen after %d of %d", k, 2*n)
				}
			}
			for k := range 2 * n {
				if at, full := r.pick(&Ask{Hash: uint64(k)}); at >= 0 || !full {
					t.Fatalf("got %d, full %v", at, full)
				}
				i := k * 7919 % n
				r.leave(i)
				if at, _ := r.pick(&Ask{Hash: uint64(k)}); at != i {
					t.Fatalf("got %d, want %d, who alone has room", at, i)
				}
			}
		})
	}
}

func TestNearFirst(t *testing.T) {
	// Near are a to d, far are e and f.
	members := equal(6)
	for i := range 4 {
		members[i].Near = true
	}
	r := newRig(t, Options{Kind: RoundRobin, PreferNear: true}, members...)
	for _, c := range []struct {
		out  string
		want string
	}{
		{"", "abcdabcd"},
		{"d", "abcabcabc"},          // 3/4 × 1.4 is enough
		{"cd", "eabfabeaba" + "fb"}, // 2/4 × 1.4: 7 of 10
		{"bcd", "efaefae"},          // 1/4 × 1.4: 7 of 20
		{"abcd", "efefef"},
		{"ef", "abcdabcd"},
		{"abef", "cdcd"}, // nobody is far: no need to split
		{"abcdf", "eee"},
		{"abcdef", ""},
	} {
		r.renew(func(m []Member) {
			for i := range m {
				m[i].Out = strings.ContainsRune(c.out, rune('a'+i))
			}
		})
		r.turn.Store(0)
		if c.want == "" {
			if at, full := r.pick(&Ask{}); at != -1 || full {
				t.Errorf("all are out: got %d, full %v", at, full)
			}
			continue
		}
		if got := r.sequence(len(c.want)); got != c.want {
			t.Errorf("without %q: got %s, want %s", c.out, got, c.want)
		}
	}
}

// TestNearShareIsExact counts turns of all kinds while a third of the near capacity is in.
func TestNearShareIsExact(t *testing.T) {
	for _, kind := range kinds {
		if kind == Hash {
			continue
		}
		members := []Member{{Weight: 3, Near: true}, {Weight: 6, Near: true, Out: true}, {Weight: 5}, {Weight: 256}, {Weight: 9, Backup: true, Near: true}}
		r := newRig(t, Options{Kind: kind, PreferNear: true}, members...)
		if c := r.counts(1500); c[0] != 700 || c[1] != 0 || c[4] != 0 || c[2]+c[3] != 800 { // 1.4 × 3/9 = 7/15
			t.Errorf("%s: got %v", kind, c)
		}
		// A member that warms up has less capacity: 1.4 × 1.5/9 = 7/30.
		r.renew(func(m []Member) { m[0].Percent = 50 })
		r.turn.Store(0)
		if c := r.counts(1500); c[0] != 350 {
			t.Errorf("%s, warming up: got %v", kind, c)
		}
	}
}

func TestOtherSideIsAskedWhenOneIsFullOrTried(t *testing.T) {
	for _, kind := range kinds {
		r := newRig(t, Options{Kind: kind, PreferNear: true}, Member{Weight: 1, Near: true, Limit: 2}, Member{Weight: 1, Limit: 1})
		for _, want := range []int{0, 0, 1} {
			if at, _ := r.pick(&Ask{}); at != want {
				t.Errorf("%s: got %d, want %d", kind, at, want)
			}
		}
		if at, full := r.pick(&Ask{}); at != -1 || !full {
			t.Errorf("%s, all full: got %d, full %v", kind, at, full)
		}
		r.leave(0)
		r.leave(1)
		if at, _ := r.pick(&Ask{Tried: []*Place{r.members[0].Place}}); at != 1 {
			t.Errorf("%s, near was tried: got %d", kind, at)
		}
	}
}

// TestKeysStayOnTheirSide lets capacity in the zone shrink, and looks that keys go from near to far only, and no others move.
func TestKeysStayOnTheirSide(t *testing.T) {
	members := equal(14)
	for i := range 10 {
		members[i].Near = true
	}
	r := newRig(t, Options{Kind: Hash, PreferNear: true}, members...)
	before := r.owners()
	for out := range 10 {
		r.renew(func(m []Member) { m[out].Out = true })
		after := r.owners()
		near := 0
		for k := range after {
			if after[k] < 10 {
				near++
			}
			if before[k] == out || before[k] == after[k] || before[k] < 10 && after[k] >= 10 {
				continue
			}
			t.Fatalf("%d out: key %d went from %d to %d", out+1, k, before[k], after[k])
		}
		share := min(1, 1.4*float64(9-out)/10)
		if want := share * keys; float64(near) < want-6*70 || float64(near) > want+6*70 || share == 1 && near != keys || share == 0 && near > 0 {
			t.Errorf("%d out: %d of %d keys are near, want %.0f", out+1, near, keys, want)
		}
		before = after
	}
}

func TestWhatWasTriedIsPassedOver(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{1, 3, 16, 17, 200} {
			r := newRig(t, Options{Kind: kind}, mixed(n)...)
			stranger := new(Place)
			ask := &Ask{Hash: 5, Tried: []*Place{stranger}}
			seen := map[int]bool{}
			for range n {
				at, _ := r.pick(ask)
				if at < 0 || seen[at] {
					t.Fatalf("%s of %d: after %d others got %d", kind, n, len(seen), at)
				}
				seen[at] = true
				ask.Tried = append(ask.Tried, r.members[at].Place)
			}
			if at, full := r.pick(ask); at != -1 || full {
				t.Errorf("%s of %d, all tried: got %d, full %v", kind, n, at, full)
			}
		}
	}
}

func TestPickTakesNoMemory(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{3, 1000} {
			for _, limit := range []int64{0, 1, 100} {
				for _, near := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%d/limit=%d/near=%v", kind, n, limit, near), func(t *testing.T) {
						members := mixed(n)
						for i := range members {
							members[i].Limit, members[i].Near, members[i].Out = limit, i%2 == 0, i%3 == 2
						}
						r := newRig(t, Options{Kind: kind, PreferNear: near}, members...)
						asks := []*Ask{{Hash: 1}, {Hash: 9, Tried: []*Place{members[0].Place, new(Place)}}}
						if got := testing.AllocsPerRun(100, func() {
							for _, ask := range asks {
								one, _ := r.pick(ask)
								if other, _ := r.pick(ask); other >= 0 {
									r.leave(other)
								}
								if one >= 0 {
									r.leave(one)
								}
							}
						}); got != 0 {
							t.Errorf("%v allocations", got)
						}
					})
				}
			}
		}
	}
}
