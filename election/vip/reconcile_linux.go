package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// renewEvery is how often a held address's lifetime is set anew.
const renewEvery = time.Second

// run does what is due until ctx ends.
func (k *Kernel) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		look := false
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-timer.C:
		case <-k.dirty:
			look = true
		}
		timer.Reset(k.work(look))
		k.countLingering(ctx)
	}
}

// work does what is due and returns how long nothing is.
func (k *Kernel) work(look bool) time.Duration {
	k.mu.Lock()
	defer k.unlock()
	if !k.open {
		return time.Hour
	}
	now := k.opt.Clock()
	if now >= k.nextAll { // not everything is announced by the kernel
		look = true
		k.nextAll = now + k.opt.AnnounceEvery
		k.checkGuard()
	}
	if look {
		if err := k.reconcile(false); err != nil {
			k.opt.Log.Warn("interfaces could not be brought in line; trying again", "error", err)
		}
	}
	next := k.nextAll
	for _, p := range k.places {
		k.expireForwards(p, now)
		if p.linger != nil {
			next = min(next, k.tendLinger(p, now))
		}
		if p.held && now < p.until {
			next = min(next, k.tend(p, now))
		}
	}
	return max(next-now, time.Millisecond)
}

// tend renews, announces and probes for a held address, and returns when that is due again.
func (k *Kernel) tend(p *place, now time.Duration) time.Duration {
	if p.index != 0 && now >= p.renewed+renewEvery {
		if assign(p.index, p.prefix, k.lifetime()) == nil {
			p.renewed = now
		} else {
			p.renewed += renewEvery / 4
			signal(k.dirty)
		}
	}
	if now >= p.announce {
		k.say(p, now)
	}
	if now >= p.probe {
		k.ear.probe(p.link, p.address)
		p.probe = now + k.opt.AnnounceEvery
	}
	return min(p.renewed+renewEvery, p.announce, p.probe)
}

// say announces the address. The first five announcements come within a second, in case some are lost.
func (k *Kernel) say(p *place, now time.Duration) {
	soon := [...]time.Duration{20 * time.Millisecond, 60 * time.Millisecond, 170 * time.Millisecond, 600 * time.Millisecond}
	if p.link != nil && p.index != 0 {
		k.ear.announce(p.link, p.address)
	}
	pause := k.opt.AnnounceEvery
	if p.announced < len(soon) {
		pause = soon[p.announced]
	}
	p.announced++
	p.announce = now + pause
}

// checkGuard looks whether the own tables are still there.
func (k *Kernel) checkGuard() {
	if k.guard == nil {
		return
	}
	if _, err := k.guard.draw(); errors.Is(err, unix.ENOENT) {
		k.rebuildGuard()
	}
}

func (k *Kernel) rebuildGuard() {
	if err := k.guard.rebuild(k.sorted(), k.on); err != nil {
		k.tell(Event{Kind: Unguarded, Reason: err.Error()})
		return
	}
	k.tell(Event{Kind: Guarding})
}

// reconcile compares what there is with what there should be, for all VIPs, and mends it.
func (k *Kernel) reconcile(rebuild bool) error {
	now, err := look()
	if err != nil {
		return err
	}
	var on []*link
	for _, p := range k.sorted() {
		k.judge(p, now)
		if p.link != nil && !slices.ContainsFunc(on, func(l *link) bool { return l.index == p.link.index }) {
			on = append(on, p.link)
		}
	}
	same := slices.EqualFunc(k.on, on, func(a, b *link) bool {
		return a.index == b.index && a.name == b.name && slices.Equal(a.mac, b.mac)
	})
	k.on = on
	var failed error
	if k.guard != nil && (rebuild || !same) {
		if err := k.guard.rebuild(k.sorted(), on); err != nil {
			failed = fmt.Errorf("build the guard: %w", err)
		}
	}
	for _, p := range k.sorted() {
		if p.held && k.opt.Clock() < p.until || p.linger != nil {
			k.restore(p, now)
		}
	}
	return errors.Join(failed, k.sweep(now))
}

