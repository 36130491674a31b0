//go:build linux

// Package outage puts tripod and HAProxy before servers that fail, side by side: what the clients see of it, when the bad server is
// out, and when it gets requests again.
//
// In each round every proxy is started anew, with three servers of its own, which are processes, and a steady load. One of the
// servers then fails in one way, all proxies' at the same moment, and is well again after a while. What a server has seen it says
// itself; whether it is out the proxies say: a server that is dead sees nothing of those who try.
package outage

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"tripod/testcluster/bench/peer"
)

// Stage is where the proxies and servers run.
type Stage struct {
	// Address makes a loopback address from its last number, 1 to 199; nobody else uses these.
	Address func(last int) string
	// Tripod makes a command line of this binary's one of tripod's, and Server one that calls Serve with the one argument.
	Tripod, Server func(args ...string) (*exec.Cmd, error)
}

const usage = `usage: bench faults [flags]

Lets one of three servers behind tripod and HAProxy (Debian package haproxy; left out if it is not installed) fail, under a steady
load, and counts what the clients see. Both proxies have equal settings: an HTTP check every 500 ms, which may take 500 ms, two of which
make a server down or up; 1 s to connect, and 1 s for the beginning of an answer. Servers take %s for an answer. Clients send
%d GETs and %d POSTs a second and repeat nothing by themselves. No root is needed.

Proxies:
%s
Faults:
%s
Columns:
  GETs failed, POSTs failed  of all rounds, of how many that were sent from the first second before the fault to the end of the round
  repeated      POSTs that more than one server saw, or one server twice
  out           from the fault until the proxy says that the server gets nothing new
  longest GET   from sending to the end of the answer
  back          from the server's recovery until it sees a request again
  promised      of tripod: whether no GET failed (but for cut100k, where clients have a part of the answer, and for 503 where no status
                is listed to be tried elsewhere), no POST was repeated, and no POST failed but those that the bad server had seen or
                that were under way when it broke

Times are medians over the rounds. A round does not count in which the machine stood still for more than %s.

`

// options are the flags.
type options struct {
	rounds int
	length time.Duration
	faults []*fault
}

// Run measures, as the arguments say, and prints the table. What tripod promises and does not keep is marked, and is no error.
func Run(ctx context.Context, args []string, stage Stage, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	kinds := allKinds()
	if err := peer.Installed("haproxy"); errors.As(err, new(*peer.MissingError)) {
		fmt.Fprintln(out, err)
		kinds = slices.DeleteFunc(kinds, func(k *kind) bool { return !k.promises })
	} else if err != nil {
		return err
	}
	b := &board{}
	defer b.write(out) // also what was measured before something failed
	for _, f := range o.faults {
		for i := range o.rounds {
			fmt.Fprintf(os.Stderr, "%s, round %d\n", f.name, i+1)
			trials, err := undisturbed(out, func() ([]*trial, time.Duration, error) { return round(ctx, stage, f, kinds, o.length) })
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", f.name, i+1, err)
			}
			for _, t := range trials {
				b.add(t)
			}
		}
	}
	return nil
}

// undisturbed plays a round until one is not disturbed by the machine, or has been often enough. What it says goes to out.
func undisturbed(out io.Writer, play func() ([]*trial, time.Duration, error)) ([]*trial, error) {
	for n := 1; ; n++ {
		trials, late, err := play()
		if err != nil || late <= mostLate {
			return trials, err
		}
		if n == mostDisturbed {
			fmt.Fprintf(out, "%s: the machine stood still for %s: the round counts, since %d before it were no better; try again when it is quiet\n",
				trials[0].fault.name, late.Round(time.Millisecond), n-1)
			return trials, nil
		}
		fmt.Fprintf(out, "%s: the machine stood still for %s: the round does not count\n", trials[0].fault.name, late.Round(time.Millisecond))
	}
}

func parse(args []string) (*options, error) {
	flags := flag.NewFlagSet("faults", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), usage, handling, getRate, postRate, describeKinds(), describeFaults(), mostLate)
		flags.PrintDefaults()
	}
	o := &options{}
	flags.IntVar(&o.rounds, "rounds", 3, "rounds of each fault")
	flags.DurationVar(&o.length, "for", 3*time.Second, "how long a fault lasts")
	names := flags.String("faults", strings.Join(faultNames(), ","), "measure only these `faults`")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.rounds < 1:
		return nil, fmt.Errorf("-rounds %d: at least one is needed", o.rounds)
	case o.length <= 0:
		return nil, fmt.Errorf("-for %s: it has to be more than nothing", o.length)
	}
	all := allFaults()
	for _, name := range strings.FieldsFunc(*names, func(r rune) bool { return r == ',' || r == ' ' }) {
		i := slices.IndexFunc(all, func(f *fault) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-faults: no fault %q: have %s", name, strings.Join(faultNames(), ", "))
		}
		o.faults = append(o.faults, all[i])
	}
	if len(o.faults) == 0 {
		return nil, fmt.Errorf("-faults names none: have %s", strings.Join(faultNames(), ", "))
	}
	return o, nil
}
