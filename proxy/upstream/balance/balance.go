// Package balance chooses one of many servers for a request.
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

// Place counts what runs at one server. It outlives every Set that lists it.
type Place struct {
	running atomic.Int64
}

// Running is how many requests run there.
func (p *Place) Running() int64 { return p.running.Load() }

// Member is one server of a Set.
type Member struct {
	Place *Place
	// Weight is the share against the others, 0 to 256; 0 is never chosen.
	Weight int
	// Percent of the weight that counts now, 1 to 100, as a server warms up or asks for less; 0 is 100.
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

// Options are the rest of what a Set is made from.
type Options struct {
	Kind Kind
	// PreferNear chooses near members as far as those that are in have the capacity.
	PreferNear bool
}

// Ask is what a request tells for choosing.
type Ask struct {
	// Hash is of what the request is to be known by, for Kind Hash.
	Hash uint64
	// Tried are passed over: they failed this request already.
	Tried []*Place
}

// Set is an immutable choice of members.
type Set struct {
	members []Member
	turn    *atomic.Uint64
}

// New makes a set. Turn is the service's, and lives through all its sets.
func New(o Options, members []Member, turn *atomic.Uint64) *Set {
	return &Set{members: members, turn: turn}
}

// Pick chooses a member and counts the request there until Leave. It returns its index, or -1, and then whether there are members that
// could be chosen but for their limits.
func (s *Set) Pick(ask *Ask) (at int, full bool) {
	start := int(s.turn.Add(1)-1) % max(len(s.members), 1)
	for i := range s.members {
		at := (start + i) % len(s.members)
		m := &s.members[at]
		if m.Out || m.Weight == 0 || slices.Contains(ask.Tried, m.Place) {
			continue
		}
		if s.Take(at) {
			return at, false
		}
		full = true
	}
	return -1, full
}

// Take counts a request at a member unless it has its limit. It may be out.
func (s *Set) Take(at int) bool {
	m := &s.members[at]
	if n := m.Place.running.Add(1); m.Limit > 0 && n > m.Limit {
		m.Place.running.Add(-1)
		return false
	}
	return true
}

// Leave ends what Pick or Take began. The set that is current then is told with Left.
func (p *Place) Leave() { p.running.Add(-1) }

// Left notes that less runs at a place than before; a place that is not in the set means nothing.
func (s *Set) Left(p *Place) {}
