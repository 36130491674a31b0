package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// naive is the member with the least running for its weight, of equal ones that which was not used for longest; -1 if there is none.
func naive(members []Member, used []int, tried []*Place) int {
	best := -1
	backups := true
	for _, m := range members {
		backups = backups && (m.Backup || m.Out || m.Weight == 0)
	}
	for i, m := range members {
		if m.Out || m.Weight == 0 || m.Backup != backups || m.Limit > 0 && m.Place.Running() >= m.Limit || (&Ask{Tried: tried}).tried(m.Place) {
			continue
		}
		if best < 0 {
			best = i
			continue
		}
		a, b := m.Place.Running()*int64(members[best].weigh()), members[best].Place.Running()*int64(m.weigh())
		if a < b || a == b && used[i] < used[best] {
			best = i
		}
	}
	return best
}

// TestLeastIsExact compares each of many picks with the naive choice.
func TestLeastIsExact(t *testing.T) {
	for _, n := range []int{3, 17, 100, 1000} {
		for _, limited := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/limited=%v", n, limited), func(t *testing.T) {
				random := rand.New(rand.NewPCG(uint64(n), 7))
				members := mixed(n)
				for i := range members {
					members[i].Out = random.IntN(10) == 0
					if limited && random.IntN(4) > 0 {
						members[i].Limit = 1 + random.Int64N(4)
					}
					if random.IntN(3) == 0 {
						members[i].Percent = 1 + random.IntN(100)
					}
				}
				r := newRig(t, Options{Kind: LeastRequests}, members...)
				used := make([]int, n)
				var held []int
				most, found := 3*n, 0
				const steps = 5000
				for step := range steps {
					if len(held) == most || len(held) > 0 && random.IntN(100) < 45 {
						k := random.IntN(len(held))
						r.leave(held[k])
						held[k] = held[len(held)-1]
						held = held[:len(held)-1]
						continue
					}
					ask := &Ask{}
					for range random.IntN(4) * random.IntN(2) {
						ask.Tried = append(ask.Tried, members[random.IntN(n)].Place)
					}
					if want := naive(members, used, ask.Tried); want >= 0 && len(ask.Tried) == 0 && random.IntN(3) == 0 {
						ask.Tried = append(ask.Tried, members[want].Place) // the winner itself has failed
					}
					want := naive(members, used, ask.Tried)
					at, _ := r.pick(ask)
					if at != want {
						t.Fatalf("step %d: got %d, want %d", step, at, want)
					}
					if at >= 0 {
						held, found = append(held, at), found+1
						used[at] = step + 1
					}
				}
				if found < steps/4 {
					t.Errorf("only %d of %d steps found anybody", found, steps)
				}
			})
		}
	}
}

func TestIdleLeastRotates(t *testing.T) {
	if got := newRig(t, Options{Kind: LeastRequests}, equal(3)...).sequence(7); got != "abcabca" {
		t.Errorf("3 members: got %s", got)
	}
	r := newRig(t, Options{Kind: LeastRequests}, equal(100)...)
	for i := range 300 {
		if at := r.want(&Ask{}); at != i%100 {
			t.Fatalf("100 members: pick %d is %d", i, at)
		}
	}
}

// TestLeastKnowsWhatASetBeforeItHas makes a set while requests run, and tells it of those that have left since.
func TestLeastKnowsWhatASetBeforeItHas(t *testing.T) {
	r := newRig(t, Options{Kind: LeastRequests}, equal(40)...)
	for range 40 {
		r.pick(&Ask{})
	}
	r.leave(31)
	r.renew(func([]Member) {})
	if at, _ := r.pick(&Ask{}); at != 31 {
		t.Errorf("got %d, want 31", at)
	}
	// It leaves after the next set has read its counter, and before that is in use.
	p := r.members[7].Place
	next := New(r.o, r.members, &r.turn)
	p.Leave()
	r.set.Left(p)
	next.Left(p)
	if at, _ := next.Pick(&Ask{}); at != 7 {
		t.Errorf("the next set: got %d, want 7", at)
	}
}

func TestRandomTwoTakesTheLighterForItsWeight(t *testing.T) {
	// Of two members both are always drawn.
	r := newRig(t, Options{Kind: RandomTwo}, weighted(1, 3)...)
	for n := range int64(100) {
		for range 4 {
			r.pick(&Ask{})
		}
		if a, b := r.members[0].Place.Running(), r.members[1].Place.Running(); a != n+1 || b != 3*(n+1) {
			t.Fatalf("after %d: %d and %d, want %d and %d", 4*(n+1), a, b, n+1, 3*(n+1))
		}
	}
}

// TestPairsAreDrawnByWeight draws all pairs that there are, from words at even distances.
func TestPairsAreDrawnByWeight(t *testing.T) {
	weights := []uint32{1, 2, 5}
	s := newShares(weights)
	const total = 8
	spread := func(k, n uint64) uint64 { return (2*k + 1) * (^uint64(0)/(2*n) + 1) } // the middle of the k-th of n parts
	counts := [3][3]int{}
	const thirds = 7 * 6 * 3 // has all of total-weight as divisors
	for a := range uint64(total) {
		for b := range uint64(total) {
			for c := range uint64(thirds) {
				one, other := s.pair(spread(a, total), spread(b, total), spread(c, thirds))
				counts[one][other]++
			}
		}
	}
	for i, w := range weights {
		for j, v := range weights {
			want := 0
			if i != j {
				// By weight directly, or after the same was drawn twice, by weight among the others.
				want = int(w*v)*thirds + int(w*w*v)*thirds/int(total-w)
			}
			if counts[i][j] != want {
				t.Errorf("%d and %d: drawn %d times, want %d", i, j, counts[i][j], want)
			}
		}
	}
}
