package rate

import (
	"bufio"
	"time"
)

// Source is another node, as this one listens to it. It is for one goroutine.
type Source struct {
	set    *Set
	at     Position
	former uint64 // epoch before this one
	batch  batch
	memory []byte
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
	}
	s.at.Next = b.number + 1
	limits := s.set.table.Load().byID
	for _, e := range b.entries {
		if l := limits[e.limit]; l != nil { // nodes may serve different documents for a moment
			l.charge(e.key, e.used, now)
		}
	}
}
