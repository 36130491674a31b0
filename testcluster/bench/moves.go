//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"tripod/testcluster/lab"
)

const (
	mostGap = 50 * time.Millisecond // promised

	settle = time.Second // after a move: what would have been reset has been by then
	// A node has 28,000 ports for connections to one server. More clients than that send requests instead, and share them.
	mostTCP = 20_000
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

// moved is what became of one planned move.
type moved struct {
	requests lab.Summary
	tally    lab.Tally
	gap      time.Duration
	note     string // where the gap went
}

// moves measures every planned change, and prints a table.
func (b *bench) moves(out io.Writer) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "planned\trounds\trequests\tfailed\tlongest gap: median\tmax\tconnections\treset\n")
	var slow []string
	for _, m := range moves {
		if !b.wanted(m.name) {
			continue
		}
		var sent, failed, reset int
		var gaps []time.Duration
		for i := 0; i < b.rounds && b.ctx.Err() == nil; i++ {
			r, err := b.move(m)
			if err != nil {
				b.t.Errorf("%s: %v", m.name, err)
				break
			}
			gaps = append(gaps, r.gap)
			sent, failed = sent+r.requests.Sent, failed+r.requests.Failed
			reset += r.tally.Reset + r.tally.Closed + r.tally.Silent
			if r.gap > mostGap {
				slow = append(slow, fmt.Sprintf("  %s, round %d: %s", m.name, i+1, r.note))
			}
		}
		if len(gaps) == 0 {
			continue
		}
		slices.Sort(gaps)
		longest := gaps[len(gaps)-1]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%s\t%d\t%d\n", m.name, len(gaps), sent, failed, ms(gaps[len(gaps)/2]), ms(longest), len(gaps)*b.connections, reset)
		if failed+reset > 0 || longest > mostGap {
			b.t.Errorf("planned %s: %d requests failed, %d connections reset, longest gap %s; promised 0, 0 and %s", m.name, failed, reset, ms(longest), ms(mostGap))
		}
	}
	table.Flush()
	for _, line := range slow {
		fmt.Fprintln(out, line)
	}
}

// move makes one planned move under open connections.
func (b *bench) move(m move) (moved, error) {
	holder := b.probe.WaitHolder()
	b.rest()
	protocol, every := lab.TCP, time.Second
	if b.connections > mostTCP {
		protocol, every = lab.HTTP, time.Duration(b.connections)*100*time.Microsecond
	}
	pool := b.lab.Pool(b.lab.VIP(0), b.connections, every, protocol)
	from := b.lab.Now()
	if err := m.do(b.lab, b.lab.VIP(0), holder); err != nil {
		return moved{}, err
	}
	next := b.probe.WaitHolder(lab.Not(holder))
	b.wait(settle + every)
	until := b.lab.Now()
	r := moved{tally: pool.Close(), requests: b.probe.Summary(from, until)}
	gap := b.probe.LongestGap(from, until)
	r.gap = gap.Length()
	since := func(n *lab.Node, message string) string { return ms(b.lastLogged(n, message).Sub(gap.From)) }
	r.note = fmt.Sprintf("%s -> %s, gap of %s: let go %s after its beginning, was told after %s, taken after %s", holder.Name, next.Name, ms(r.gap),
		since(holder, "vip dropped"), since(next, "vip released by its former holder"), since(next, "vip taken"))
	err := m.undo(b.lab, holder)
	b.lab.WaitReady()
	return r, err
}

// lastLogged is when a node last logged a message; 0 if it never did.
func (b *bench) lastLogged(n *lab.Node, message string) lab.Moment {
	log, _ := n.Log()
	at := strings.LastIndex(log, "msg=\""+message+"\"")
	if at < 0 {
		return 0
	}
	line := log[strings.LastIndex(log[:at], "\n")+1 : at]
	_, stamp, _ := strings.Cut(line, "time=")
	stamp, _, _ = strings.Cut(stamp, " ")
	when, err := time.Parse(time.RFC3339, stamp)
	if err != nil {
		return 0
	}
	return b.lab.At(when)
}
