//go:build linux

package vip

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// seen is one sign of life of a VIP.
type seen struct {
	at  time.Time
	mac string
}

// prober asks for a VIP every 5 ms, in three ways, and records every answer.
type prober struct {
	mu       sync.Mutex
	claims   []seen // ARP or neighbour advertisements: replies and announcements alike
	packets  []seen // echo replies
	sent     []time.Time
	stop     chan struct{}
	stopOnce sync.Once
	done     sync.WaitGroup
}

const probeEvery = 5 * time.Millisecond

// probe starts one. Packets go to that Ethernet address, whoever says to have the VIP.
func (l *lab) probe(address netip.Addr, mac net.HardwareAddr) *prober {
	t := l.t
	t.Helper()
	p := &prober{stop: make(chan struct{})}
	bridge, err := netlink.LinkByName("lan")
	l.must(err)
	on := &link{index: bridge.Attrs().Index, name: "lan", mac: bridge.Attrs().HardwareAddr}
	e, err := openEar()
	l.must(err)
	l.must(e.filter([]netip.Addr{address}))
	heard := func(_ int, from netip.Addr, mac net.HardwareAddr) {
		if from == address {
			p.mu.Lock()
			p.claims = append(p.claims, seen{time.Now(), mac.String()})
			p.mu.Unlock()
		}
	}
	p.done.Go(func() { e.listenARP(heard) })
	p.done.Go(func() { e.listenND(heard) })

	family, network := netlink.FAMILY_V4, "ip4:icmp"
	if address.Is6() {
		family, network = netlink.FAMILY_V6, "ip6:ipv6-icmp"
	}
	if mac != nil {
		entry := &netlink.Neigh{
			LinkIndex: on.index, Family: family, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: mac,
		}
		l.must(netlink.NeighSet(entry))
		t.Cleanup(func() { _ = netlink.NeighDel(entry) })
	}
	echo, err := net.Dial(network, address.String())
	l.must(err)
	p.done.Go(func() { p.listen(echo) })
	p.done.Go(func() {
		tick := time.NewTicker(probeEvery)
		defer tick.Stop()
		client := netip.MustParseAddr(clientAddress)
		for n := uint16(0); ; n++ {
			select {
			case <-p.stop:
				e.close()
				_ = echo.Close()
				return
			case <-tick.C:
			}
			p.mu.Lock()
			p.sent = append(p.sent, time.Now())
			p.mu.Unlock()
			if address.Is4() {
				e.sendARP(on, client, address)
			} else {
				e.probe(on, address)
			}
			if mac != nil {
				_, _ = echo.Write(echoRequest(address.Is6(), n))
			}
		}
	})
	t.Cleanup(p.end)
	return p
}

func (p *prober) end() {
	p.stopOnce.Do(func() { close(p.stop) })
	p.done.Wait()
}

func echoRequest(v6 bool, n uint16) []byte {
	message := []byte{8, 0, 0, 0, 0x54, 0x52, 0, 0}
	if v6 {
		message[0] = 128 // the kernel adds the checksum
	}
	binary.BigEndian.PutUint16(message[6:], n)
	if !v6 {
		sum := uint32(0)
		for i := 0; i < len(message); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(message[i:]))
		}
		binary.BigEndian.PutUint16(message[2:], ^uint16(sum+sum>>16))
	}
	return message
}

func (p *prober) listen(echo net.Conn) {
	in := make([]byte, 1500)
	for {
		n, err := echo.Read(in)
		if err != nil {
			return
		}
		reply := in[:n]
		if n >= 28 && reply[0]>>4 == 4 && reply[0] != 129 {
			reply = reply[20:] // with the IP header
		}
		if len(reply) >= 8 && (reply[0] == 0 || reply[0] == 129) && reply[4] == 0x54 {
			p.mu.Lock()
			p.packets = append(p.packets, seen{at: time.Now()})
			p.mu.Unlock()
		}
	}
}

func (p *prober) of(packets bool) []seen {
	p.mu.Lock()
	defer p.mu.Unlock()
	if packets {
		return append([]seen(nil), p.packets...)
	}
	return append([]seen(nil), p.claims...)
}

// within lists what was seen in a time.
func within(list []seen, from, to time.Time) []seen {
	var some []seen
	for _, each := range list {
		if each.at.After(from) && each.at.Before(to) {
			some = append(some, each)
		}
	}
	return some
}

// longestGap is the longest time without a sign of life between from and to.
func longestGap(list []seen, from, to time.Time) time.Duration {
	longest, last := time.Duration(0), from
	for _, each := range within(list, from, to) {
		longest, last = max(longest, each.at.Sub(last)), each.at
	}
	return max(longest, to.Sub(last))
}

// unanswered is the longest run of questions between from and to that nobody answered. Unlike the longest gap it
// does not count time that the prober itself was not running.
func (p *prober) unanswered(list []seen, from, to time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	longest, last := 0, from
	for _, each := range append(within(list, from, to), seen{at: to}) {
		run := 0
		for _, sent := range p.sent {
			if sent.After(last) && sent.Before(each.at.Add(-probeEvery)) {
				run++
			}
		}
		longest, last = max(longest, run), each.at
	}
	return longest
}

// families runs a test for IPv4 and IPv6.
func families(t *testing.T, test func(t *testing.T, l *lab, vip netip.Prefix)) {
	t.Helper()
	for _, each := range []struct{ name, vip string }{{"IPv4", "10.9.0.100/24"}, {"IPv6", "fd09::100/64"}} {
		t.Run(each.name, func(t *testing.T) { test(t, newLab(t), netip.MustParsePrefix(each.vip)) })
	}
}
