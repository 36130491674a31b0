package balance

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"
)

const keys = 20000

// owners are who is chosen for each of many keys, one after another.
func (r *rig) owners() []int {
	r.t.Helper()
	all := make([]int, keys)
	for k := range all {
		all[k] = r.want(&Ask{Hash: uint64(k)})
	}
	return all
}

// TestHashFollowsTheRing makes the ring anew, in the plainest way, and asks it for each key.
func TestHashFollowsTheRing(t *testing.T) {
	for _, members := range [][]Member{equal(3), weighted(1, 2, 0, 5, 1), mixed(20), equal(300), weighted(4)} {
		t.Run(fmt.Sprint(len(members)), func(t *testing.T) {
			if len(members) > 4 {
				members[3].Out = true
			}
			r := newRig(t, Options{Kind: Hash}, members...)
			sum := 0
			for _, m := range members {
				sum += m.Weight
			}
			per := pointsPerWeight
			for sum*per > fewPoints {
				per /= 2
			}
			type point struct {
				place uint64
				owner int
			}
			var points []point
			for i, m := range members {
				for k := range uint64(m.Weight * per) {
					if !m.Out {
						points = append(points, point{mix(xxhash.Sum64String(m.ID)+k*golden) >> ownerBits, i})
					}
				}
			}
			slices.SortFunc(points, func(a, b point) int {
				if a.place < b.place || a.place == b.place && a.owner < b.owner {
					return -1
				}
				return 1
			})
			counts := make([]int, len(members))
			for k, got := range r.owners() {
				place := mix(mix(uint64(k))) >> ownerBits
				i := 0
				for step := 1 << bits.Len(uint(len(points))); step > 0; step /= 2 {
					if i+step <= len(points) && points[i+step-1].place < place {
						i += step
					}
				}
				if want := points[i%len(points)].owner; got != want {
					t.Fatalf("key %d: got %d, want %d", k, got, want)
				}
				counts[got]++
			}
			// The expectation of each count is the length of the member's arcs.
			lengths := make([]float64, len(members))
			for i, p := range points {
				before := points[(i+len(points)-1)%len(points)].place
				lengths[p.owner] += float64((p.place-before)&(1<<(64-ownerBits)-1)) / (1 << (64 - ownerBits))
			}
			if len(points) > 0 && len(members) == 1 {
				lengths[0] = 1
			}
			for i, length := range lengths {
				// Six standard deviations of a binomial distribution; the keys are always the same.
				want := length * keys
				if off := float64(counts[i]) - want; off*off > 36*want*(1-length)+1 {
					t.Errorf("member %d: %d keys, want %.0f", i, counts[i], want)
				}
				// And a member's arcs are as long as its weight says, as far as its points can say it.
				if m := members[i]; m.Weight > 0 && !m.Out {
					ideal := float64(m.Weight*per) / float64(len(points))
					if off := length/ideal - 1; off*off*float64(m.Weight*per) > 25 {
						t.Errorf("member %d: arcs of %.4f for a share of %.4f", i, length, ideal)
					}
				}
			}
		})
	}
}

// TestHashMovesOnlyTheShareOfWhoIsOut takes members out in several ways and brings them back.
func TestHashMovesOnlyTheShareOfWhoIsOut(t *testing.T) {
	r := newRig(t, Options{Kind: Hash}, weighted(1, 2, 3, 1, 1, 1, 4, 1)...)
	before := r.owners()
	compare := func(what string, lost int, after []int) {
		moved := 0
		for k := range before {
			switch {
			case before[k] != lost && after[k] != before[k]:
				t.Fatalf("%s: key %d was %d's and is %d's", what, k, before[k], after[k])
			case after[k] != before[k]:
				moved++
			}
		}
		if lost >= 0 && moved == 0 {
			t.Errorf("%s: no key has moved", what)
		}
	}
	for lost := range r.members {
		r.renew(func(m []Member) { m[lost].Out = true })
		compare("out", lost, r.owners())
		r.renew(func(m []Member) { m[lost].Out, m[lost].Percent = false, 10 })
		compare("back, and warming up", -1, r.owners())
		weight := r.members[lost].Weight
		r.renew(func(m []Member) { m[lost].Percent, m[lost].Weight = 0, 0 })
		compare("of weight 0", lost, r.owners())
		r.renew(func(m []Member) { m[lost].Weight = weight })
		compare("back", -1, r.owners())
	}
	// One that leaves the document, from amidst the others.
	rest := newRig(t, Options{Kind: Hash}, slices.Delete(slices.Clone(r.members), 2, 3)...)
	after := rest.owners()
	for k, at := range after {
		if at >= 2 {
			after[k]++
		}
	}
	compare("gone", 2, after)
}

