package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// ticketLife bounds the time from reading the clock to the kernel's taking note. See guard.open.
	ticketLife = 20 * time.Millisecond
	// tickets is how often it is tried again when that time was exceeded.
	tickets = 5
	// freshLife is for how long a connection that began during Linger is remembered by the first set; after that it is in the other.
	freshLife = time.Minute
)

// guard is the kernel's promise: own nftables tables, in which a VIP is silent unless an element that expires by itself
// says otherwise. Its methods are called with the Kernel's lock held.
type guard struct {
	nft    *nft
	clock  func() time.Duration
	wire   bool // the kernel can filter what packet sockets send
	ticket uint32

	tickets *set
	v4, v6  *sets

	builds     int  // how often the tables were replaced
	forwarding bool // chains for flows that linger elsewhere are there
}

func newGuard(n *nft, clock func() time.Duration) *guard {
	return &guard{
		nft: n, clock: clock, wire: true,
		tickets: &set{family: familyInet, name: "tickets", key: 4, expire: true},
		v4:      newSets(false), v6: newSets(true),
	}
}

func (g *guard) families() []byte {
	if g.wire {
		return []byte{familyInet, familyARP, familyNetdev}
	}
	return []byte{familyInet, familyARP}
}

// probe finds out what the kernel offers, and leaves an empty guard in place of whatever was there.
func (g *guard) probe(interfaces []*link) error {
	g.wire = true
	err := g.rebuild(nil, interfaces)
	if err == nil {
		return nil
	}
	g.wire = false
	if g.rebuild(nil, interfaces) == nil {
		return nil
	}
	return err
}

// lifetime turns the rest of a right into an element's timeout. The kernel counts timeouts on a clock that chrony
// and others may slow by a tenth at most (adjtimex(2): tick may be 10 % off), and rounds them down to its ticks.
func lifetime(left time.Duration) time.Duration {
	left -= ticketLife
	return (left - left/10).Truncate(time.Millisecond)
}

// draw puts a new ticket into the kernel.
//
// An element's timeout counts from when the kernel gets it, but is reckoned before, and in between the process may
// be stopped for any time. Therefore whatever extends a right deletes a ticket in the same transaction. The ticket was
// made before the clock was read, and expires by itself after ticketLife; deleting what has expired fails, and with
// it the transaction. So if the transaction succeeds, no more than ticketLife went by since the clock was read.
func (g *guard) draw() (element, error) {
	g.ticket++
	ticket := element{key: binary.NativeEndian.AppendUint32(nil, g.ticket), timeout: ticketLife}
	b := newBatch()
	b.add(g.tickets, ticket)
	return ticket, g.nft.send(b)
}

// heldSets are all the sets that say that a VIP is held.
func (g *guard) heldSets(address netip.Addr) []*set {
	if address.Is6() {
		return []*set{g.v6.held}
	}
	if g.wire {
		return []*set{g.v4.held, g.v4.arpHeld, g.v4.wireHeld}
	}
	return []*set{g.v4.held, g.v4.arpHeld}
}

func (g *guard) sets(address netip.Addr) *sets {
	if address.Is6() {
		return g.v6
	}
	return g.v4
}

// open lets the kernel answer for the address until then, and not longer. extra adds to the same transaction.
func (g *guard) open(p *place, until time.Duration, extra ...func(*batch)) error {
	key := p.address.AsSlice()
	for range tickets {
		ticket, err := g.draw()
		if err != nil {
			return err
		}
		left := lifetime(until - g.clock())
		if left <= 0 {
			return ErrLate
		}
		b := newBatch()
		spent := b.remove(g.tickets, ticket)
		for _, s := range g.heldSets(p.address) {
			if p.opened {
				b.remove(s, element{key: key})
			}
			b.add(s, element{key: key, timeout: left})
		}
		for _, add := range extra {
			add(b)
		}
		err = g.nft.send(b)
		if err == nil {
			p.opened = true
			return nil
		}
		index, missing := failedAt(err)
		switch {
		case missing && index == spent: // too slow; again
		case missing && p.opened: // it has expired
			g.tidy(p)
		default:
			return err
		}
	}
	return fmt.Errorf("tell the kernel within %v, %d times: %w", ticketLife, tickets, ErrLate)
}

// tidy removes the address from each set where it still is.
func (g *guard) tidy(p *place) {
	for _, s := range g.heldSets(p.address) {
		b := newBatch()
		b.remove(s, element{key: p.address.AsSlice()})
		_ = g.nft.send(b) // missing is as good
	}
	p.opened = false
}

// close silences the address, at once.
func (g *guard) close(p *place) error {
	if !p.opened {
		return nil
	}
	b := newBatch()
	for _, s := range g.heldSets(p.address) {
		b.remove(s, element{key: p.address.AsSlice()})
	}
	err := g.nft.send(b)
	if _, missing := failedAt(err); missing {
		g.tidy(p)
		return nil
	}
	if err == nil {
		p.opened = false
	}
	return err
}

// rebuild puts all tables, with everything that they should have, in place of what is there, at one moment.
func (g *guard) rebuild(places []*place, interfaces []*link) error {
	for range tickets {
		ticket, err := g.draw()
		standing := err == nil // else there is no table: nothing yet, or somebody flushed it
		b := newBatch()
		spent := -1
		if standing {
			spent = b.remove(g.tickets, ticket)
		}
		g.tables(b, interfaces)
		if g.forwarding {
			g.ingress(b, interfaces)
		}
		var opened []*place
		for _, p := range places {
			left := lifetime(p.until - g.clock())
			if p.held && standing && left > 0 {
				opened = append(opened, p)
			}
			g.fill(b, p, standing, left)
		}
		err = g.nft.send(b)
		if index, missing := failedAt(err); missing && index == spent {
			continue
		}
		if err != nil {
			return err
		}
		g.builds++
		for _, p := range places {
			p.opened = false
		}
		for _, p := range opened {
			p.opened = true
		}
		return g.reopen(places)
	}
	return fmt.Errorf("nf_tables: the kernel is too slow: %w", ErrLate)
}

// fill adds what there is to say about one VIP to new tables.
func (g *guard) fill(b *batch, p *place, standing bool, left time.Duration) {
	s := g.sets(p.address)
	plain := element{key: p.address.AsSlice()}
	b.add(s.vips, plain)
	if !p.address.Is6() {
		b.add(s.arpVIPs, plain)
		if g.wire {
			b.add(s.wireVIPs, plain)
		}
	}
	if p.held && standing && left > 0 {
		for _, each := range g.heldSets(p.address) {
			b.add(each, element{key: plain.key, timeout: left})
		}
	}
	now := g.clock()
	if l := p.linger; l != nil {
		g.addLinger(b, p, l, now)
	}
	if g.forwarding {
		for _, f := range p.forwards {
			if f.until > now {
				b.add(s.wireFlows, f.elements(p.address, f.until-now)...)
			}
		}
	}
}

// reopen opens what is held and could not be opened while the tables were built.
func (g *guard) reopen(places []*place) error {
	var failed error
	for _, p := range places {
		if p.held && !p.opened && p.until > g.clock() {
			if err := g.open(p, p.until); err != nil && !errors.Is(err, ErrLate) {
				failed = errors.Join(failed, err)
			}
		}
	}
	return failed
}

// remove deletes the own tables.
func (g *guard) remove() error {
	var failed error
	for _, family := range []byte{familyInet, familyARP, familyNetdev} {
		b := newBatch()
		b.dropTable(family)
		if err := g.nft.send(b); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EOPNOTSUPP) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
