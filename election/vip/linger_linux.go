package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	countEvery  = time.Second
	lingerSlack = 10 * time.Second // elements outlast the limit, at which connections are closed
)

// linger is an address whose old connections go on here.
type linger struct {
	flows  map[Flow]struct{}
	source netip.Addr    // asks for neighbours in the VIP's stead
	until  time.Duration // on the Clock
	limit  time.Time     // the same for people
	count  int
	next   time.Duration // when to count again

	guard     *guard
	builds    int  // of the guard, when this began
	preparing bool // it does not linger yet; the packet path remembers what begins
	ready     bool // flows are listed
	told      int  // how many of them the next holder was told of ahead
	lapse     time.Duration
}

// Flows lists the TCP connections to the address, MostFlows at most.
func (k *Kernel) Flows(address netip.Addr) ([]Flow, error) {
	list, err := sockets(address, MostFlows)
	if err != nil {
		return nil, err
	}
	flows := make([]Flow, len(list))
	for i := range list {
		flows[i] = list[i].flow()
	}
	return flows, nil
}

// Prepare does ahead of a planned move of a held address what takes long with many connections: it lists them, and has the
// kernel remember those that begin from now on. Its Handover is for the next holder's Forward; Linger's then has only
// the rest. Nothing is different for clients. It lapses by itself after prepareLife, and may be left out.
func (k *Kernel) Prepare(address netip.Addr, limit time.Duration) (Handover, error) {
	p, l, err := k.startPrepare(address, limit)
	if err != nil {
		return Handover{}, fmt.Errorf("prepare to hand over %w", err)
	}
	failed := l.guard.prepare(p.address, l) // without the lock: renewals go on
	k.mu.Lock()
	defer k.unlock()
	if p.linger != l || !p.held || k.guard != l.guard {
		return Handover{}, fmt.Errorf("prepare to hand over vip %s: %w", address, ErrNotHeld)
	}
	l.ready = failed == nil
	if l.ready && l.builds != k.guard.builds { // some went into tables that have been replaced since
		failed = k.guard.rebuild(k.sorted(), k.on)
	}
	if failed != nil {
		k.endLinger(p)
		return Handover{}, fmt.Errorf("prepare to hand over vip %s: %w", address, failed)
	}
	handover := p.handover(l.flows, limit, k.opt.Clock())
	l.told = len(l.flows)
	return handover, nil
}

// Unprepare takes a Prepare back: its Handover did not arrive, or the address goes to another node.
func (k *Kernel) Unprepare(address netip.Addr) {
	k.mu.Lock()
	defer k.unlock()
	if p := k.places[address]; p != nil && p.linger != nil && p.linger.preparing {
		k.endLinger(p)
	}
}

// prepareLife is for how long a Prepare is of use.
const prepareLife = 30 * time.Second

// startPrepare makes the kernel remember connections that begin.
func (k *Kernel) startPrepare(address netip.Addr, limit time.Duration) (*place, *linger, error) {
	k.mu.Lock()
	defer k.unlock()
	p, err := k.place(address)
	switch {
	case err != nil:
		return nil, nil, err
	case !p.held || p.index == 0 || p.link == nil:
		return nil, nil, fmt.Errorf("vip %s: %w", address, ErrNotHeld)
	case k.guard == nil || len(p.link.mac) != 6:
		return nil, nil, fmt.Errorf("vip %s: no nf_tables, or no Ethernet: %w", address, ErrUnsupported)
	}
	k.endLinger(p) // an earlier one
	limit = min(max(limit, 0), mostLimit)
	now := k.opt.Clock()
	l := &linger{guard: k.guard, builds: k.guard.builds, preparing: true, until: now + limit + prepareLife, lapse: now + prepareLife}
	if seen, err := look(); err == nil {
		l.source = seen.own(p.link, address, k.places)
	}
	b := newBatch()
	k.guard.remember(b, k.guard.sets(address), address)
	if err := k.guard.nft.send(b); err != nil {
		return nil, nil, fmt.Errorf("vip %s: %w", address, err)
	}
	p.linger = l
	return p, l, nil
}

// prepare lists the connections and lets their packets in, which is of no account while all packets are let in. It is
// called without the Kernel's lock.
func (g *guard) prepare(address netip.Addr, l *linger) error {
	list, err := sockets(address, MostFlows)
	if err != nil {
		return err
	}
	flows := make(map[Flow]struct{}, len(list))
	for i := range list {
		flows[list[i].flow()] = struct{}{}
	}
	l.flows = flows
	elements := l.elements(address, g.clock())
	for len(elements) > 0 { // in pieces, so that renewals get between
		piece := elements[:min(len(elements), 8192)]
		elements = elements[len(piece):]
		b := newBatch()
		b.add(g.sets(address).flows, piece...)
		if err := g.nft.send(b); err != nil {
			return err
		}
	}
	return nil
}

