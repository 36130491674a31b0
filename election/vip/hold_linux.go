package vip

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Take begins to answer for the address, until the given time on the Clock and not longer. When it fails nothing is left
// behind. If the address's old connections linger here, they go on as if it had never moved.
func (k *Kernel) Take(address netip.Addr, until time.Duration) error {
	k.mu.Lock()
	defer k.unlock()
	p, err := k.place(address)
	if err != nil {
		return fmt.Errorf("take %w", err)
	}
	if p.link == nil || p.problem != nil && !p.held {
		return fmt.Errorf("take %w", p.problem)
	}
	k.endCatch(p) // what comes now is for this node
	// Silent still: the guard knows the address and has no element for it.
	if p.linger == nil || p.index != p.link.index {
		if err := k.put(p); err != nil {
			return fmt.Errorf("take vip %s: %w", address, err)
		}
	}
	if err := k.allow(p, until); err != nil {
		if p.linger == nil && !p.held {
			err = errors.Join(err, k.drop(p))
		}
		return fmt.Errorf("take vip %s: %w", address, err)
	}
	now := k.opt.Clock()
	p.held, p.since, p.until, p.lost = true, now, until, false
	k.endLinger(p)
	p.announced, p.probe = 0, now+k.opt.AnnounceEvery/2
	k.say(p, now)
	signal(k.wake)
	return nil
}

// Renew moves the end of the right, without a gap. ErrNotHeld and ErrLate mean that it must be taken anew.
func (k *Kernel) Renew(address netip.Addr, until time.Duration) error {
	k.mu.Lock()
	defer k.unlock()
	p, err := k.place(address)
	if err != nil {
		return fmt.Errorf("renew %w", err)
	}
	if !p.held {
		return fmt.Errorf("renew vip %s: %w", address, ErrNotHeld)
	}
	if err := k.allow(p, until); err != nil {
		return fmt.Errorf("renew vip %s: %w", address, err)
	}
	resumed := k.opt.Clock() >= p.until
	p.until = until
	if resumed { // the loop had nothing to do for it meanwhile
		signal(k.dirty)
	}
	return nil
}

// allow opens the guard, which is rebuilt if somebody removed it.
func (k *Kernel) allow(p *place, until time.Duration) error {
	if k.guard == nil {
		if k.opt.Clock() >= until {
			return ErrLate
		}
		return nil
	}
	err := k.guard.open(p, until)
	if errors.Is(err, unix.ENOENT) {
		k.rebuildGuard()
		err = k.guard.open(p, until)
	}
	return err
}

// Drop stops to answer for the address, and closes what lingers of it. It is no error if there is nothing to drop. If it fails, the
// guard's element runs out by itself, and the address's lifetime too.
func (k *Kernel) Drop(address netip.Addr) error {
	k.mu.Lock()
	defer k.unlock()
	p, err := k.place(address)
	switch {
	case errors.Is(err, ErrUnknown):
		return nil
	case err != nil:
		return fmt.Errorf("drop %w", err)
	}
	return k.drop(p)
}

func (k *Kernel) drop(p *place) error {
	k.endCatch(p)
	return k.remove(p)
}

// remove takes the address away.
func (k *Kernel) remove(p *place) error {
	var failed error
	if k.guard != nil {
		if err := k.guard.close(p); err != nil {
			failed = fmt.Errorf("silence vip %s: %w", p.address, err)
		}
	}
	if p.index != 0 {
		if err := unassign(p.index, p.prefix); err != nil {
			failed = errors.Join(failed, fmt.Errorf("remove vip %s: %w", p.address, err))
			signal(k.dirty)
		}
	}
	k.endLinger(p)
	p.held, p.lost, p.index, p.clash = false, false, 0, nil
	return failed
}
