//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"time"

	"tripod/testcluster/lab"
)

// failover measures every case and prints the tables.
func failover(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("failover", flag.ContinueOnError)
	rounds := flags.Int("rounds", 20, "rounds of each case")
	only := flags.String("case", "", "measure only this case: killed, cut, off, stopped, move, drain or stop")
	connections := flags.Int("connections", 1000, "connections that are open during planned moves")
	peers := flags.Bool("peers", true, "measure keepalived too, where it is installed")
	if err := flags.Parse(args); err != nil {
		return err
	}
	err := lab.Script(out, func(t lab.T) {
		l := lab.Start(t, 3)
		l.Apply(l.Site(l.VIP(0)))
		b := &bench{t: t, lab: l, probe: l.Probe(l.VIP(0)), rounds: *rounds, connections: *connections, only: *only, ctx: ctx}
		s := &tripod{bench: b}
		b.faults(out, s)
		s.unasked()
		b.moves(out)
		b.probe.NeverTwoAnswering()
		if !t.Failed() {
			fmt.Fprintln(out, "two stations answering: never; failovers without a fault: none")
		}
	})
	program, missing := exec.LookPath("keepalived")
	if err != nil || !*peers || ctx.Err() != nil {
		return err
	}
	if missing != nil {
		fmt.Fprintln(out, "keepalived is not installed, and so not beside it")
		return nil
	}
	for _, advert := range []string{"1", "0.1"} {
		if err := lab.Script(out, func(t lab.T) {
			l := lab.Start(t, 3, lab.Stopped())
			s := &keepalived{lab: l, program: program, advert: advert}
			s.start(t)
			b := &bench{t: t, lab: l, probe: l.Probe(l.VIP(0)), rounds: *rounds, only: *only, ctx: ctx}
			b.faults(out, s)
		}); err != nil {
			return err
		}
	}
	return nil
}

// bench is one run in one lab.
type bench struct {
	t      lab.T
	lab    *lab.Lab
	probe  *lab.Probe
	rounds int
	// connections are open during planned moves.
	connections int
	only        string
	ctx         context.Context
}

func (b *bench) wanted(name string) bool {
	return b.ctx.Err() == nil && (b.only == "" || b.only == name)
}

// rest lets things settle, so that rounds are alike: raft leadership leaves the holder within a second or two, for one.
func (b *bench) rest() { b.wait(3 * time.Second) }

func (b *bench) wait(d time.Duration) {
	select {
	case <-b.ctx.Done():
	case <-time.After(d):
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%d ms", d.Milliseconds()) }