// Linger is Drop for a planned move. When it returns, the address is silent in ARP and neighbour discovery and accepts no new
// connection; the established ones go on, until the last has ended or the limit has passed, when the others are reset. Connections that clients
// try to open meanwhile are kept for Replay. The Handover is for
// the next holder's Forward; after Prepare it has only what Prepare's had not. After an error Drop is left.
func (k *Kernel) Linger(address netip.Addr, limit time.Duration) (Handover, error) {
	k.mu.Lock()
	p := k.places[address]
	prepared := p != nil && p.held && p.linger != nil && p.linger.ready
	k.mu.Unlock()
	if !prepared {
		if _, err := k.Prepare(address, limit); err != nil {
			return Handover{}, err
		}
	}
	k.mu.Lock()
	defer k.unlock()
	l := p.linger
	if !k.open || k.guard == nil || !p.held || l == nil || !l.ready {
		return Handover{}, fmt.Errorf("hand over vip %s: %w", address, ErrNotHeld)
	}
	if !prepared {
		l.told = 0
	}
	limit = min(max(limit, 0), mostLimit)
	now := k.opt.Clock()
	k.startCatch(p) // before the guard closes
	if err := k.guard.silence(k.sorted(), p, l); err != nil {
		k.endCatch(p)
		return Handover{}, fmt.Errorf("hand over vip %s: %w", address, err)
	}
	p.held, p.clash = false, nil
	l.preparing, l.until, l.limit, l.next = false, min(l.until, now+limit), time.Now().Add(limit), now+countEvery
	fresh, err := k.guard.addFresh(p, l)
	l.count = len(l.flows)
	flows := fresh
	if l.told == 0 {
		flows = l.flows
	}
	handover := p.handover(flows, limit, now)
	if handover.Adds = l.told > 0; handover.Adds {
		handover.Parts = handover.Parts[:1]
	}
	signal(k.wake)
	switch {
	case err != nil: // some that have just begun may be lost
		k.endCatch(p) // which they are is not known
		k.opt.Log.Warn("connections that began during a move may be lost", "vip", address, "error", err)
	case p.catch != nil:
		p.catch.settle(l.flows)
	}
	return handover, nil
}

// handover says where those connections are, and those of moves before this one.
func (p *place) handover(flows map[Flow]struct{}, limit, now time.Duration) Handover {
	h := Handover{Address: p.address, Limit: limit}
	mine := Part{MAC: p.link.mac, Flows: make([]Flow, 0, len(flows))}
	for flow := range flows {
		mine.Flows = append(mine.Flows, flow)
	}
	h.Parts = append(h.Parts, mine)
	for _, f := range p.forwards {
		if f.until > now {
			h.Parts = append(h.Parts, Part{MAC: f.mac, Flows: f.flows})
		}
	}
	return h
}

// silence changes an open address into a lingering one, at one moment. Connections that began since the others were listed
// have been remembered by the packet path itself; so none is missed, and nothing was refused before.
func (g *guard) silence(places []*place, p *place, l *linger) error {
	for range 2 {
		b := newBatch()
		g.stopRemembering(b, places, p)
		if p.opened {
			for _, each := range g.heldSets(p.address) {
				b.remove(each, element{key: p.address.AsSlice()})
			}
		}
		g.addLingering(b, p, l)
		err := g.nft.send(b)
		if err == nil {
			p.opened = false
			return nil
		}
		if _, missing := failedAt(err); !missing {
			return err
		}
		g.tidy(p) // the right had just ended
	}
	return unix.ENOENT
}

func (g *guard) addLingering(b *batch, p *place, l *linger) {
	s := g.sets(p.address)
	key := p.address.AsSlice()
	b.add(s.lingering, element{key: key})
	if l.source.IsValid() {
		b.add(s.source, element{key: key, value: l.source.AsSlice()})
	}
}

// addLinger adds everything about it to new tables.
func (g *guard) addLinger(b *batch, p *place, l *linger, now time.Duration) {
	switch {
	case !l.preparing:
		g.addLingering(b, p, l)
		b.add(g.sets(p.address).flows, l.elements(p.address, now)...)
	case l.ready:
		b.add(g.sets(p.address).flows, l.elements(p.address, now)...)
		fallthrough
	default:
		g.remember(b, g.sets(p.address), p.address)
	}
}

// stopRemembering ends it for one address; others of the family may be about to move too.
func (g *guard) stopRemembering(b *batch, places []*place, p *place) {
	s := g.sets(p.address)
	b.flush(familyInet, openChain(s))
	for _, other := range places {
		if other != p && other.linger != nil && other.linger.preparing && other.address.Is4() == p.address.Is4() {
			g.remember(b, s, other.address)
		}
	}
}

