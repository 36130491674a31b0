//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// httpOptions are the flags of bench http.
type httpOptions struct {
	rounds  int
	length  time.Duration
	rows    []string
	peers   []string
	profile string // absolute; empty is none
	pauses  time.Duration
}

// httpRows are the names of all rows, in the order of the table.
var httpRows = []string{"h1", "tls", "h2", "1m", "1mtls", "handshake", "p99", "idle", "routes", "gc"}

// profiled are those of them in which there is one tripod, which can be profiled.
var profiled = httpRows[:7]

const httpUsage = `usage: bench http [flags]

Measures tripod beside HAProxy, nginx and Caddy, which are the Debian packages haproxy, nginx and caddy
(apt-get install haproxy nginx caddy; none of them has to run as a service). They have the same servers, clients and
certificate, and their rounds are in turn. One that is not installed is left out. No root is needed. All rows
take some twenty minutes.

  h1         HTTP/1.1 with keep-alive, 100-byte answers, 64 connections, each request as soon as the last is answered
  tls        the same over TLS 1.3
  h2         HTTP/2 over TLS, 20 connections with 20 streams each
  1m, 1mtls  answers of 1 MB, plain and over TLS 1.3
  handshake  a full TLS 1.3 handshake for each request
  p99        latency, from when a request was to be sent, at half of the rate that HAProxy reaches in h1
  idle       memory per idle connection, of 10,000 or as many as the limit of open files allows
  routes     tripod with 10 routes, and with 10,000 routes to 1,000 services; a connection asks for one host
  gc         tripod on one node and on three, as much as they can bear: pauses of the garbage collector, changes of
             etcd's leader

`

// proxies measures tripod and its peers, and prints the table.
func proxies(ctx context.Context, args []string, out io.Writer) error {
	options, err := parseHTTP(args)
	if err != nil {
		return err
	}
	s, err := openStage(ctx, options, out)
	if err != nil {
		return err
	}
	defer s.close()
	err = s.play(ctx)
	// What was measured before something failed has taken its time, and is worth a look.
	return errors.Join(s.table.write(out), err)
}

func parseHTTP(args []string) (*httpOptions, error) {
	flags := flag.NewFlagSet("http", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), httpUsage)
		flags.PrintDefaults()
	}
	o := &httpOptions{}
	flags.IntVar(&o.rounds, "rounds", 5, "rounds of each row, of which the medians are printed")
	flags.DurationVar(&o.length, "for", 5*time.Second, "how long each proxy is measured in a round")
	rows := flags.String("row", strings.Join(httpRows, ","), "measure only these `rows`")
	peers := flags.String("peers", "haproxy,nginx,caddy", "measure these `proxies` beside tripod")
	flags.StringVar(&o.profile, "profile", "", "write a processor profile of tripod to this `file`; -row names one row")
	flags.DurationVar(&o.pauses, "gc-for", time.Minute, "how long the row gc loads one node, and then three")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	o.rows, o.peers = commas(*rows), commas(*peers)
	for _, r := range o.rows {
		if !slices.Contains(httpRows, r) {
			return nil, fmt.Errorf("no row %q: have %s", r, strings.Join(httpRows, ", "))
		}
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("unknown argument %q", flags.Arg(0))
	case o.rounds < 1 || o.length <= 0 || o.pauses <= 0:
		return nil, errors.New("-rounds, -for and -gc-for have to be more than nothing")
	case o.profile == "":
		return o, nil
	case len(o.rows) != 1 || !slices.Contains(profiled, o.rows[0]):
		return nil, fmt.Errorf("-profile is of one row: name it with -row, and one of %s", strings.Join(profiled, ", "))
	}
	var err error
	o.profile, err = filepath.Abs(o.profile)
	return o, err
}

func commas(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// wants says whether a row is to be measured.
func (o *httpOptions) wants(row string) bool { return slices.Contains(o.rows, row) }
