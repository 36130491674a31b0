//go:build linux

package vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkMove measures what is in the way of a planned move: listing and silencing at the old holder, and forwarding and taking at
// the new one. Run it with -benchtime 1x: each round opens all its connections.
func BenchmarkMove(b *testing.B) {
	for _, vip := range []string{"10.9.0.100/24", "fd09::100/64"} {
		for _, count := range []int{100, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/%d", vip, count), func(b *testing.B) {
				for b.Loop() {
					benchmarkMove(b, netip.MustParsePrefix(vip), count)
				}
			})
		}
	}
}

func benchmarkMove(b *testing.B, vip netip.Prefix, count int) {
	b.StopTimer()
	l := newLab(b)
	from, to := l.host(1), l.host(2)
	address := vip.Addr()
	for _, h := range []*host{from, to} {
		h.open(vip.String())
	}
	from.sh("for n in 1 2 3 4 5 6 7 8 9 10 11 12 13; do ip -6 address add fd10::$n/128 dev lo nodad; done; until ip -6 route show table local | grep -q fd10::13; do :; done")
	from.take(address, hold)
	from.do(order{Do: "keep", Address: address, Left: hold})
	from.do(order{Do: "crowd", Address: address, Flows: count})
	flows := from.do(order{Do: "flows", Address: address})
	ready := from.do(order{Do: "prepare", Address: address, Left: time.Minute})
	ahead := to.do(order{Do: "forward", Handover: ready.Handover})
	late := from.do(order{Do: "flows", Address: address})
	b.StartTimer()
	out := from.do(order{Do: "linger", Address: address, Left: time.Minute})
	in := to.do(order{Do: "forward", Handover: out.Handover})
	taken := to.try(order{Do: "take", Address: address, Left: hold})
	b.StopTimer()
	if flows.Flows != count || ready.Flows != count || late.Flows != count || taken.Error != "" {
		b.Errorf("%d, %d and %d connections, want %d; %s", flows.Flows, ready.Flows, late.Flows, count, taken.Error)
	}
	ms := func(name string, d time.Duration) { b.ReportMetric(float64(d.Microseconds())/1000, name) }
	parse := func(text string) time.Duration { d, _ := time.ParseDuration(text); return d }
	ms("list-ms", flows.Took)
	ms("list-cpu-ms", flows.CPU)
	ms("prepare-ms", parse(ready.Text))
	ms("prepare-cpu-ms", ready.CPU)
	ms("ahead-ms", parse(ahead.Text))
	ms("ahead-cpu-ms", ahead.CPU)
	ms("linger-ms", parse(out.Text))
	ms("forward-ms", parse(in.Text))
	ms("take-ms", taken.Took)
	// End the connections while their address is there, or they would stay in the kernel for minutes.
	from.do(order{Do: "disperse"})
	for end := time.Now().Add(time.Minute); from.do(order{Do: "lingering"}).Flows > 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	b.StartTimer()
}

// BenchmarkRenew measures one renewal.
func BenchmarkRenew(b *testing.B) {
	l := newLab(b)
	h := l.host(1)
	h.open("10.9.0.100/24")
	address := netip.MustParseAddr("10.9.0.100")
	h.take(address, time.Minute)
	total := time.Duration(0)
	for b.Loop() {
		total += h.do(order{Do: "renew", Address: address, Left: time.Minute}).Took
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N), "µs/renewal")
}
