package rate

import (
	"encoding/binary"
	"strconv"
	"sync/atomic"
	"time"
)

// Spec is what a document says about a limit.
type Spec struct {
	// Place is where the document has the limit; its requests are counted there when it refuses them.
	Place Place
	// Index is the limit's place in its list.
	Index int
	Rate  Rate
	Burst int64 // at least 1
	// By is what requests are told apart by.
	By string
	// Whole: they are not told apart, and have one bucket together.
	Whole bool
	// Part tells apart limits of one place that count for themselves; usually empty.
	Part string
}

// Place is a route or a service of a document; the other field is empty.
type Place struct{ Route, Service string }

// id is the same on all nodes.
func (s Spec) id(h Hasher) uint64 {
	var b []byte
	for _, text := range []string{s.Place.Route, s.Place.Service, s.Part, s.By, s.Rate.String()} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	b = strconv.AppendInt(append(b, ' '), int64(s.Index), 10)
	b = strconv.AppendInt(append(b, ' '), s.Burst, 10)
	return h.Text(string(b))
}

// Limit has the buckets of one limit. Times are on the clock of its set.
type Limit struct {
	set      *Set
	id       uint64
	interval int64 // nanoseconds between two tokens
	span     int64 // in which an empty bucket fills
	refused  *atomic.Uint64
	one      *single // the one bucket; nil if there are keys
	many     *shards
	// dirty says that there is something to tell, hasty that there is something to tell at once.
	dirty, hasty atomic.Bool
	turn         int // the shard with which the journal goes on; its own
}

func newLimit(set *Set, id uint64, s Spec) *Limit {
	l := &Limit{set: set, id: id, interval: s.Rate.interval()}
	l.span = s.Burst * l.interval
	if s.Whole {
		l.one = &single{}
	} else {
		l.many = &shards{}
	}
	return l
}

// Take takes a token for a request with this key. If there is none, it says for how long there will be none.
func (l *Limit) Take(key uint64, now time.Duration) (wait time.Duration, ok bool) {
	var urgent bool
	if l.one != nil {
		wait, urgent = l.one.take(l, int64(now))
	} else {
		wait, urgent = l.many.take(l, key, int64(now))
	}
	if wait > 0 {
		return wait, false
	}
	raise(&l.dirty)
	if urgent {
		raise(&l.hasty)
		l.set.hurry()
	}
	return 0, true
}

// raise sets a flag, without a write if it is set already.
func raise(flag *atomic.Bool) {
	if !flag.Load() {
		flag.Store(true)
	}
}

// Return gives a token back that was taken for a request which another limit has refused.
func (l *Limit) Return(key uint64) {
	if l.one != nil {
		l.one.giveBack(l)
	} else {
		l.many.giveBack(l, key)
	}
}

// Refuse counts a request that this limit has refused.
func (l *Limit) Refuse() { l.refused.Add(1) }

// charge takes what another node has let through, as of a time that may be a while ago.
func (l *Limit) charge(key, used uint64, now, then time.Duration) {
	most := l.span + int64(keepFor) // what one node can have spent since it told last
	cost := most
	if used < uint64(most/l.interval) {
		cost = int64(used) * l.interval
	}
	deepest := int64(now) + l.span + int64(l.set.sources.Load())*most
	if l.one != nil {
		l.one.charge(int64(then), cost, deepest)
	} else {
		l.many.charge(key, int64(now), int64(then), cost, deepest)
	}
}

// taken is the bucket after a token was taken from it. If there is none, it says for how long.
func (l *Limit) taken(full, now int64) (after int64, wait time.Duration) {
	after = max(full, now) + l.interval
	if over := after - now - l.span; over > 0 {
		return full, time.Duration(over)
	}
	return after, 0
}

// urgent tells whether others should hear at once that this many tokens were taken: an eighth of what is left. As all nodes do so, what they do not know
// of each other goes to nothing as the bucket empties.
func (l *Limit) urgent(full, now, used int64) bool {
	left := now + l.span - full
	return used*8 >= left/l.interval
}

// single is the only bucket of a limit.
type single struct {
	full atomic.Int64 // when it is full again
	used atomic.Int64 // tokens that were taken and not told yet
}

func (b *single) take(l *Limit, now int64) (wait time.Duration, urgent bool) {
	for {
		full := b.full.Load()
		after, wait := l.taken(full, now)
		if wait > 0 {
			return wait, false
		}
		if b.full.CompareAndSwap(full, after) {
			return 0, l.urgent(after, now, b.used.Add(1))
		}
	}
}

func (b *single) giveBack(l *Limit) {
	b.full.Add(-l.interval)
	b.used.Add(-1)
}

func (b *single) charge(then, cost, deepest int64) {
	for {
		full := b.full.Load()
		after := max(full, min(max(full, then)+cost, deepest))
		if b.full.CompareAndSwap(full, after) {
			return
		}
	}
}

// collect passes on what is to be told, at most room entries, and tells whether nothing is left. With hasty it is only what should be heard at once.
func (l *Limit) collect(hasty bool, room int, tell func(key, used uint64)) (told int, done bool) {
	if l.one != nil {
		if room == 0 {
			return 0, false
		}
		if used := l.one.collect(); used > 0 {
			tell(0, used)
			told = 1
		}
		return told, true
	}
	for range l.many {
		n, left := l.many[l.turn].collect(hasty, room-told, tell)
		if told += n; left > 0 {
			return told, false
		}
		l.turn = (l.turn + 1) % len(l.many)
	}
	return told, true
}

// collect takes what is to be told.
func (b *single) collect() uint64 {
	for {
		used := b.used.Load()
		if used <= 0 {
			return 0
		}
		if b.used.CompareAndSwap(used, 0) {
			return uint64(used)
		}
	}
}
