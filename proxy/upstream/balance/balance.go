// Package balance chooses one of many servers for a request.
//
// A Set is an immutable list of members, made anew when anything about them changes; only counters change under it. Picking takes no lock and
// no memory:
//
//   - round_robin walks the schedule of smooth weighted round robin as nginx has it (5, 1, 1 gives a a b a c a a). Where a round is too long to be
//     written down, turns are points of a rotation by the golden ratio, which are exact over a round as well. O(1).
//   - least_requests takes the member with the least running for its weight, of equal ones that which was not used for longest. Up to 16 members are
//     looked through; above it is a tournament tree. O(log n).
//   - random_two draws two members by weight and takes the one with less running for its weight (Mitzenmacher: The Power of Two Choices in Randomized Load
//     Balancing, 2001). O(1).
//   - hash is consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam, 2016). O(1) on average.
//   - first takes the first member in order that has room. O(log n).
//
// Which members have room under their limits is kept in a tree of bits, so that a service whose members are nearly all full costs no more.
package balance

import (
	"slices"
	"sync/atomic"
)

// Kind is how a member is chosen.
type Kind string

const (
	RoundRobin    Kind = "round_robin"
	LeastRequests Kind = "least_requests"
	RandomTwo     Kind = "random_two"
	Hash          Kind = "hash"
	First         Kind = "first"
)

// MaxWeight is the largest weight of a member, as in HAProxy; more counts as this.
const MaxWeight = 256

const maxPercent = 100

// Member is one server of a Set.
type Member struct {
	// Place counts what runs there. No two members of a set have the same.
	Place *Place
	// ID says for Kind Hash which requests are the member's: its address. It is the same on every node.
	ID string
	// Weight is the share against the others, 0 to 256; 0 is never chosen.
	Weight int
	// Percent of the weight that counts now, 1 to 100, as a server warms up or asks for less; 0 is 100. A hash keeps to the whole weight, and has
	// the percentage only in the bound of its load.
	Percent int
	// Limit is how many requests may run there; 0 is no limit.
	Limit int64
	// Out is true while the member cannot be chosen. It keeps its place among those that a hash chooses from.
	Out bool
	// Backup members are chosen only while no other is in.
	Backup bool
	// Near members are in the chooser's own zone.
	Near bool
}

// weigh is the weight that counts now, in hundredths.
func (m *Member) weigh() int {
	percent := maxPercent
	if m.Percent > 0 {
		percent = min(m.Percent, maxPercent)
	}
	return min(max(m.Weight, 0), MaxWeight) * percent
}

// Options are the rest of what a Set is made from.
type Options struct {
	// Kind is how members are chosen; any that is not known here is RoundRobin.
	Kind Kind
	// PreferNear chooses near members as far as those that are in have the capacity.
	PreferNear bool
	// Running is how many requests the service has, with the one that is picked for: the loads of Kind Hash are bounded by it, as Envoy bounds them by
	// what its cluster has. Nil is no bound.
	Running *atomic.Int64
	// Former is the set that this one replaces, whose ring is used again if it has the same members; nil is none.
	Former *Set
}

// Ask is what a request tells for choosing.
type Ask struct {
	// Hash is of what the request is to be known by, for Kind Hash.
	Hash uint64
	// Tried are passed over: they failed this request already.
	Tried []*Place
}

func (a *Ask) tried(p *Place) bool { return len(a.Tried) > 0 && slices.Contains(a.Tried, p) }

// Set is an immutable choice of members.
type Set struct {
	kind    Kind
	members []Member
	turn    *atomic.Uint64
	running *atomic.Int64
	// sides are the members that can be chosen: the near ones and the far ones, or all and none.
	sides [2]side
	split split
	seats []seat
	ring  *ring
	// counts is whether picks are counted as turns, and told whether Left has anything to tell a side.
	counts, told bool
}

// seat is where a member stands among those that can be chosen.
type seat struct {
	place *Place
	slot  int32
	side  int8
}

// nowhere is the side of a member that cannot be chosen.
const nowhere = -1

