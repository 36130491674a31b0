package balance

import "math/rand/v2"

const (
	// walk is how many turns after its own a round robin tries before it asks who has room.
	walk = 8
	// pairs is how many times two members are drawn before it is asked who has room.
	pairs = 4
	// tries is how often the least busy member is sought when others take it first.
	tries = 4
	// scanned is up to how many members the least busy one is sought by looking at each.
	scanned = 16
)

// slot is a member that can be chosen. It is small, so that more of them fit into the cache.
type slot struct {
	place  *Place
	limit  int32  // 0 is none
	weight uint32 // in hundredths
}

// full tells whether as many requests run as may.
func (s *slot) full() bool { return s.limit > 0 && s.place.running.Load() >= s.limit }

// side is the members of one zone preference that can be chosen.
type side struct {
	slots  []slot
	at     []uint32 // the slots' members; nil if they are all members there are, or the first ones
	turns  *turns   // for round_robin
	shares *shares  // for random_two
	used   bool     // for least_requests: who was not used for longest comes first
	tree   *tree    // for least_requests with many members
	arcs   *arcs    // for hash
	room   *room    // nil if no member has a limit
}

// add puts a member at the end and returns its slot.
func (a *side) add(at int, m *Member) int32 {
	s := slot{place: m.Place, weight: uint32(m.weigh())}
	if m.Limit > 0 && m.Limit <= maxRunning {
		s.limit = int32(m.Limit)
	}
	if a.at == nil && at != len(a.slots) {
		for i := range len(a.slots) {
			a.at = append(a.at, uint32(i))
		}
	}
	if a.at != nil || at != len(a.slots) {
		a.at = append(a.at, uint32(at))
	}
	a.slots = append(a.slots, s)
	return int32(len(a.slots) - 1)
}

// build makes what the kind needs, when all members are there.
func (a *side) build(s *Set, index int8) {
	if len(a.slots) == 0 {
		return
	}
	a.room = newRoom(a.slots)
	switch s.kind {
	case LeastRequests:
		a.used = true
		if len(a.slots) > scanned {
			a.tree = newTree(a.slots)
		}
	case RandomTwo:
		a.shares = newShares(reduce(a.slots))
	case Hash:
		a.arcs = newArcs(s, index)
	case First:
	default:
		a.turns = newTurns(reduce(a.slots))
	}
}

// told tells whether left has anything to do.
func (a *side) told() bool { return a.room != nil || a.tree != nil }

func (a *side) member(i int) int {
	if a.at == nil {
		return i
	}
	return int(a.at[i])
}

// choose takes a member; -1 if there is none to be had. The request is the service's turn, and the nth that the side has got.
func (a *side) choose(kind Kind, turn, nth uint64, ask *Ask) int {
	if len(a.slots) == 0 || a.room.none() {
		return -1
	}
	switch kind {
	case LeastRequests:
		return a.least(turn, ask)
	case RandomTwo:
		return a.lighterOfTwo(ask)
	case First:
		return a.any(0, turn, ask)
	}
	i := 0
	for range walk {
		i = a.turns.at(nth)
		if a.take(i, 0, turn, ask) {
			return i
		}
		nth++
	}
	return a.any(i, turn, ask)
}

// take counts a request at a member, unless the request has tried it, or as many run there as may, or as the bound has it; 0 is no bound.
func (a *side) take(i int, bound int32, turn uint64, ask *Ask) bool {
	return !ask.tried(a.slots[i].place) && a.seize(i, bound, turn)
}

// seize is take for whoever has tried nothing.
func (a *side) seize(i int, bound int32, turn uint64) bool {
	s := &a.slots[i]
	limit := s.limit
	if limit == 0 || bound > 0 && bound < limit {
		limit = bound
	}
	n, ok := s.place.take(limit)
	if ok && a.used {
		s.place.used.Store(turn + 1)
	}
	if s.limit > 0 && n >= s.limit {
		a.room.filled(i)
	}
	if a.tree != nil {
		a.tree.refresh(i)
	}
	return ok
}

// left notes that less runs at a member.
func (a *side) left(i int) {
	if a.slots[i].limit > 0 {
		a.room.left(i)
	}
	if a.tree != nil {
		a.tree.refresh(i)
	}
}

// any takes the first member with room from one on, and after the last goes on at the first; -1 if there is none.
func (a *side) any(from int, turn uint64, ask *Ask) int {
	if len(a.slots) == 0 {
		return -1
	}
	if i := a.within(from, len(a.slots), turn, ask, 0); i >= 0 {
		return i
	}
	return a.within(0, from, turn, ask, 0)
}

// within takes the first member with room of those in [from, to) whose load is below its bound for so many requests; 0 is no bound.
func (a *side) within(from, to int, turn uint64, ask *Ask, requests uint64) int {
	for i := a.room.next(from); i >= 0 && i < to && i < len(a.slots); i = a.room.next(i + 1) {
		if a.take(i, a.arcs.bound(a.slots[i].weight, requests), turn, ask) {
			return i
		}
	}
	return -1
}

// least takes the member with the least running for its weight.
func (a *side) least(turn uint64, ask *Ask) int {
	i := -1
	for range tries {
		if a.tree != nil {
			i = a.tree.best(ask)
		} else {
			i = scan(a.slots, ask)
		}
		if i < 0 {
			return -1 // all were tried
		}
		if a.take(i, 0, turn, ask) {
			return i
		}
	}
	return a.any(i, turn, ask)
}

// lighterOfTwo draws two members by weight and takes the one with less running for its weight; of equal ones the first drawn, which keeps to the weights.
func (a *side) lighterOfTwo(ask *Ask) int {
	i := 0
	for range pairs {
		one, other := a.shares.pair(rand.Uint64(), rand.Uint64(), rand.Uint64())
		if a.slots[other].load().below(a.slots[one].load()) {
			one, other = other, one
		}
		if a.take(one, 0, 0, ask) {
			return one
		}
		if other != one && a.take(other, 0, 0, ask) {
			return other
		}
		i = one
	}
	return a.any(i, 0, ask)
}
