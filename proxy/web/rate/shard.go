package rate

import (
	"math"
	"sync"
	"time"
)

const (
	// maxKeys is how many buckets one limit has at most.
	maxKeys   = 100_000
	shardBits = 5
	shardKeys = maxKeys >> shardBits
	// looks is at how many buckets is looked for one to give up.
	looks = 8
	// fewKeys is from how many buckets on it is worth to give memory back.
	fewKeys = 16
)

// shards are the buckets of a limit, by key.
type shards [1 << shardBits]shard

// shard is a part of them. The zero value is empty.
type shard struct {
	mu    sync.Mutex
	index map[uint64]uint32 // into slots
	slots []slot
	// dirty are the slots from which was taken, hasty those of them of which others should hear at once. A slot is in each at most once.
	dirty, hasty []uint32
	hand         uint32   // where the next bucket to give up is looked for
	_            [24]byte // shards of one cache line would wait for each other
}

// slot is one bucket.
type slot struct {
	key   uint64
	full  int64 // when it is full again
	used  int32 // tokens that were taken here and not told yet
	dirty bool  // it is in the list of that name
	hasty bool
}

// of is where a key is.
func (s *shards) of(key uint64) *shard { return &s[key>>(64-shardBits)] }

func (s *shards) take(l *Limit, key uint64, now int64) (wait time.Duration, urgent bool) {
	h := s.of(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.at(key, now)
	b := &h.slots[at]
	after, wait := l.taken(b.full, now)
	if wait > 0 {
		return wait, false
	}
	b.full = after
	if b.used < math.MaxInt32 {
		b.used++
	}
	if !b.dirty {
		b.dirty = true
		h.dirty = append(h.dirty, at)
	}
	if b.hasty || !l.urgent(after, now, int64(b.used)) {
		return 0, false
	}
	b.hasty = true
	h.hasty = append(h.hasty, at)
	return 0, true
}

func (s *shards) giveBack(l *Limit, key uint64) {
	h := s.of(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	if at, ok := h.index[key]; ok {
		h.slots[at].full -= l.interval
		h.slots[at].used--
	}
}

func (s *shards) charge(key uint64, now, then, cost, deepest int64) {
	h := s.of(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	b := &h.slots[h.at(key, now)]
	b.full = max(b.full, min(max(b.full, then)+cost, deepest))
}

// at is the bucket of a key, a new one if need be.
func (h *shard) at(key uint64, now int64) uint32 {
	at, ok := h.index[key]
	if ok {
		return at
	}
	if h.index == nil {
		h.index = make(map[uint64]uint32)
	}
	if len(h.slots) < shardKeys {
		if len(h.slots) == cap(h.slots) { // append would leave a quarter of the memory empty at the end
			grown := make([]slot, len(h.slots), min(max(2*len(h.slots), 4), shardKeys))
			copy(grown, h.slots)
			h.slots = grown
		}
		at = uint32(len(h.slots))
		h.slots = append(h.slots, slot{key: key})
	} else {
		at = h.giveUp(now)
		b := &h.slots[at]
		delete(h.index, b.key)
		b.key, b.full, b.used = key, 0, 0 // it stays in the lists that it is in
	}
	h.index[key] = at
	return at
}

// giveUp chooses a bucket that is forgotten for another: one that is full, or else the fullest of a few.
func (h *shard) giveUp(now int64) uint32 {
	best := h.hand
	for range looks {
		at := h.hand
		if h.hand++; int(h.hand) == len(h.slots) {
			h.hand = 0
		}
		if h.slots[at].full < h.slots[best].full {
			best = at
		}
		if h.slots[at].full <= now {
			return at
		}
	}
	return best
}

// sweep forgets what is full, and gives memory back, if that is worth it.
func (h *shard) sweep(now int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := 0
	for i := range h.slots {
		if !h.slots[i].idle(now) {
			kept++
		}
	}
	if len(h.slots) < fewKeys || kept > len(h.slots)/2 {
		return
	}
	former := h.slots
	h.slots, h.index, h.dirty, h.hasty, h.hand = nil, nil, nil, nil, 0
	if kept == 0 {
		return
	}
	h.slots, h.index = make([]slot, 0, kept), make(map[uint64]uint32, kept)
	for i := range former {
		b := former[i]
		if b.idle(now) {
			continue
		}
		at := uint32(len(h.slots))
		if b.dirty {
			h.dirty = append(h.dirty, at)
		}
		if b.hasty {
			h.hasty = append(h.hasty, at)
		}
		h.slots = append(h.slots, b)
		h.index[b.key] = at
	}
}

// idle tells whether a bucket is as good as a new one.
func (b *slot) idle(now int64) bool { return b.full <= now && b.used <= 0 }

// collect passes on what is to be told, at most room entries, and says how many are left. With hasty it is only what should be heard at once.
func (h *shard) collect(hasty bool, room int, tell func(key, used uint64)) (told, left int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := &h.dirty
	if hasty {
		list = &h.hasty
	}
	for len(*list) > 0 && told < room {
		last := len(*list) - 1
		b := &h.slots[(*list)[last]]
		*list = (*list)[:last]
		if hasty {
			b.hasty = false
		} else {
			b.dirty = false
		}
		if b.used > 0 {
			tell(b.key, uint64(b.used))
			b.used = 0
			told++
		}
	}
	return told, len(*list)
}
