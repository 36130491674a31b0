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
	"time"

	"tripod/testcluster/bench/peer"
)

// versus are the flags of bench http.
type versus struct {
	rounds  int
	length  time.Duration
	rows    []string
	peers   []string
	profile string
	pauses  time.Duration
}

// rowNames are all rows, in the order of the table.
var rowNames = []string{"h1", "tls", "h2", "1m", "1mtls", "handshake", "idle", "routes", "p99", "gc"}

const httpUsage = `usage: bench http [flags]

Measures tripod beside HAProxy, nginx and Caddy, which are the Debian packages haproxy, nginx and caddy
(apt-get install haproxy nginx caddy; none of them has to run as a service): same servers, same client, same
certificate, rounds in turn. A proxy that is not installed is left out. It needs no root.

`

// proxies measures tripod and its peers, and prints the table.
func proxies(ctx context.Context, args []string, out io.Writer) error {
	v, err := parseVersus(args)
	if err != nil {
		return err
	}
	s, err := openStage(ctx, v, out)
	if err != nil {
		return err
	}
	defer s.close()
	return s.play(ctx)
}

func parseVersus(args []string) (*versus, error) {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), httpUsage)
		flags.PrintDefaults()
	}
	v := &versus{}
	flags.IntVar(&v.rounds, "rounds", 5, "rounds of each row, of which the medians are printed")
	flags.DurationVar(&v.length, "for", 5*time.Second, "how long each proxy is measured in a round")
	rows := flags.String("row", strings.Join(rowNames, ","), "measure only these rows")
	peers := flags.String("peers", "haproxy,nginx,caddy", "measure these beside tripod")
	flags.StringVar(&v.profile, "profile", "", "write tripod's processor profile of the row to this `file`; -row names one")
	flags.DurationVar(&v.pauses, "gc-for", time.Minute, "how long the row gc is")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	v.rows = list(*rows)
	v.peers = list(*peers)
	for _, r := range v.rows {
		if !slices.Contains(rowNames, r) {
			return nil, fmt.Errorf("no row %q: have %s", r, strings.Join(rowNames, ", "))
		}
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case v.rounds < 1 || v.length <= 0 || v.pauses <= 0:
		return nil, errors.New("-rounds, -for and -gc-for are at least 1")
	case v.profile != "" && len(v.rows) != 1:
		return nil, errors.New("-profile is of one row: name it with -row")
	}
	return v, nil
}

func list(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// startPeers starts all proxies that are wanted and installed, tripod first.
func (s *stage) startPeers(ctx context.Context) error {
	nodes, err := s.startTripod(ctx, peer.Tripod{})
	if err != nil {
		return err
	}
	s.peers = append(s.peers, nodes...)
	for _, name := range s.versus.peers {
		p, err := peer.Start(ctx, s.setup, name)
		var missing *peer.MissingError
		if errors.As(err, &missing) {
			fmt.Fprintln(s.out, missing)
			continue
		}
		if err != nil {
			return err
		}
		s.peers = append(s.peers, p)
	}
	return nil
}
