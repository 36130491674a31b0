//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tripod/testcluster/lab"
)

const (
	openConnections = 1000
	tickEvery       = time.Second
	settle          = time.Second // after a move: what would have been reset has been by then
)

// fault is something that happens to the holder without its doing.
type fault struct {
	name  string
	limit time.Duration // promised 95th percentile; 0 is none
	harm  func(*lab.Node) lab.Moment
	mend  func(*lab.Node)
}

var faults = []fault{
	{"killed", 600 * time.Millisecond, (*lab.Node).Kill, func(n *lab.Node) { n.Restart() }},
	{"cut", time.Second, func(n *lab.Node) lab.Moment { return n.CutCable() }, func(n *lab.Node) { n.MendCable() }},
	{"off", time.Second, (*lab.Node).PowerOff, func(n *lab.Node) { n.PowerOn(); n.Restart() }},
	{"stopped", time.Second, (*lab.Node).Pause, func(n *lab.Node) { n.Resume() }},
}

// move is a planned change of the holder.
type move struct {
	name string
	do   func(l *lab.Lab, vip string, holder *lab.Node) error
	undo func(l *lab.Lab, holder *lab.Node) error
}

var moves = []move{
	{"move", func(l *lab.Lab, vip string, _ *lab.Node) error { return run(l.Node(0), "vip", "move", vip) },
		func(*lab.Lab, *lab.Node) error { return nil }},
	{"drain", func(l *lab.Lab, _ string, holder *lab.Node) error {
		return run(l.Node(0), "node", "drain", holder.Name)
	},
		func(l *lab.Lab, holder *lab.Node) error { return run(l.Node(0), "node", "undrain", holder.Name) }},
	{"stop", func(_ *lab.Lab, _ string, holder *lab.Node) error { go holder.Stop(); return nil },
		func(_ *lab.Lab, holder *lab.Node) error { holder.Restart(); return nil }},
}

func run(n *lab.Node, args ...string) error {
	if out, err := n.Tripod(args...); err != nil {
		return fmt.Errorf("tripod %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// failover measures every case and prints the tables.
func failover(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	rounds := flags.Int("rounds", 20, "rounds of each case")
	only := flags.String("case", "", "measure only this case")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return lab.Script(out, func(t lab.T) {
		l := lab.Start(t, 3)
		l.Apply(l.Site(l.VIP(0)))
		p := l.Probe(l.VIP(0))
		b := &bench{t: t, lab: l, probe: p, rounds: *rounds, only: *only, ctx: ctx}
		b.faults(out)
		b.moves(out)
		p.NeverTwoAnswering()
		if !t.Failed() {
			fmt.Fprintln(out, "two stations answering: never")
		}
	})
}

// bench is one run in one lab.
type bench struct {
	t      lab.T
	lab    *lab.Lab
	probe  *lab.Probe
	rounds int
	only   string
	ctx    context.Context
}

func (b *bench) wanted(name string) bool {
	return b.ctx.Err() == nil && (b.only == "" || b.only == name)
}

func (b *bench) faults(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "holder\trounds\tmedian\tp95\tmax\tpromised")
	for _, f := range faults {
		if !b.wanted(f.name) {
			continue
		}
		var took []time.Duration
		for range b.rounds {
			if b.ctx.Err() != nil {
				break
			}
			holder := b.probe.WaitHolder()
			b.rest()
			harmed := f.harm(holder)
			b.probe.WaitHolder(lab.Not(holder))
			took = append(took, b.probe.Failover(harmed))
			f.mend(holder)
			b.lab.WaitReady()
		}
		if len(took) == 0 {
			continue
		}
		slices.Sort(took)
		p95 := took[(len(took)*95+99)/100-1]
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\n", f.name, len(took), ms(took[len(took)/2]), ms(p95), ms(took[len(took)-1]), ms(f.limit))
		if p95 > f.limit {
			b.t.Errorf("holder %s: p95 %s, promised %s", f.name, ms(p95), ms(f.limit))
		}
	}
	table.Flush()
}

// rest lets raft leadership leave the holder, as it does within a second or two, so that rounds are alike.
func (b *bench) rest() {
	select {
	case <-b.ctx.Done():
	case <-time.After(3 * time.Second):
	}
}

func (b *bench) moves(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "planned\trounds\trequests\tfailed\tlongest gap\tconnections\treset\n")
	for _, m := range moves {
		if !b.wanted(m.name) {
			continue
		}
		var sent, failed, open, reset, done int
		var gap time.Duration
		for range b.rounds {
			if b.ctx.Err() != nil {
				break
			}
			s, tally, g, err := b.move(m)
			if err != nil {
				b.t.Errorf("%s: %v", m.name, err)
				break
			}
			done++
			sent, failed, open = sent+s.Sent, failed+s.Failed, open+openConnections
			reset += tally.Reset + tally.Closed + tally.Silent
			gap = max(gap, g)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%d\t%d\n", m.name, done, sent, failed, ms(gap), open, reset)
		if failed+reset > 0 || gap > 50*time.Millisecond {
			b.t.Errorf("planned %s: %d requests failed, %d connections reset, longest gap %s; promised 0, 0 and 50 ms", m.name, failed, reset, ms(gap))
		}
	}
	table.Flush()
}

// move makes one planned move under open connections.
func (b *bench) move(m move) (lab.Summary, lab.Tally, time.Duration, error) {
	holder := b.probe.WaitHolder()
	b.rest()
	pool := b.lab.Pool(b.lab.VIP(0), openConnections, tickEvery, lab.TCP)
	from := b.lab.Now()
	if err := m.do(b.lab, b.lab.VIP(0), holder); err != nil {
		return lab.Summary{}, lab.Tally{}, 0, err
	}
	b.probe.WaitHolder(lab.Not(holder))
	select {
	case <-b.ctx.Done():
	case <-time.After(settle + tickEvery):
	}
	until := b.lab.Now()
	tally := pool.Close()
	summary, gap := b.probe.Summary(from, until), b.probe.LongestGap(from, until).Length()
	err := errors.Join(m.undo(b.lab, holder))
	b.lab.WaitReady()
	return summary, tally, gap, err
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