func TestRingIsBoundedAndKept(t *testing.T) {
	for _, members := range [][]Member{mixed(10000), mixed(100), equal(10000)} {
		r := newRig(t, Options{Kind: Hash}, members...)
		n := len(members)
		most := max(fewPoints, 2*fewPerMember*n)
		if got := len(r.set.ring.points); got > most+n {
			t.Errorf("%d members have %d points", n, got)
		}
		first := r.set.ring
		r.renew(func(m []Member) { m[1].Out, m[2].Percent, m[3].Limit = true, 30, 4 })
		if r.set.ring != first {
			t.Errorf("%d members: the ring was made again though nobody came or went", n)
		}
		r.renew(func(m []Member) { m[4].Weight = 200 })
		if r.set.ring == first {
			t.Errorf("%d members: the ring was not made again when a weight changed", n)
		}
	}
	// With half as many points for each, those that remain are where they were.
	few, many := newRig(t, Options{Kind: Hash}, equal(400)...).set.ring, newRig(t, Options{Kind: Hash}, equal(600)...).set.ring
	was := map[uint64]bool{}
	for _, p := range few.points {
		was[p] = true
	}
	for _, p := range many.points {
		if p&ownerMask < 400 && !was[p] {
			t.Fatal("a point has moved")
		}
	}
}

// TestHashBoundsLoads picks without leaving, for different keys and for one only, and looks at the bound after each pick.
func TestHashBoundsLoads(t *testing.T) {
	for name, members := range map[string][]Member{"equal": equal(10), "mixed": weighted(1, 2, 3, 10, 1, 7), "many": equal(200), "percent": {
		{Weight: 2}, {Weight: 2, Percent: 25}, {Weight: 1}}} {
		for _, distinct := range []uint64{1, 3, 1 << 40} {
			t.Run(fmt.Sprintf("%s/%d", name, distinct), func(t *testing.T) {
				r := newRig(t, Options{Kind: Hash}, slices.Clone(members)...)
				var sum int64
				for _, m := range r.members {
					sum += int64(m.weigh())
				}
				random := rand.New(rand.NewPCG(5, distinct))
				for n := int64(1); n <= 2000; n++ {
					at, _ := r.pick(&Ask{Hash: random.Uint64N(distinct)})
					if at < 0 {
						t.Fatalf("request %d: nobody was chosen", n)
					}
					m := r.members[at]
					if got, bound := m.Place.Running(), max(minBound, ceil(5*n*int64(m.weigh()), 4*sum)); got > bound {
						t.Fatalf("request %d: %d run at member %d, whose bound is %d", n, got, at, bound)
					}
				}
			})
		}
	}
}

func TestHashBoundsLoadsOfManyAtOnce(t *testing.T) {
	r := newRig(t, Options{Kind: Hash}, mixed(30)...)
	var sum int64
	for _, m := range r.members {
		sum += int64(m.weigh())
	}
	const workers, each = 8, 1000
	var work sync.WaitGroup
	for w := range workers {
		work.Go(func() {
			for k := range each {
				if at, _ := r.pick(&Ask{Hash: uint64(w*each+k) % 50}); at < 0 {
					t.Error("nobody was chosen")
					return
				}
			}
		})
	}
	work.Wait()
	for i, m := range r.members {
		if got, bound := m.Place.Running(), ceil(5*workers*each*int64(m.weigh()), 4*sum); got > bound {
			t.Errorf("%d run at member %d, whose bound is %d", got, i, bound)
		}
	}
}

// TestBoundGivesWay has members whose limits leave less room than the bound needs, and a request that has tried all others.
func TestBoundGivesWay(t *testing.T) {
	r := newRig(t, Options{Kind: Hash}, Member{Weight: 1, Limit: 1}, Member{Weight: 1, Limit: 2}, Member{Weight: 1, Limit: 50})
	for n := range uint64(53) {
		if at, _ := r.pick(&Ask{Hash: n * 77}); at < 0 {
			t.Fatalf("request %d: nobody was chosen, though there is room for 53", n)
		}
	}
	if at, full := r.pick(&Ask{}); at >= 0 || !full {
		t.Errorf("the 54th: got %d, full %v", at, full)
	}
	r = newRig(t, Options{Kind: Hash}, equal(4)...)
	for range 20 {
		ask := &Ask{Tried: []*Place{r.members[0].Place, r.members[1].Place, r.members[3].Place}}
		if at, _ := r.pick(ask); at != 2 {
			t.Fatalf("got %d, want 2, which alone was not tried", at)
		}
	}
}
