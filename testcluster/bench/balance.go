//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"

	"tripod/proxy/upstream/balance"
)

const balanceUsage = `usage: bench balance [flags]

Measures what it costs to choose a server, in nanoseconds of processor time: choosing one, and counting off another request
that ends. 64 requests run at any time. Rounds of all rows are in turn, and medians are printed. No root is needed, and no peer
is measured.

  equal      all servers have the same weight
  mixed      weights from 1 to 256
  limited    equal weights, and each server has a limit, which is not reached

round_robin and random_two take the same number of steps with any number of servers, as hash does on average. With 10,000 servers
what they read is no longer in the first cache of the processor, which the figures show. least_requests and first take log n steps.

`

// balanceSizes are numbers of servers.
var balanceSizes = []int{3, 100, 10000}

const (
	// flatWithin is promised of the kinds that take the same number of steps with any number of servers.
	flatWithin = 1.2
	// picksAtOnce is how many requests run at any time.
	picksAtOnce = 64
	// pickUnit is how many picks are measured at once.
	pickUnit = 50000
)

// pickRow is a line of the table.
type pickRow struct {
	kind    balance.Kind
	servers string
	steps   string
	figures [][]float64 // nanoseconds, for each size
	picks   []*picks
}

// picking measures picks and prints the table.
func picking(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("balance", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), balanceUsage)
		flags.PrintDefaults()
	}
	rounds := flags.Int("rounds", 51, "rounds of each row, of which the medians are printed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *rounds < 1 {
		return fmt.Errorf("-rounds %d: at least one is needed", *rounds)
	}
	rows := pickRows()
	// Processor time is that of one thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range *rounds {
		for _, r := range rows {
			for i, p := range r.picks {
				if err := ctx.Err(); err != nil {
					return err
				}
				ns, err := p.measure()
				if err != nil {
					return fmt.Errorf("measure %s with %d servers: %w", r.kind, balanceSizes[i], err)
				}
				r.figures[i] = append(r.figures[i], ns)
			}
		}
	}
	return writePicks(out, rows)
}

func pickRows() []*pickRow {
	var rows []*pickRow
	for _, k := range []struct {
		kind  balance.Kind
		steps string
	}{
		{balance.RoundRobin, "1"}, {balance.RandomTwo, "1"}, {balance.Hash, "1 on average"},
		{balance.LeastRequests, "log n"}, {balance.First, "log n"},
	} {
		for _, servers := range []string{"equal", "mixed", "limited"} {
			r := &pickRow{kind: k.kind, servers: servers, steps: k.steps, figures: make([][]float64, len(balanceSizes))}
			for _, n := range balanceSizes {
				r.picks = append(r.picks, newPicks(k.kind, servers, n))
			}
			rows = append(rows, r)
		}
	}
	return rows
}

func writePicks(out io.Writer, rows []*pickRow) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "balance\tservers\tsteps")
	for _, n := range balanceSizes {
		fmt.Fprintf(w, "\tns with %d", n)
	}
	fmt.Fprintf(w, "\t%d to %d\tpromised\t\n", balanceSizes[len(balanceSizes)-1], balanceSizes[0])
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s", r.kind, r.servers, r.steps)
		var medians []float64
		for _, f := range r.figures {
			slices.Sort(f)
			medians = append(medians, f[len(f)/2])
			fmt.Fprintf(w, "\t%.1f", f[len(f)/2])
		}
		ratio := medians[len(medians)-1] / medians[0]
		fmt.Fprintf(w, "\t%s", times(ratio))
		if r.steps == "1" {
			fmt.Fprintf(w, "\t≤ %s\t%s", times(flatWithin), verdict(ratio, flatWithin))
		} else {
			fmt.Fprint(w, "\t\t")
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// picks is a service whose servers are chosen and left.
type picks struct {
	set     *balance.Set
	places  []*balance.Place
	turn    atomic.Uint64
	running atomic.Int64
	ask     balance.Ask
	at      [picksAtOnce]*balance.Place
}

func newPicks(kind balance.Kind, servers string, n int) *picks {
	p := &picks{}
	var all balance.Places
	members := make([]balance.Member, n)
	for i := range members {
		m := balance.Member{Place: all.New(), ID: strconv.Itoa(i), Weight: 1}
		switch servers {
		case "mixed":
			m.Weight = i*7%256 + 1
		case "limited":
			m.Limit = 100
		}
		members[i], p.places = m, append(p.places, m.Place)
	}
	p.set = balance.New(balance.Options{Kind: kind, Running: &p.running}, members, &p.turn)
	return p
}

// measure does some picks, in nanoseconds for each.
func (p *picks) measure() (float64, error) {
	// What the rows before have pushed out of the cache is fetched again before it counts.
	if err := p.run(pickUnit / 5); err != nil {
		return 0, err
	}
	began, err := threadTime()
	if err != nil {
		return 0, err
	}
	if err := p.run(pickUnit); err != nil {
		return 0, err
	}
	ended, err := threadTime()
	return float64(ended-began) / pickUnit, err
}

func (p *picks) run(n int) error {
	for i := range n {
		now := &p.at[i%picksAtOnce]
		if *now != nil {
			(*now).Leave()
			p.running.Add(-1)
			p.set.Left(*now)
		}
		p.running.Add(1)
		p.ask.Hash += 0x9e3779b97f4a7c15 // another key each time
		at, _ := p.set.Pick(&p.ask)
		if at < 0 {
			return fmt.Errorf("no server was chosen")
		}
		*now = p.places[at]
	}
	return nil
}

func threadTime() (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}
