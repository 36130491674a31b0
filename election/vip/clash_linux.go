package vip

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"time"
)

// settleTime is how long after taking an address no conflict is seen.
const settleTime = 500 * time.Millisecond

// heard is told that a station with that Ethernet address says to have the IP address.
func (k *Kernel) heard(index int, address netip.Addr, mac net.HardwareAddr) {
	k.mu.Lock()
	defer k.unlock()
	p := k.places[address]
	now := k.opt.Clock()
	if !k.open || p == nil || !p.held || now >= p.until || p.link == nil || p.link.index != index || bytes.Equal(mac, p.link.mac) {
		return
	}
	if now < p.since+settleTime {
		return // said by the former holder before it dropped, and read here late; a true conflict is heard again
	}
	for _, own := range k.on { // two interfaces on one network
		if bytes.Equal(mac, own.mac) {
			return
		}
	}
	mac = slices.Clone(mac) // of the reader's buffer
	told := p.clash != nil && bytes.Equal(p.clash.MAC, mac) && time.Since(p.clash.Last) < 3*k.opt.AnnounceEvery
	if !told {
		p.clash = &Clash{Address: address, Interface: p.link.name, MAC: mac, First: time.Now()}
		k.tell(Event{Kind: Conflict, Address: address, Interface: p.link.name, MAC: mac})
	}
	p.clash.Last = time.Now()
	// Take it back, but not in a duel with a station that does the same: RFC 5227 §2.4 (b).
	if now >= p.defended+time.Second {
		p.defended = now
		k.ear.announce(p.link, address)
	}
}