// judge finds where the VIP belongs and whether it can be held there.
func (k *Kernel) judge(p *place, now *view) {
	before := p.problem
	p.link, p.covered, p.problem = now.find(p.vip, p.link, k.ours)
	for _, each := range now.addresses {
		if each.prefix.Addr() == p.address && !k.ours(each) {
			name := fmt.Sprintf("interface %d", each.index)
			for _, l := range now.links {
				if l.index == each.index {
					name = l.name
				}
			}
			p.problem = fmt.Errorf("vip %s: %s has it already: %w; a vip must not be a node's own address (ip address del %s dev %s)",
				p.address, name, ErrForeign, each.prefix, name)
		}
	}
	if (before == nil) == (p.problem == nil) && (before == nil || before.Error() == p.problem.Error()) {
		return
	}
	event := Event{Kind: Ready, Address: p.address}
	if p.problem != nil {
		event.Kind, event.Reason = Unready, p.problem.Error()
	}
	if p.link != nil {
		event.Interface = p.link.name
	}
	k.tell(event)
	signal(k.changed)
}

// restore puts an address back that should be on its interface and is not.
func (k *Kernel) restore(p *place, now *view) {
	for _, each := range now.addresses {
		if each.prefix.Addr() == p.address && p.link != nil && each.index == p.link.index {
			p.index, p.prefix, p.lost = each.index, each.prefix, false
			if p.covered && !each.prefix.IsSingleIP() {
				k.narrow(p)
			}
			return
		}
	}
	event := Event{Kind: Restored, Address: p.address}
	var err error
	if p.link == nil || !p.link.up {
		err = p.problem
	} else {
		event.Interface = p.link.name
		err = k.put(p)
	}
	if err != nil {
		if !p.lost {
			event.Kind, event.Reason = Lost, err.Error()
			k.tell(event)
		}
		p.lost, p.index = true, 0
		return
	}
	p.lost = false
	k.tell(event)
	if p.held {
		p.announced = 0
		k.say(p, k.opt.Clock())
	}
}

// narrow leaves the network to an address of the interface itself that has come, or come back, after ours: a link that was down has
// its IPv6 addresses given back one after the other, and a DHCP client adds its own when it gets it.
func (k *Kernel) narrow(p *place) {
	wide := p.prefix
	err := promote(p.link.name)
	if err == nil {
		err = unassign(p.index, wide)
	}
	if err == nil {
		err = k.put(p)
	}
	if err != nil {
		k.opt.Log.Warn("address keeps a network that is not its own; trying again", "address", wide.String(), "interface", p.link.name, "error", err)
	}
}

// promote lets the other IPv4 addresses of a network stay when the first of them is removed (ip-sysctl, promote_secondaries), as
// systemd-networkd and keepalived do.
func promote(name string) error {
	return os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/promote_secondaries", []byte("1"), 0)
}

// put assigns the address. Where the interface's own network holds it, it gets the full prefix length: as a secondary address of that
// network it would go with the first, when that is removed.
func (k *Kernel) put(p *place) error {
	prefix := p.vip.Prefix
	if p.covered {
		prefix = netip.PrefixFrom(p.address, p.address.BitLen())
	}
	if !prefix.IsSingleIP() && p.address.Is4() {
		_ = promote(p.link.name) // an own address that comes later must outlive ours; narrow tries again
	}
	if err := assign(p.link.index, prefix, k.lifetime()); err != nil {
		return fmt.Errorf("put %s on %s: %w", prefix, p.link.name, err)
	}
	settled(p.address)
	p.index, p.prefix, p.renewed = p.link.index, prefix, k.opt.Clock()
	return nil
}

func (k *Kernel) ours(a assigned) bool {
	return a.ours(k.lifetime()) && (a.proto == addressMark || k.places[a.prefix.Addr()] != nil)
}

// sweep removes addresses that this program put somewhere and that should not be there now.
func (k *Kernel) sweep(now *view) error {
	var failed error
	for _, each := range now.addresses {
		if !k.ours(each) {
			continue
		}
		p := k.places[each.prefix.Addr()]
		if p != nil && (p.held || p.linger != nil) && (p.index == each.index || p.index == 0) {
			continue
		}
		if err := unassign(each.index, each.prefix); err != nil {
			failed = errors.Join(failed, fmt.Errorf("remove leftover %s: %w", each.prefix, err))
			continue
		}
		k.opt.Log.Info("leftover address removed", "address", each.prefix.String())
	}
	return failed
}