func (l *linger) elements(address netip.Addr, now time.Duration) []element {
	list := make([]element, 0, len(l.flows))
	for flow := range l.flows {
		list = append(list, element{key: flowKey(address, flow), timeout: l.until - now + lingerSlack})
	}
	return list
}

// addFresh takes over what the packet path remembered, and returns it.
func (g *guard) addFresh(p *place, l *linger) (map[Flow]struct{}, error) {
	s := g.sets(p.address)
	keys, err := g.nft.list(s.fresh)
	if err != nil {
		return nil, err
	}
	fresh := linger{flows: map[Flow]struct{}{}, until: l.until}
	for _, key := range keys {
		flow, ok := parseFlowKey(p.address, key)
		if _, known := l.flows[flow]; ok && !known && len(l.flows) < MostFlows {
			fresh.flows[flow] = struct{}{}
			l.flows[flow] = struct{}{}
		}
	}
	b := newBatch()
	b.add(s.flows, fresh.elements(p.address, g.clock())...)
	return fresh.flows, g.nft.send(b)
}

// Lingering lists the addresses whose old connections go on here.
func (k *Kernel) Lingering() []Draining {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []Draining
	for _, p := range k.sorted() {
		if p.linger != nil && !p.linger.preparing {
			list = append(list, Draining{Address: p.address, Flows: p.linger.count, Until: p.linger.limit})
		}
	}
	return list
}

// tendLinger renews the lifetime of a lingering address and ends it at its limit; it returns when that is due again.
func (k *Kernel) tendLinger(p *place, now time.Duration) time.Duration {
	l := p.linger
	if l.preparing {
		if now >= l.lapse {
			k.endLinger(p)
		}
		return l.lapse
	}
	if now >= l.until {
		k.finishLinger(p, "the limit has passed")
		return now + time.Hour
	}
	if p.index != 0 && now >= p.renewed+renewEvery {
		if assign(p.index, p.prefix, k.lifetime()) != nil {
			signal(k.dirty)
		}
		p.renewed = now
	}
	return min(l.until, p.renewed+renewEvery, l.next)
}

// countLingering counts the connections that are left, without the lock: of many that takes long.
func (k *Kernel) countLingering(ctx context.Context) {
	type count struct {
		p *place
		l *linger
	}
	var due []count
	k.mu.Lock()
	for _, p := range k.places {
		if p.linger != nil && !p.linger.preparing && k.opt.Clock() >= p.linger.next {
			due = append(due, count{p, p.linger})
		}
	}
	k.mu.Unlock()
	for _, each := range due {
		if ctx.Err() != nil {
			return
		}
		began := k.opt.Clock()
		list, err := sockets(each.p.address, 2*MostFlows)
		left := 0
		for i := range list {
			if _, old := each.l.flows[list[i].flow()]; old { // flows is not changed any more
				left++
			}
		}
		k.mu.Lock()
		now := k.opt.Clock()
		each.l.next = now + max(countEvery, 20*(now-began)) // at most a twentieth of the time
		if err == nil && each.p.linger == each.l {
			each.l.count = left
			if left == 0 {
				k.finishLinger(each.p, "all have ended")
			}
		}
		k.unlock()
	}
	if len(due) > 0 {
		signal(k.wake)
	}
}

// finishLinger resets what is left and takes the address away.
func (k *Kernel) finishLinger(p *place, reason string) {
	event := Event{Kind: Lingered, Address: p.address, Reason: reason}
	if p.link != nil {
		event.Interface = p.link.name
	}
	list, err := sockets(p.address, 2*MostFlows)
	if err == nil {
		event.Flows, err = destroy(list)
	}
	if p.catch != nil {
		p.catch.settle(nil) // it goes on: the last connection may have ended before the next holder answers
	}
	if err = errors.Join(err, k.remove(p)); err != nil {
		event.Reason += ": " + err.Error()
	}
	k.tell(event)
}

// endLinger takes the address's old connections out of the guard.
func (k *Kernel) endLinger(p *place) {
	l := p.linger
	if l == nil {
		return
	}
	p.linger = nil
	if k.guard == nil {
		return
	}
	s := k.guard.sets(p.address)
	b := newBatch()
	if l.preparing {
		k.guard.stopRemembering(b, k.sorted(), p)
	} else {
		b.remove(s.lingering, element{key: p.address.AsSlice()})
		if l.source.IsValid() {
			b.remove(s.source, element{key: p.address.AsSlice()})
		}
	}
	if !l.preparing || l.ready {
		list := l.elements(p.address, k.opt.Clock())
		for i := range list {
			list[i].timeout = 0
		}
		b.remove(s.flows, list...)
	}
	if err := k.guard.nft.send(b); err != nil {
		k.rebuildGuard() // something was missing: build it anew
	}
}
