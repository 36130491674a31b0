//go:build linux

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"tripod/testcluster/bench/peer"
)

func TestMain(m *testing.M) {
	if r := os.Getenv(roleVariable); r != "" {
		os.Exit(role(r).play(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// All roles, and tripod alone, so that it needs nothing that may not be installed. What it measures means nothing.
func TestProxies(t *testing.T) {
	var out strings.Builder
	if err := proxies(t.Context(), []string{"-rounds", "1", "-for", "100ms", "-row", "h1,tls,h2,1m,handshake", "-peers", ""}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	if n := strings.Count(out.String(), noPeer); n != 5 {
		t.Errorf("%d rows, want 5:\n%s", n, out.String())
	}
}

func TestMiddleOfRounds(t *testing.T) {
	rounds := []sample{{rate: 3, cpu: 30}, {rate: 1, cpu: 50}, {rate: 2, cpu: 10}}
	if m := middle(rounds); m.rate != 2 || m.cpu != 30 {
		t.Errorf("of three: %+v", m)
	}
	if m := middle(rounds[:2]); m.rate != 2 || m.cpu != 40 {
		t.Errorf("of two: %+v", m)
	}
}

func TestTableCompares(t *testing.T) {
	r := row{name: "h1", title: "work", against: theBetter, promised: 1, figure: sample.work}
	have := func(name string, cpu time.Duration) (*peer.Peer, sample) {
		return &peer.Peer{Name: name}, sample{cpu: cpu * time.Microsecond}
	}
	compare := func(tripod time.Duration, others ...string) string {
		var tab table
		p, s := have("tripod", tripod)
		peers, medians := []*peer.Peer{p}, []sample{s}
		for i, name := range others {
			p, s := have(name, time.Duration(20-i))
			peers, medians = append(peers, p), append(medians, s)
		}
		tab.compare(&r, peers, medians)
		var text strings.Builder
		if err := tab.write(&text); err != nil {
			t.Fatal(err)
		}
		return text.String()
	}
	// nginx takes 19, and Caddy, which nobody is compared with, 18.
	for _, test := range []struct{ text, want string }{
		{compare(19, "haproxy", "nginx", "caddy"), "1.00 ×  ≤ 1.00 ×  reached"},
		{compare(38, "haproxy", "nginx", "caddy"), "2.00 ×  ≤ 1.00 ×  missed"},
		{compare(19, "caddy"), noPeer},
	} {
		if !strings.Contains(test.text, test.want) {
			t.Errorf("no %q in\n%s", test.want, test.text)
		}
	}
}

func TestVitals(t *testing.T) {
	read := func(text string) vitals {
		v := vitals{pauses: map[float64]float64{}}
		for line := range strings.Lines(text) {
			if err := v.add(strings.TrimSpace(line)); err != nil {
				t.Fatal(err)
			}
		}
		return v
	}
	before := read("bench_gc_pauses_total{seconds=\"0.0001\"} 5\nbench_gc_pauses_total{seconds=\"0.5\"} 1\netcd_server_leader_changes_seen_total 1\n")
	after := read("# HELP x y\nbench_gc_pauses_total{seconds=\"0.0001\"} 7\nbench_gc_pauses_total{seconds=\"0.002\"} 1\n" +
		"bench_gc_pauses_total{seconds=\"0.5\"} 1\netcd_server_leader_changes_seen_total 3\n")
	if p := after.since(before); p.longest != 2*time.Millisecond || p.count != 3 || p.tooLong != 1 {
		t.Errorf("%+v", p)
	}
	if n := after.leaderChanges - before.leaderChanges; n != 2 {
		t.Errorf("%v changes of leader", n)
	}
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-row", "h3"}, {"-rounds", "0"}, {"-profile", "x"}, {"-profile", "x", "-row", "gc"}, {"more"}} {
		if _, err := parseHTTP(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
	o, err := parseHTTP([]string{"-row", "h1,tls", "-peers", ""})
	if err != nil || !o.wants("tls") || o.wants("h2") || len(o.peers) > 0 {
		t.Errorf("%+v, %v", o, err)
	}
}
