package balance

import "sync/atomic"

// Place counts what runs at one server. It outlives every Set that lists it; of the sets that are in use at a time it is in one. The zero Place is ready.
//
// It has no padding: it stands in the server's struct beside other counters that the same requests touch, so that a pick takes one line of the cache.
type Place struct {
	running atomic.Int64
	// used is the turn of the latest choice, for those that are equal otherwise; 0 is never.
	used atomic.Uint64
	// at is the index in the set that was made last. It is a hint only: whoever uses it looks whether the place is there.
	at atomic.Uint32
}

// Running is how many requests run there.
func (p *Place) Running() int64 { return p.running.Load() }

// Leave ends what Pick or Take began. The set that is current then is told with Left.
func (p *Place) Leave() { p.running.Add(-1) }

// take counts a request unless as many run as may; 0 is no limit. It returns how many run now. The count is never above the limit, not even for a
// moment: whoever looked then would find the place full that somebody has just left, and nobody would tell those who wait for it.
func (p *Place) take(limit int64) (running int64, ok bool) {
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
