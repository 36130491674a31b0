//go:build linux

package vip

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

const hold = 400 * time.Millisecond

// Without renewal the kernel is silent at the deadline; with it there is no gap.
func TestGuard(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		if guarded := h.do(order{Do: "guarded"}).Text; guarded != "true 0s" {
			t.Fatalf("guarded: %s", guarded)
		}
		address := vip.Addr()
		p := l.probe(address, h.mac)
		time.Sleep(50 * time.Millisecond)
		if n := len(p.of(false)) + len(p.of(true)); n != 0 {
			t.Fatalf("%d answers before it was taken", n)
		}
		h.take(address, hold)
		h.do(order{Do: "keep", Address: address, Left: hold})
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 && len(p.of(false)) > 0 })
		from := time.Now()
		time.Sleep(2 * time.Second)
		to := time.Now()
		h.do(order{Do: "leave", Address: address})
		last := time.Now()
		h.do(order{Do: "renew", Address: address, Left: hold})
		back := time.Now()
		time.Sleep(hold + 300*time.Millisecond)
		for name, list := range map[string][]seen{"claims": p.of(false), "packets": p.of(true)} {
			gap := longestGap(list, from, to)
			final := list[len(list)-1].at
			lost := p.unanswered(list, from, to)
			t.Logf("%s: %d in %v, longest gap %v, %d unanswered in a row; the last %v after the last renewal",
				name, len(within(list, from, to)), to.Sub(from), gap, lost, final.Sub(last))
			if lost > 4 {
				t.Errorf("%s: %d questions in a row unanswered while renewed", name, lost)
			}
			if final.Sub(back) > hold+10*time.Millisecond {
				t.Errorf("%s: the last answer came %v after the last renewal of %v", name, final.Sub(back), hold)
			}
			if final.Sub(last) < hold/2 {
				t.Errorf("%s: the last answer came %v after the last renewal, too early", name, final.Sub(last))
			}
		}
		// It may be taken again.
		h.take(address, hold)
		eventually(t, "an answer again", func() bool { list := p.of(true); return list[len(list)-1].at.After(back.Add(hold)) })
		h.do(order{Do: "drop", Address: address})
		h.do(order{Do: "drop", Address: address})
		if out := h.sh("ip address"); strings.Contains(out, address.String()+"/") {
			t.Errorf("still there after drop:\n%s", out)
		}
	})
}

// When Take returns, a connection from this host or another is taken in at once.
func TestTake(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		h.do(order{Do: "serve", Text: "h1"})
		address := vip.Addr()
		for range 20 {
			h.take(address, 10*time.Second)
			began := time.Now()
			if who := ask(t, address); who != "h1" {
				t.Fatalf("%s answers", who)
			}
			if took := time.Since(began); took > 900*time.Millisecond { // a lost first packet costs a second
				t.Errorf("the first packet was lost: it took %v", took)
			}
			h.do(order{Do: "drop", Address: address})
		}
	})
}

// The process is killed while it holds: silence at the deadline, and the next one removes what is left.
func TestKilled(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		address := vip.Addr()
		h.take(address, hold)
		h.do(order{Do: "keep", Address: address, Left: hold})
		p := l.probe(address, h.mac)
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 && len(p.of(false)) > 0 })
		time.Sleep(hold / 2)
		h.kill()
		killed := time.Now()
		time.Sleep(hold + 200*time.Millisecond)
		for name, list := range map[string][]seen{"claims": p.of(false), "packets": p.of(true)} {
			after := list[len(list)-1].at.Sub(killed)
			t.Logf("%s: the last %v after the kill", name, after)
			if after > hold+10*time.Millisecond {
				t.Errorf("%s: the last answer came %v after the kill", name, after)
			}
		}
		h.start()
		if out := h.sh("ip address"); !strings.Contains(out, address.String()+"/") {
			t.Errorf("the address should still be there, silent:\n%s", out)
		}
		h.do(order{Do: "open"})
		if out := h.sh("ip address"); strings.Contains(out, address.String()+"/") {
			t.Errorf("not swept:\n%s", out)
		}
		h.configure(vip.String())
		h.take(address, hold)
		h.do(order{Do: "close"})
		if out := h.sh("ip address"); strings.Contains(out, address.String()+"/") {
			t.Errorf("still there after close:\n%s", out)
		}
	})
}

