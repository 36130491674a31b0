package balance

import (
	"math"
	"sync/atomic"
)

// Place counts what runs at one server. It outlives every Set that lists it; of the sets that are in use at a time it is in one. The zero Place is ready.
type Place struct {
	running atomic.Int32
	// at is the index in the set that was made last. It is a hint only: whoever uses it looks whether the place is there.
	at atomic.Uint32
	// used is the turn of the latest choice, for those that are equal otherwise; 0 is never.
	used atomic.Uint64
}

// maxRunning is the greatest limit that is kept: nobody has more requests than this.
const maxRunning = math.MaxInt32

// Running is how many requests run there.
func (p *Place) Running() int64 { return int64(p.running.Load()) }

// Leave ends what Pick or Take began. The set that is current then is told with Left.
func (p *Place) Leave() { p.running.Add(-1) }

// take counts a request unless as many run as may; 0 is no limit. It returns how many run now. The count is never above the limit, not even for a
// moment: whoever looked then would find the place full that somebody has just left, and nobody would tell those who wait for it.
func (p *Place) take(limit int32) (running int32, ok bool) {
	if limit == 0 {
		return p.running.Add(1), true
	}
	for {
		n := p.running.Load()
		if n >= limit {
			return n, false
		}
		if p.running.CompareAndSwap(n, n+1) {
			return n + 1, true
		}
	}
}

const (
	// A line of the processor's cache has 64 bytes, which is four places.
	lines, perLine = 16, 4
	chunk          = lines * perLine
)

// Places makes the places of one service, close to each other: those of 10,000 servers, each in its server's struct, would be all over the memory, and every
// pick would wait for it. Up to 16 are in lines of the cache of their own, so that processors do not take them from each other; where
// there are more, that is rare. The zero Places is ready. It is not for use by several goroutines.
type Places struct {
	chunk *[chunk]Place
	made  int
}

// New makes a place.
func (p *Places) New() *Place {
	i := p.made % chunk
	if i == 0 {
		p.chunk = new([chunk]Place)
	}
	p.made++
	return &p.chunk[i%lines*perLine+i/lines]
}
