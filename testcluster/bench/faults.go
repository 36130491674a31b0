//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"tripod/testcluster/lab"
)

// system is a program that holds a VIP on the lab's nodes. A harm returns just before it is done; what mends returns
// when the node could hold the VIP again.
type system interface {
	name() string
	kill(*lab.Node) lab.Moment
	restart(*lab.Node)
	pause(*lab.Node) lab.Moment
	resume(*lab.Node)
	powerOff(*lab.Node) lab.Moment
	powerOn(*lab.Node)
	mended()
	// before is told of a round about to begin, and after of one that is over, but for mending.
	before(holder *lab.Node)
	after(r *round)
	// promises is false for those who made none to us.
	promises() bool
}

// fault is something that happens to the holder without its doing.
type fault struct {
	name  string
	limit time.Duration // promised 95th percentile
	harm  func(system, *lab.Node) lab.Moment
	mend  func(system, *lab.Node)
}

var faults = []fault{
	{"killed", 600 * time.Millisecond, system.kill, system.restart},
	{"cut", time.Second, func(_ system, n *lab.Node) lab.Moment { return n.CutCable() }, func(_ system, n *lab.Node) { n.MendCable() }},
	{"off", time.Second, system.powerOff, system.powerOn},
	{"stopped", time.Second, system.pause, system.resume},
}

// round is what became of one fault.
type round struct {
	from, to *lab.Node
	harmed   lab.Moment
	took     time.Duration // until another node answered; to is nil if none did
	two      bool          // the old holder still answered then
	note     string        // how it came about
}

// faults measures a system under all faults, and prints a table.
func (b *bench) faults(out io.Writer, s system) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "system\tholder\trounds\tmedian\tp95\tmax\tpromised\ttwo answer")
	var slow []string
	for _, f := range faults {
		if !b.wanted(f.name) {
			continue
		}
		var took []time.Duration
		two := 0
		for i := 0; i < b.rounds && b.ctx.Err() == nil; i++ {
			r := b.round(f, s)
			if r.to != nil {
				took = append(took, r.took)
			}
			if r.two {
				two++
			}
			if s.promises() && r.took > f.limit {
				slow = append(slow, fmt.Sprintf("  %s, round %d: %s -> %s after %s: %s", f.name, i+1, r.from.Name, r.to.Name, ms(r.took), r.note))
			}
		}
		if len(took) == 0 {
			fmt.Fprintf(table, "%s\t%s\t0\tno other node was reached\t\t\t\t%d\n", s.name(), f.name, two)
			continue
		}
		slices.Sort(took)
		p95, promised := took[(len(took)*95+99)/100-1], ""
		if s.promises() {
			promised = ms(f.limit)
			if p95 > f.limit {
				b.t.Errorf("holder %s: p95 %s, promised %s", f.name, ms(p95), promised)
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%d\n", s.name(), f.name, len(took), ms(took[len(took)/2]), ms(p95), ms(took[len(took)-1]), promised, two)
	}
	table.Flush()
	for _, line := range slow {
		fmt.Fprintln(out, line)
	}
}

// round does a fault to the holder, and mends it.
func (b *bench) round(f fault, s system) *round {
	r := &round{from: b.probe.WaitHolder()}
	b.rest()
	s.before(r.from)
	r.harmed = f.harm(s, r.from)
	if s.promises() {
		r.to = b.probe.WaitHolder(lab.Not(r.from))
	} else {
		r.to = b.another(r)
	}
	if r.to != nil {
		r.took = b.probe.Failover(r.harmed)
	}
	b.wait(time.Second)
	r.two = slices.Contains(b.probe.Stations(r.harmed.Add(r.took+time.Second/2)), r.from.Name)
	s.after(r)
	f.mend(s, r.from)
	s.mended()
	return r
}

// mostPatience is how long those who promised nothing may take.
const mostPatience = 10 * time.Second

// another is the first other node that answers within mostPatience, or nil. Of two that hold the address the clients may stay with the
// old one.
func (b *bench) another(r *round) *lab.Node {
	for b.ctx.Err() == nil && b.lab.Now().Sub(r.harmed) < mostPatience {
		for _, a := range b.probe.Answers() {
			if a.Start > r.harmed && !a.Failed() && a.Node != r.from.Name {
				return b.lab.Named(a.Node)
			}
		}
		b.wait(100 * time.Millisecond)
	}
	return nil
}
