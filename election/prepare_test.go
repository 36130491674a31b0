package election

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

// prep is one call of Prepare that a test lets go on.
type prep struct {
	address  netip.Addr
	from, to string
	ctx      context.Context
	done     chan struct{}
}

// preparing is a Placer over a scene whose preparations wait for the test.
func preparing(t *testing.T, s *scene) (*Placer, chan prep) {
	calls := make(chan prep)
	cfg := s.config()
	cfg.Prepare = func(ctx context.Context, address netip.Addr, from, to string) {
		p := prep{address, from, to, ctx, make(chan struct{})}
		select {
		case calls <- p:
		case <-ctx.Done():
			return
		}
		select {
		case <-p.done:
		case <-ctx.Done():
		}
	}
	s.leading.Store(true)
	return openPlacer(t, cfg), calls
}

func (s *scene) drain(name string, drain bool) {
	s.change(func() {
		nodes := append([]Candidate(nil), s.nodes...)
		for i := range nodes {
			if nodes[i].Name == name {
				nodes[i].Draining = drain
			}
		}
		s.nodes = nodes
	})
}

// What a planned move needs ahead is done before its record is written, and no other address waits for that.
func TestPlacerPrepares(t *testing.T) {
	t.Parallel()
	s := &scene{vips: wishes(vipList(2)), nodes: ready("a", "b", "c"), down: map[string]bool{}}
	first, second := s.vips[0].Address, s.vips[1].Address
	_, calls := preparing(t, s)
	eventually(t, "both are placed, with nothing to prepare", func() bool { return s.record(first).Holder == "a" && s.record(second).Holder == "b" })

	s.drain("a", true)
	call := <-calls
	if call.address != first || call.from != "a" || call.to != "c" {
		t.Fatalf("prepares %+v", call)
	}
	s.change(func() { s.down["b"] = true })
	eventually(t, "the other one fails over meanwhile", func() bool { return s.record(second).Holder == "c" })
	if got := s.record(first).Holder; got != "a" {
		t.Fatalf("moved to %q before it was prepared", got)
	}
	close(call.done)
	eventually(t, "the prepared one moves", func() bool { return s.record(first).Holder == "c" })
}

// A preparation ends when nobody wants the move any more, and when the former holder fails nothing waits for it.
func TestPlacerAbandonsPreparations(t *testing.T) {
	t.Parallel()
	s := &scene{vips: wishes(vipList(1)), nodes: ready("a", "b"), down: map[string]bool{}}
	address := s.vips[0].Address
	_, calls := preparing(t, s)
	eventually(t, "it is placed", func() bool { return s.record(address).Holder == "a" })
	s.drain("a", true)
	call := <-calls
	s.drain("a", false)
	<-call.ctx.Done()
	s.drain("a", true)
	call = <-calls
	if got := s.record(address).Holder; got != "a" {
		t.Fatalf("moved to %q unprepared", got)
	}
	s.change(func() { s.down["a"] = true })
	eventually(t, "it fails over", func() bool { return s.record(address).Holder == "b" })
	<-call.ctx.Done()
}

// An operator's move is prepared too.
func TestMoveIsPrepared(t *testing.T) {
	t.Parallel()
	s := &scene{vips: wishes(vipList(1)), nodes: ready("a", "b"), down: map[string]bool{}}
	address := s.vips[0].Address
	p, calls := preparing(t, s)
	eventually(t, "it is placed", func() bool { return s.record(address).Holder == "a" })
	moved := make(chan error)
	go func() {
		_, err := p.Move(withTimeout(t), address, "b", "")
		moved <- err
	}()
	call := <-calls
	if call.from != "a" || call.to != "b" || s.record(address).Holder != "a" {
		t.Fatalf("prepares %+v while the record names %q", call, s.record(address).Holder)
	}
	close(call.done)
	if err := <-moved; err != nil || s.record(address).Holder != "b" {
		t.Fatalf("moved to %q: %v", s.record(address).Holder, err)
	}
}

// A preparation that does not end uses up no operator's patience: the move goes on without.
func TestMoveDoesNotNeedItsPreparation(t *testing.T) {
	t.Parallel()
	s := &scene{vips: wishes(vipList(1)), nodes: ready("a", "b"), down: map[string]bool{}}
	address := s.vips[0].Address
	p, calls := preparing(t, s)
	eventually(t, "it is placed", func() bool { return s.record(address).Holder == "a" })
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	go func() { <-calls }() // and never lets it go on
	if _, err := p.Move(ctx, address, "b", ""); err != nil || ctx.Err() != nil || s.record(address).Holder != "b" {
		t.Fatalf("moved to %q: %v", s.record(address).Holder, err)
	}
}
