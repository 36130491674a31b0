package rate

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// tellEvery is how often the others hear what was taken, and tellSoonest how long lies between two batches at least.
	tellEvery   = 100 * time.Millisecond
	tellSoonest = 10 * time.Millisecond
	// keepFor is for how long, and keepBytes up to which size in all, batches are kept for others that are behind.
	keepFor   = 2 * time.Second
	keepBytes = 4 << 20
	// lifeSign is how often a reader hears something if there is nothing to tell.
	lifeSign = time.Second
)

// Position is how far a journal was read: all batches of an epoch before Next. The zero value is the beginning of any.
type Position struct{ Epoch, Next uint64 }

// Journal is what this node tells the others: numbered batches of the latest seconds. Run writes it, Stream reads it.
type Journal struct {
	set     *Set
	epoch   uint64
	start   time.Time
	entries []entry // memory of the writer
	turn    int     // the limit with which it goes on

	mu      sync.Mutex
	batches []written     // oldest first
	bytes   int           // of all
	next    uint64        // number of the next one
	more    chan struct{} // closed when there is one
}

// written is one batch as it is sent.
type written struct {
	number uint64
	at     time.Time
	data   []byte
}

// Journal makes a journal of the set. There is to be one.
func (s *Set) Journal() *Journal {
	return &Journal{set: s, epoch: rand.Uint64() | 1, start: time.Now(), more: make(chan struct{})}
}

// Run writes the journal until ctx ends, and lets the set forget buckets that are full.
func (j *Journal) Run(ctx context.Context) {
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	rest := time.NewTimer(tellSoonest)
	defer rest.Stop()
	for all, sweep := false, 0; ; {
		if !all { // or there was more than had room, and the next batch is due
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				all = true
				j.set.sweep(sweep)
				sweep = (sweep + 1) % (1 << shardBits)
			case <-j.set.wake:
				j.set.haste.Store(false)
			}
		}
		all = j.write(all, time.Now())
		rest.Reset(tellSoonest)
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
		}
	}
}

// write writes a batch if there is something to tell: what is urgent, and with all the rest too. It tells whether there was more than had room.
func (j *Journal) write(all bool, now time.Time) (more bool) {
	list := j.set.table.Load().list
	j.entries = j.entries[:0]
	more = j.collect(list, true)
	if all {
		more = j.collect(list, false) || more
	}
	if len(j.entries) == 0 {
		return more
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	b := batch{j.epoch, j.next, uint64(max(0, now.Sub(j.start).Milliseconds())), j.entries}
	data := b.append(nil)
	j.batches = append(j.batches, written{j.next, now, data})
	j.bytes += len(data)
	j.next++
	j.prune(now)
	close(j.more)
	j.more = make(chan struct{})
	return more
}

// collect gathers what limits have to tell, each in its turn.
func (j *Journal) collect(list []*Limit, hasty bool) (more bool) {
	for range list {
		j.turn %= len(list)
		l := list[j.turn]
		flag := &l.dirty
		if hasty {
			flag = &l.hasty
		}
		if flag.Swap(false) {
			_, done := l.collect(hasty, maxEntries-len(j.entries), func(key, used uint64) {
				j.entries = append(j.entries, entry{l.id, key, used})
			})
			if !done {
				flag.Store(true)
				return true
			}
		}
		j.turn++
	}
	return false
}

// prune lets go of batches that nobody should be charged with any more. j.mu is held.
func (j *Journal) prune(now time.Time) {
	old := 0
	for old < len(j.batches) && (now.Sub(j.batches[old].at) > keepFor || j.bytes > keepBytes) {
		j.bytes -= len(j.batches[old].data)
		old++
	}
	left := copy(j.batches, j.batches[old:])
	clear(j.batches[left:])
	j.batches = j.batches[:left]
}

// after appends the batches from a position on, and returns the position behind them, and what is closed when there is another.
func (j *Journal) after(from Position, now time.Time, batches [][]byte) ([][]byte, Position, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if from.Epoch != j.epoch {
		from = Position{Epoch: j.epoch}
	}
	j.prune(now)
	for _, b := range j.batches {
		if b.number >= from.Next {
			batches = append(batches, b.data)
		}
	}
	return batches, Position{j.epoch, j.next}, j.more
}

// Stream passes the batches from a position on to send, as they are written, and every second a sign of life. It ends with ctx, and with an error
// when send fails.
func (j *Journal) Stream(ctx context.Context, from Position, send func([]byte) error) error {
	alive := time.NewTimer(lifeSign)
	defer alive.Stop()
	if err := send(make([]byte, prefix)); err != nil { // so that the reader knows that it is heard
		return err
	}
	var batches [][]byte
	for {
		var more <-chan struct{}
		batches, from, more = j.after(from, time.Now(), batches[:0])
		for _, b := range batches {
			if err := send(b); err != nil {
				return err
			}
		}
		alive.Reset(lifeSign)
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		case <-alive.C:
			if err := send(make([]byte, prefix)); err != nil {
				return err
			}
		}
	}
}

// sweep forgets buckets that are full, a part of them at a time.
func (s *Set) sweep(part int) {
	now := int64(s.Clock(time.Now()))
	for _, l := range s.table.Load().list {
		if l.many != nil {
			l.many[part].sweep(now)
		}
	}
}
