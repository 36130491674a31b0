//go:build linux

package vip

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// ticks reads from a connection that ticks every 25 ms, and keeps the longest time between two.
type ticks struct {
	conn    net.Conn
	longest atomic.Int64
	count   atomic.Int64
	broken  atomic.Bool
	name    string
}

func dial(t testing.TB, address netip.Addr, word string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", netip.AddrPortFrom(address, 7000).String(), 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintln(conn, word); err != nil {
		t.Fatal(err)
	}
	return conn
}

func watchTicks(t testing.TB, address netip.Addr) *ticks {
	t.Helper()
	w := &ticks{conn: dial(t, address, "tick")}
	in := bufio.NewReader(w.conn)
	first, err := in.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	w.name = strings.TrimSpace(first)
	go func() {
		last := time.Now()
		for {
			if _, err := in.ReadString('\n'); err != nil {
				w.broken.Store(true)
				return
			}
			now := time.Now()
			w.longest.Store(max(w.longest.Load(), int64(now.Sub(last))))
			w.count.Add(1)
			last = now
		}
	}()
	return w
}

// ask makes a new connection and returns who answers.
func ask(t testing.TB, address netip.Addr) string {
	t.Helper()
	conn := dial(t, address, "who")
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	return strings.TrimSpace(string(out))
}

// Two hosts, a client and a switch: established connections go on where they are, new ones go to the new holder, and only
// the new holder says that the address is there.
func TestMove(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		a, b := l.host(1), l.host(2)
		address := vip.Addr()
		for _, h := range []*host{a, b} {
			h.open(vip.String())
			h.do(order{Do: "serve", Text: h.name})
		}
		a.take(address, hold)
		a.do(order{Do: "keep", Address: address, Left: hold})
		tick, plain := watchTicks(t, address), watchTicks(t, a.own(address))
		bulk := dial(t, address, "bulk")
		var bytes atomic.Int64
		var bulkBroken atomic.Bool
		go func() {
			block := make([]byte, 256<<10)
			for {
				n, err := bulk.Read(block)
				bytes.Add(int64(n))
				if err != nil {
					bulkBroken.Store(true)
					return
				}
				time.Sleep(time.Millisecond) // others use this machine too
			}
		}()
		p := l.probe(address, nil)
		eventually(t, "an answer", func() bool { return len(p.of(false)) > 0 })

		began := time.Now()
		out := a.do(order{Do: "linger", Address: address, Left: 20 * time.Second})
		silent := time.Now()
		in := b.do(order{Do: "forward", Handover: out.Handover})
		b.take(address, hold)
		took := time.Since(began)
		b.do(order{Do: "keep", Address: address, Left: hold})
		eventually(t, "an answer of the new holder", func() bool {
			list := p.of(false)
			return len(list) > 0 && list[len(list)-1].mac == b.mac.String()
		})
		if who := ask(t, address); who != "h2" {
			t.Errorf("a new connection went to %s", who)
		}
		// Let neighbour entries grow old meanwhile, so that the old holder must look for its client again.
		a.sh("ip neigh flush dev eth0")
		before, beforeBytes := tick.count.Load(), bytes.Load()
		eventually(t, "20 ticks after the move", func() bool { return tick.count.Load() > before+20 })
		t.Logf("%d flows, linger %s, forward %s, move %v in all; longest time between ticks %v; %d KiB of bulk after the move",
			out.Flows, out.Text, in.Text, took, time.Duration(tick.longest.Load()), (bytes.Load()-beforeBytes)>>10)
		if tick.broken.Load() || bulkBroken.Load() {
			t.Fatal("an established connection broke")
		}
		// On a busy machine everything stutters; so compare with a connection that did not move.
		if gap, usual := time.Duration(tick.longest.Load()), time.Duration(plain.longest.Load()); gap > usual+100*time.Millisecond {
			t.Errorf("the longest time between two ticks is %v, and %v on a connection that did not move", gap, usual)
		}
		if bytes.Load() == beforeBytes {
			t.Error("the bulk transfer stands still")
		}
		for _, each := range p.of(false) {
			if each.at.After(silent.Add(2*time.Millisecond)) && each.mac != b.mac.String() {
				t.Errorf("%s said to have it %v after the old holder was silent", each.mac, each.at.Sub(silent))
			}
		}
		if n := a.do(order{Do: "lingering"}).Flows; n < 2 {
			t.Errorf("lingering: %d", n)
		}
		// The last one ends: nothing is left.
		_ = tick.conn.Close()
		_ = bulk.Close()
		a.event(Lingered, address)
		if out := a.sh("ip address"); strings.Contains(out, address.String()+"/") {
			t.Errorf("still on the old holder:\n%s", out)
		}
	})
}

// There and back within the limit: connections on either side go on.
func TestMoveBack(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		a, b := l.host(1), l.host(2)
		address := vip.Addr()
		for _, h := range []*host{a, b} {
			h.open(vip.String())
			h.do(order{Do: "serve", Text: h.name})
		}
		a.take(address, hold)
		a.do(order{Do: "keep", Address: address, Left: hold})
		move := func(from, to *host) {
			t.Helper()
			out := from.do(order{Do: "linger", Address: address, Left: 20 * time.Second})
			to.do(order{Do: "forward", Handover: out.Handover})
			to.take(address, hold)
			to.do(order{Do: "keep", Address: address, Left: hold})
		}
		first := watchTicks(t, address)
		move(a, b)
		second := watchTicks(t, address)
		move(b, a)
		third := watchTicks(t, address)
		move(a, b)
		if first.name+second.name+third.name != "h1h2h1" {
			t.Errorf("connections went to %s, %s and %s", first.name, second.name, third.name)
		}
		plain := watchTicks(t, a.own(address))
		for i, w := range []*ticks{first, second, third} {
			before := w.count.Load()
			eventually(t, "more ticks", func() bool { return w.broken.Load() || w.count.Load() > before+20 })
			t.Logf("connection %d: longest time between ticks %v", i+1, time.Duration(w.longest.Load()))
			if w.broken.Load() {
				t.Errorf("connection %d broke", i+1)
			}
		}
		t.Logf("a connection that never moved: longest time between ticks %v", time.Duration(plain.longest.Load()))
	})
}

// At the limit what is left is reset.
func TestMoveLimit(t *testing.T) {
	families(t, func(t *testing.T, l *lab, vip netip.Prefix) {
		a, b := l.host(1), l.host(2)
		address := vip.Addr()
		for _, h := range []*host{a, b} {
			h.open(vip.String())
			h.do(order{Do: "serve", Text: h.name})
		}
		a.take(address, hold)
		a.do(order{Do: "keep", Address: address, Left: hold})
		idle := dial(t, address, "idle")
		if _, err := bufio.NewReader(idle).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		out := a.do(order{Do: "linger", Address: address, Left: 500 * time.Millisecond})
		b.do(order{Do: "forward", Handover: out.Handover})
		b.take(address, hold)
		b.do(order{Do: "keep", Address: address, Left: hold})
		began := time.Now()
		_ = idle.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := idle.Read(make([]byte, 1))
		t.Logf("ended after %v with: %v", time.Since(began), err)
		if err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("at the limit: %v", err)
		}
		if e := a.event(Lingered, address); e.Flows != 1 {
			t.Errorf("%d closed at the limit", e.Flows)
		}
	})
}