// A process that is stopped for longer than its right cannot renew it, and is no danger when it runs again.
func TestLate(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		for _, what := range []string{"take", "renew"} {
			if what == "renew" {
				h.take(vip.Addr(), hold)
				time.Sleep(hold)
			}
			a := h.try(order{Do: what, Address: vip.Addr(), Left: time.Millisecond})
			if !strings.Contains(a.Error, ErrLate.Error()) {
				t.Errorf("%s with 1 ms left: %q", what, a.Error)
			}
		}
		// Even without the kernel having removed the element yet, it can be opened again.
		h.do(order{Do: "renew", Address: vip.Addr(), Left: hold})
	})
}

// An address that somebody removes is put back; other interfaces and addresses have their say too.
func TestRestored(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		address := vip.Addr()
		h.take(address, hold)
		h.do(order{Do: "keep", Address: address, Left: hold})
		single := netip.PrefixFrom(address, address.BitLen()).String()
		p := l.probe(address, h.mac)
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 })
		h.sh("ip address del " + single + " dev eth0")
		removed := time.Now()
		h.event(Restored, address)
		eventually(t, "an answer again", func() bool {
			list := p.of(true)
			return list[len(list)-1].at.After(removed.Add(100 * time.Millisecond))
		})
		gap := longestGap(p.of(true), removed.Add(-50*time.Millisecond), removed.Add(100*time.Millisecond))
		t.Logf("longest gap %v", gap)
		if gap > 100*time.Millisecond {
			t.Errorf("put back after %v", gap)
		}
		// Down and up: IPv6 addresses go, IPv4 ones stay.
		h.sh("ip link set eth0 down")
		h.event(Unready, address)
		if a := h.try(order{Do: "ready", Address: address}); !strings.Contains(a.Error, "interface eth0 is down") {
			t.Errorf("ready: %q", a.Error)
		}
		h.sh("ip link set eth0 up")
		if address.Is6() {
			h.sh("ip address add fd09::1/64 dev eth0 nodad")
		}
		h.event(Ready, address)
		up := time.Now()
		eventually(t, "an answer after down and up", func() bool { list := p.of(true); return list[len(list)-1].at.After(up) })
		eventually(t, "the address alone, in the network of the host's own", func() bool {
			list := h.sh("ip address")
			return strings.Count(list, " "+single+" ") == 1 && strings.Count(list, " "+address.String()+"/") == 1
		})
	})
}

// A host's own address that comes after the VIP owns the network from then on, and does not go with the VIP.
func TestOwnAddressComesLater(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		own := netip.PrefixFrom(h.own(vip.Addr()), vip.Bits()).String()
		h.sh("ip address del " + own + " dev eth0")
		h.do(order{Do: "open"})
		h.do(order{Do: "configure", VIPs: []VIP{{Prefix: vip, Interface: "eth0"}}})
		h.take(vip.Addr(), hold)
		h.do(order{Do: "keep", Address: vip.Addr(), Left: hold})
		has := func(address string) bool { return strings.Contains(h.sh("ip address show dev eth0"), " "+address+" ") }
		if !has(vip.String()) {
			t.Fatalf("alone in its network the address must have the network's prefix:\n%s", h.sh("ip address"))
		}
		h.sh("ip address add " + own + " dev eth0 nodad")
		single := netip.PrefixFrom(vip.Addr(), vip.Addr().BitLen()).String()
		eventually(t, "the address without the network", func() bool { return has(single) && !has(vip.String()) && has(own) })
		p := l.probe(vip.Addr(), h.mac)
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 })
		h.do(order{Do: "leave", Address: vip.Addr()})
		h.do(order{Do: "drop", Address: vip.Addr()})
		if has(single) || !has(own) {
			t.Errorf("after the drop:\n%s", h.sh("ip address"))
		}
	})
}
