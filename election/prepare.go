package election

import (
	"context"
	"net/netip"
	"slices"
	"time"
)

// prepareTimeout bounds what is done ahead of a planned move. A move that was not prepared takes longer and breaks no more.
const prepareTimeout = 3 * time.Second

// preparation is what goes on ahead of one planned move.
type preparation struct {
	from, to string
	cancel   context.CancelFunc
	done     chan struct{} // closed when it has returned
}

// planned tells whether a change takes an address from a node that is there to hand it over.
func (p *Placer) planned(nodes []Candidate, address netip.Addr, from string) bool {
	at := slices.IndexFunc(nodes, func(c Candidate) bool { return c.Name == from })
	if p.cfg.Prepare == nil || at < 0 || p.cfg.Suspected(from) {
		return false
	}
	_, unfit := nodes[at].Unfit[address]
	return !unfit
}

// prepared tells whether a change can be written now: it is not planned, or is prepared. Otherwise it is being prepared, and the
// Placer is woken when it is. Other addresses do not wait meanwhile.
func (p *Placer) prepared(ctx context.Context, nodes []Candidate, c change) bool {
	if !p.planned(nodes, c.address, c.before.Holder) {
		return true
	}
	under := p.preparing[c.address]
	if under == nil || under.from != c.before.Holder || under.to != c.holder {
		if under != nil {
			under.cancel()
		}
		call, cancel := context.WithTimeout(ctx, prepareTimeout)
		under = &preparation{from: c.before.Holder, to: c.holder, cancel: cancel, done: make(chan struct{})}
		p.preparing[c.address] = under
		p.workers.Go(func() {
			defer p.Wake()
			defer close(under.done)
			defer cancel()
			p.cfg.Prepare(call, c.address, c.before.Holder, c.holder)
		})
	}
	select {
	case <-under.done:
		return true
	default:
		return false
	}
}

// forget ends the preparations of changes that are not wanted any more, or are written.
func (p *Placer) forget(wanted func(netip.Addr) bool) {
	for address, under := range p.preparing {
		if !wanted(address) {
			under.cancel()
			delete(p.preparing, address)
		}
	}
}

// prepareMove prepares a move that an operator asked for, and waits for it. At least half of the time that ctx has left is for the
// move itself, which does not depend on it.
func (p *Placer) prepareMove(ctx context.Context, nodes []Candidate, c change) {
	if p.planned(nodes, c.address, c.before.Holder) {
		limit := prepareTimeout
		if end, ok := ctx.Deadline(); ok {
			limit = min(limit, time.Until(end)/2)
		}
		call, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		p.cfg.Prepare(call, c.address, c.before.Holder, c.holder)
	}
}
