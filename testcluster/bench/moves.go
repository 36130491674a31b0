//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
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

// moves measures every planned change, and prints a table.
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
	b.wait(settle + tickEvery)
	until := b.lab.Now()
	tally := pool.Close()
	summary, gap := b.probe.Summary(from, until), b.probe.LongestGap(from, until).Length()
	err := errors.Join(m.undo(b.lab, holder))
	b.lab.WaitReady()
	return summary, tally, gap, err
}
