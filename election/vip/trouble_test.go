//go:build linux

package vip

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Another station answers for a held address: it is told, with its Ethernet address, and ours is announced against it.
func TestConflict(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h, foreign := l.host(1), l.host(2)
		address := vip.Addr()
		h.open(vip.String())
		foreign.sh("ip address add " + vip.String() + " dev eth0 nodad")
		h.do(order{Do: "take", Address: address, Left: hold})
		h.do(order{Do: "keep", Address: address, Left: hold})
		if e := h.event(Conflict, address); e.MAC.String() != foreign.mac.String() {
			t.Errorf("conflict with %s, want %s", e.MAC, foreign.mac)
		}
		if text := h.do(order{Do: "clashes"}).Text; !strings.Contains(text, foreign.mac.String()) {
			t.Errorf("clashes: %s", text)
		}
		foreign.sh("ip address del " + vip.String() + " dev eth0")
		eventually(t, "the end of the conflict", func() bool { return h.do(order{Do: "clashes"}).Text == "[]" })
	})
}

// The next holder's announcements are no conflict.
func TestNoConflict(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		a, b := l.host(1), l.host(2)
		address := vip.Addr()
		for _, h := range []*host{a, b} {
			h.open(vip.String())
		}
		for range 10 {
			for _, each := range [][2]*host{{a, b}, {b, a}} {
				each[0].do(order{Do: "drop", Address: address})
				each[1].take(address, hold)
			}
		}
		for _, h := range []*host{a, b} {
			h.mu.Lock()
			for _, e := range h.events {
				if e.Kind == Conflict {
					t.Errorf("%s: %+v", h.name, e)
				}
			}
			h.mu.Unlock()
		}
	})
}

// What a person may get wrong is answered in words.
func TestWords(t *testing.T) {
	l := newLab(t)
	h := l.host(1)
	h.do(order{Do: "open"})
	configure := func(vips ...VIP) string { return h.try(order{Do: "configure", VIPs: vips}).Error }
	ready := func(address string) string {
		return h.try(order{Do: "ready", Address: netip.MustParseAddr(address)}).Error
	}
	prefix := netip.MustParsePrefix
	for _, each := range []struct{ name, got, want string }{
		{"twice", configure(VIP{Prefix: prefix("10.9.0.100/24")}, VIP{Prefix: prefix("10.9.0.100/32")}), "vip 10.9.0.100: named twice"},
		{"loopback", configure(VIP{Prefix: prefix("127.0.0.100/8")}), "vip 127.0.0.100/8: not an address that can be held"},
		{"good", configure(
			VIP{Prefix: prefix("10.9.0.100/24")}, VIP{Prefix: prefix("10.8.0.100/24")}, VIP{Prefix: prefix("10.7.0.100/24"), Interface: "eth9"},
			VIP{Prefix: prefix("10.6.0.100/24"), Interface: "eth0"}, VIP{Prefix: prefix("10.9.0.1/24")}), ""},
		{"ready", ready("10.9.0.100"), ""},
		{"outside", ready("10.8.0.100"), "vip 10.8.0.100: outside every local network; name its interface in the document (have eth0 10.9.0.1/24, eth0 fd09::1/64, lo 127.0.0.1/8, lo ::1/128)"},
		{"missing", ready("10.7.0.100"), "vip 10.7.0.100: interface eth9 not found (have eth0, lo)"},
		{"named", ready("10.6.0.100"), ""},
		{"own", ready("10.9.0.1"), "vip 10.9.0.1: eth0 has it already: the address was configured by somebody else; a vip must not be a node's own address (ip address del 10.9.0.1/24 dev eth0)"},
		{"unknown", ready("10.9.0.99"), "vip 10.9.0.99: this vip was not configured"},
		{"unknown", h.try(order{Do: "take", Address: netip.MustParseAddr("10.9.0.99"), Left: hold}).Error, "take vip 10.9.0.99: this vip was not configured"},
		{"renew", h.try(order{Do: "renew", Address: netip.MustParseAddr("10.9.0.100"), Left: hold}).Error, "renew vip 10.9.0.100: this vip is not held"},
	} {
		if each.got != each.want {
			t.Errorf("%s: %q, want %q", each.name, each.got, each.want)
		}
	}
	if a := h.try(order{Do: "take", Address: netip.MustParseAddr("10.9.0.1"), Left: hold}); !strings.Contains(a.Error, ErrForeign.Error()) {
		t.Errorf("take of a node's own address: %q", a.Error)
	}
	if out := h.sh("ip address"); !strings.Contains(out, "10.9.0.1/24") {
		t.Errorf("the node's own address is gone:\n%s", out)
	}
	// A network of its own gets its route, and takes it along.
	h.take(netip.MustParseAddr("10.6.0.100"), hold)
	if out := h.sh("ip route"); !strings.Contains(out, "10.6.0.0/24") {
		t.Errorf("no route to the vip's network:\n%s", out)
	}
	h.do(order{Do: "drop", Address: netip.MustParseAddr("10.6.0.100")})
	if out := h.sh("ip route"); strings.Contains(out, "10.6.0.0/24") {
		t.Errorf("the route to the vip's network is still there:\n%s", out)
	}
	// With the cable out it is not ready, and says so by itself.
	h.sh("true")
	linkDown(t, h)
	h.event(Unready, netip.MustParseAddr("10.9.0.100"))
	if got := ready("10.9.0.100"); got != "vip 10.9.0.100: interface eth0 has no carrier" {
		t.Errorf("without a cable: %q", got)
	}
}

