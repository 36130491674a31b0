package balance

import (
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"
)

const (
	// pointsPerWeight is how many points a ring has for each unit of a weight, as long as there are few enough.
	pointsPerWeight = 128
	// fewPoints is how many points any ring may have, and fewPerMember how many more members allow.
	fewPoints, fewPerMember = 1 << 16, 32
	// A point is one word: where it is on the ring, in the upper bits, and whose it is.
	ownerBits = 24
	ownerMask = 1<<ownerBits - 1
)

// golden is the odd number next to 2^64 divided by the golden ratio.
const golden = 0x9e3779b97f4a7c15

// mix spreads a word over all words (the finalizer of SplitMix64: Steele, Lea, Flood, 2014). It is one to one.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// ring is the points of all members that a hash chooses from, be they in or out. Where a member's points are depends on its ID only, and how many it has on
// its weight only: 128 for each unit, up to a sum of weights of 512 (or of 32 points for each member, if that is more). Above it all have half as many, or a
// quarter, and so on, so that a ring stays small; the points that remain are where they were.
type ring struct {
	ids     []string
	weights []int    // 0 is not on the ring
	points  []uint64 // sorted
}

// newRing makes the ring of the members that are backups, or of those that are not. It is the former set's if nothing has changed.
func newRing(members []Member, backups bool, former *Set) *ring {
	r := &ring{ids: make([]string, len(members)), weights: make([]int, len(members))}
	n, sum := 0, 0
	for i := range members {
		r.ids[i] = members[i].ID
		if w := members[i].Weight; w > 0 && members[i].Backup == backups {
			r.weights[i] = min(w, MaxWeight)
			n, sum = n+1, sum+r.weights[i]
		}
	}
	if former != nil && former.ring != nil && slices.Equal(former.ring.ids, r.ids) && slices.Equal(former.ring.weights, r.weights) {
		return former.ring
	}
	most, per, shift := max(fewPoints, fewPerMember<<bits.Len(uint(max(n-1, 0)))), pointsPerWeight, 0
	for sum*per>>shift > most {
		shift++
	}
	r.points = make([]uint64, 0, sum*per>>shift+n)
	for i, w := range r.weights {
		if w == 0 {
			continue
		}
		start := xxhash.Sum64String(r.ids[i])
		for k := range uint64(max(1, w*per>>shift)) {
			r.points = append(r.points, mix(start+k*golden)&^ownerMask|uint64(i))
		}
	}
	slices.Sort(r.points)
	return r
}

// arcs is the part of a ring that belongs to the members of one side.
type arcs struct {
	points []uint64 // their owners are slots
	// guide says which point is the first at or after each 1<<shift of the places on the ring. There is one for two to four points: with more
	// of them it would take the cache that the points need.
	guide []uint32
	shift int
	// load is the numerator and whole the denominator of the bound, for one request and a weight of one.
	load, whole uint64
}

// Loads are bounded by 5/4 of the average: the smaller that is, the evener the load, and the more requests go elsewhere than their hash says.
const boundNumerator, boundDenominator = 5, 4

// newArcs makes the arcs of one side of a set.
func newArcs(s *Set, side int8) *arcs {
	a := &arcs{points: make([]uint64, 0, len(s.ring.points))}
	for _, p := range s.ring.points {
		if seat := s.seats[p&ownerMask]; seat.side == side {
			a.points = append(a.points, p&^ownerMask|uint64(seat.slot))
		}
	}
	a.shift = min(64, 66-bits.Len(uint(len(a.points))))
	a.guide = make([]uint32, 1<<(64-a.shift))
	i := 0
	for g := range a.guide {
		for i < len(a.points) && a.points[i]>>a.shift < uint64(g) {
			i++
		}
		a.guide[g] = uint32(i)
	}
	var sum uint64
	for _, m := range s.sides[side].slots {
		sum += uint64(m.weight)
	}
	a.load, a.whole = boundNumerator*s.split.parts(side), boundDenominator*s.split.all*sum
	return a
}

// at is whose the first point is at or after a place on the ring.
func (a *arcs) at(place uint64) int {
	place &^= ownerMask
	i := a.guide[place>>a.shift]
	for int(i) < len(a.points) && a.points[i] < place {
		i++
	}
	if int(i) == len(a.points) {
		i = 0
	}
	return int(a.points[i] & ownerMask)
}

// minBound is how many requests may run at any member: a browser asks for several things at once, and while little runs nobody needs to be spared.
const minBound = 8

// bound is how many requests may run at a member of a weight when so many run in all: ⌈5/4 of its share⌉, and a few in any case; 0 is no bound.
func (a *arcs) bound(weight uint32, requests uint64) int32 {
	if a == nil || requests == 0 {
		return 0
	}
	// The requests are fewer than 2^31, as are the weights in all; the split has fewer than 2^24 parts.
	high, low := bits.Mul64(requests*uint64(weight), a.load)
	bound, rest := bits.Div64(high, low, a.whole)
	if rest > 0 {
		bound++
	}
	return int32(min(max(bound, minBound), maxRunning))
}
