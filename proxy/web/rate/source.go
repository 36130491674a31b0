package rate

import (
	"bufio"
	"math"
	"time"
)

// Source is another node, as this one listens to it. It is for one goroutine.
type Source struct {
	set    *Set
	at     Position
	former uint64 // epoch before this one
	// A batch that lay in a buffer, because this process was held up, is charged as of the time when it should have come, or a while's tokens would be
	// owed that have come since. How late it is shows by the difference between our clock and the writer's, which is the least for those that
	// came in time.
	least, heard time.Duration // that difference, and when we looked
	batch        batch
	memory       []byte
}

// Source makes a source, for each other node one.
func (s *Set) Source() *Source {
	s.sources.Add(1)
	return &Source{set: s}
}

// Position is where to go on in the other node's journal.
func (s *Source) Position() Position { return s.at }

// Read takes in what comes next on a stream of the other node's: a batch or a sign of life. After an error the stream is of no use any more.
func (s *Source) Read(in *bufio.Reader) error {
	memory, some, err := s.batch.read(in, s.memory)
	s.memory = memory
	if err != nil || !some {
		return err
	}
	s.merge(s.set.Clock(time.Now()))
	return nil
}

// merge charges this node's buckets with the batch, unless that has happened before.
func (s *Source) merge(now time.Duration) {
	b := &s.batch
	switch {
	case b.epoch == s.at.Epoch:
		if b.number < s.at.Next {
			return // it comes again
		}
	case b.epoch == s.former:
		return // it is late: the node has been started anew since
	default:
		s.former, s.at = s.at.Epoch, Position{Epoch: b.epoch}
		s.least, s.heard = math.MaxInt64, now
	}
	s.at.Next = b.number + 1
	then := now - s.delay(now)
	limits := s.set.table.Load().byID
	for _, e := range b.entries {
		if l := limits[e.limit]; l != nil { // nodes may serve different documents for a moment
			l.charge(e.key, e.used, now, then)
		}
	}
}

// delay is how much later than others the batch has come. Clocks may differ in speed by one in a thousand.
func (s *Source) delay(now time.Duration) time.Duration {
	difference := now - time.Duration(s.batch.at)*time.Millisecond
	if s.least < math.MaxInt64 {
		s.least += (now - s.heard) / 1000
	}
	s.least, s.heard = min(s.least, difference), now
	return difference - s.least
}