// New makes a set. Turn is the service's, and lives through all its sets. The members are the set's from then on.
func New(o Options, members []Member, turn *atomic.Uint64) *Set {
	s := &Set{kind: o.Kind, members: members, turn: turn, running: o.Running, seats: make([]seat, len(members))}
	backups := !slices.ContainsFunc(members, func(m Member) bool { return !m.Backup && m.Weight > 0 && !m.Out })
	var near, allNear uint64
	for i := range members {
		m := &members[i]
		m.Place.at.Store(uint32(i))
		s.seats[i] = seat{place: m.Place, side: nowhere}
		if m.Weight <= 0 || m.Backup != backups {
			continue
		}
		var at int8
		if o.PreferNear {
			if m.Near {
				whole := uint64(min(m.Weight, MaxWeight) * maxPercent)
				allNear += whole
				switch {
				case m.Out:
				case o.Kind == Hash: // for which a member's percentage moves no key
					near += whole
				default:
					near += uint64(m.weigh())
				}
			} else {
				at = 1
			}
		}
		if !m.Out {
			s.seats[i].side, s.seats[i].slot = at, s.sides[at].add(i, m)
		}
	}
	s.split = newSplit(near, allNear)
	switch {
	case len(s.sides[1].slots) == 0:
		s.split = split{1, 1}
	case len(s.sides[0].slots) == 0:
		s.split = split{0, 1}
	}
	if o.Kind == Hash {
		s.ring = newRing(members, backups, o.Former)
	}
	for i := range s.sides {
		s.sides[i].build(s, int8(i))
	}
	s.counts = o.Kind != RandomTwo && o.Kind != First && o.Kind != Hash || !s.split.whole()
	s.told = s.sides[0].told() || s.sides[1].told()
	return s
}

// Pick chooses a member and counts the request there until Leave. It returns its index, or -1, and then whether there are members that
// could be chosen but for their limits.
func (s *Set) Pick(ask *Ask) (at int, full bool) {
	if s.kind == Hash {
		if at = s.hashed(ask); at >= 0 {
			return at, false
		}
		return -1, s.untried(ask)
	}
	var turn uint64
	if s.counts {
		turn = s.turn.Add(1) - 1
	}
	near, nth := s.split.turn(turn)
	a, b := s.order(near)
	if i := a.choose(s.kind, turn, nth, ask); i >= 0 {
		return a.member(i), false
	}
	if i := b.choose(s.kind, turn, nth, ask); i >= 0 {
		return b.member(i), false
	}
	return -1, s.untried(ask)
}

// order is which side is asked first.
func (s *Set) order(near bool) (first, second *side) {
	if near {
		return &s.sides[0], &s.sides[1]
	}
	return &s.sides[1], &s.sides[0]
}

// untried tells whether any of the members that can be chosen was not tried yet.
func (s *Set) untried(ask *Ask) bool {
	n := len(s.sides[0].slots) + len(s.sides[1].slots)
	for i, p := range ask.Tried {
		if at := s.index(p); at >= 0 && s.seats[at].side != nowhere && !slices.Contains(ask.Tried[:i], p) {
			n--
		}
	}
	return n > 0
}

// Take counts a request at a member unless it has its limit. It may be out.
func (s *Set) Take(at int) bool {
	if seat := s.seats[at]; seat.side != nowhere {
		return s.sides[seat.side].seize(int(seat.slot), 0, s.turn.Load())
	}
	m := &s.members[at]
	_, ok := m.Place.take(int32(min(max(m.Limit, 0), maxRunning)))
	return ok
}

// Left notes that less runs at a place than before; a place that is not in the set means nothing.
func (s *Set) Left(p *Place) {
	if !s.told {
		return
	}
	if at := s.index(p); at >= 0 && s.seats[at].side != nowhere {
		seat := s.seats[at]
		s.sides[seat.side].left(int(seat.slot))
	}
}

// index is which member a place belongs to, -1 for none.
func (s *Set) index(p *Place) int {
	if at := int(p.at.Load()); at < len(s.seats) && s.seats[at].place == p {
		return at
	}
	// Another set was made since, in which it stands elsewhere: this one is about to be replaced.
	return slices.IndexFunc(s.seats, func(t seat) bool { return t.place == p })
}
