package balance

// jumps is how often a request goes on from a member that has no room to another place on the ring. By the bound a fifth of all room is free, unless
// members' limits take it away, so that more than 32 jumps are needed by one of a thousand requests.
const jumps = 32

// hashed takes the member that a request's hash says, or the next that has room by its limit and by the bound of loads. If no member that the bound lets have
// it can take the request, it goes to any that can: a bound is no reason to wait, a limit is.
//
// From a full member a request does not go on to the next point of the ring but to another place that its hash says, as in Chen, Coleman, Shrivastava:
// Revisiting Consistent Hashing with Bounded Loads (2021): the neighbour of a full member would fill up next, and requests for one thing only would
// fill so long a run that each has to walk past most of the members.
func (s *Set) hashed(ask *Ask) int {
	a, b := s.order(s.split.key(ask.Hash))
	var requests uint64
	if s.running != nil {
		requests = uint64(max(s.running.Load(), 1))
	}
	for _, side := range [...]*side{a, b} {
		if i := side.jump(ask, requests); i >= 0 {
			return side.member(i)
		}
	}
	for _, side := range [...]*side{a, b} {
		if requests == 0 || !side.hashable() {
			continue
		}
		from := int(ask.Hash % uint64(len(side.slots)))
		if i := side.within(from, len(side.slots), 0, ask, requests); i >= 0 {
			return side.member(i)
		}
		if i := side.within(0, from, 0, ask, requests); i >= 0 {
			return side.member(i)
		}
	}
	for _, side := range [...]*side{a, b} {
		if n := len(side.slots); n > 0 {
			if i := side.any(int(ask.Hash%uint64(n)), 0, ask); i >= 0 {
				return side.member(i)
			}
		}
	}
	return -1
}

// hashable tells whether hashes choose from the side: a side may have no share of the requests, and be there for when the other is full.
func (a *side) hashable() bool { return len(a.slots) > 0 && a.arcs.load > 0 && !a.room.none() }

// jump takes the member at the first place on the ring that has room.
func (a *side) jump(ask *Ask, requests uint64) int {
	if !a.hashable() {
		return -1
	}
	start := mix(ask.Hash)
	for k := range uint64(jumps) {
		i := a.arcs.at(mix(start + k*golden))
		if a.take(i, a.arcs.bound(a.slots[i].weight, requests), 0, ask) {
			return i
		}
	}
	return -1
}