// Addresses and tables of others stay; ours go. A flushed guard is put back at the next renewal.
func TestTampering(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		address := vip.Addr()
		h.do(order{Do: "table", Text: "other"})
		h.take(address, hold)
		h.do(order{Do: "flush"})
		h.do(order{Do: "renew", Address: address, Left: hold})
		renewed := time.Now()
		h.event(Guarding, netip.Addr{})
		p := l.probe(address, h.mac)
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 })
		time.Sleep(hold + 100*time.Millisecond)
		list := p.of(true)
		if last := list[len(list)-1].at.Sub(renewed); last > hold+10*time.Millisecond {
			t.Errorf("the guard that was put back let something pass %v after the renewal", last)
		}
		h.do(order{Do: "close"})
		if tables := h.do(order{Do: "tables"}).Text; tables != "[other]" {
			t.Errorf("tables after close: %s", tables)
		}
	})
}

// A process that is stopped can neither answer nor announce after its right has ended, when it runs again.
func TestStopped(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.open(vip.String())
		address := vip.Addr()
		h.take(address, hold)
		h.do(order{Do: "keep", Address: address, Left: hold})
		p := l.probe(address, h.mac)
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 && len(p.of(false)) > 0 })
		stopped := pause(t, h)
		time.Sleep(hold + 100*time.Millisecond)
		for name, list := range map[string][]seen{"claims": p.of(false), "packets": p.of(true)} {
			after := list[len(list)-1].at.Sub(stopped)
			t.Logf("%s: the last %v after the stop", name, after)
			if after > hold+10*time.Millisecond {
				t.Errorf("%s: the last answer came %v after the stop", name, after)
			}
		}
		resume(t, h)
		eventually(t, "an answer after it runs again", func() bool {
			list := p.of(true)
			return list[len(list)-1].at.After(stopped.Add(hold + 50*time.Millisecond))
		})
	})
}

// Without nf_tables the address's own lifetime is what makes a dead process's kernel silent, within Silence.
func TestUnguarded(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		h := l.host(1)
		h.do(order{Do: "open"})
		h.do(order{Do: "unguard"})
		h.configure(vip.String())
		var guarded bool
		var silence string
		if _, err := fmt.Sscan(h.do(order{Do: "guarded"}).Text, &guarded, &silence); err != nil || guarded {
			t.Fatalf("guarded: %v %v", guarded, err)
		}
		longest, err := time.ParseDuration(silence)
		if err != nil {
			t.Fatal(err)
		}
		address := vip.Addr()
		h.take(address, hold)
		h.do(order{Do: "keep", Address: address, Left: hold})
		p := l.probe(address, h.mac)
		eventually(t, "an answer", func() bool { return len(p.of(true)) > 0 })
		time.Sleep(renewEvery + hold) // at least one renewal of the lifetime
		if a := h.try(order{Do: "linger", Address: address, Left: time.Second}); a.Error != "" && !strings.Contains(a.Error, ErrUnsupported.Error()) {
			t.Errorf("linger: %q", a.Error)
		}
		h.kill()
		killed := time.Now()
		eventually(t, "silence", func() bool { list := p.of(true); return time.Since(list[len(list)-1].at) > time.Second })
		for name, list := range map[string][]seen{"claims": p.of(false), "packets": p.of(true)} {
			after := list[len(list)-1].at.Sub(killed)
			t.Logf("%s: the last %v after the kill; %v was said", name, after, longest)
			if after > hold+longest {
				t.Errorf("%s: the last answer came %v after the kill", name, after)
			}
		}
	})
}
