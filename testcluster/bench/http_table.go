//go:build linux

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"tripod/testcluster/bench/peer"
)

// table is what is printed: for each row a line for each proxy.
type table struct{ lines [][]string }

var tableHead = []string{"row", "", "proxy", "req/s", "CPU µs/req", "p50 ms", "p99 ms", "ratio", "promised", ""}

// add adds the lines of a row.
func (t *table) add(r *row, peers []*peer.Peer, medians []sample) {
	best := bestOf(r.against, peers, medians)
	for i, p := range peers {
		m := medians[i]
		line := []string{"", "", p.Name, fmt.Sprintf("%.0f", m.rate), micros(m.cpu), millis(m.p50), millis(m.p99), "", "", ""}
		if i == 0 {
			line[0], line[1] = r.name, r.title
		}
		if best > 0 {
			line[7] = fmt.Sprintf("%.2f", float64(m.cpu)/float64(best))
		}
		if p.Name == "tripod" {
			line[8] = fmt.Sprintf("≤ %.2f", r.promised)
			line[9] = verdict(float64(m.cpu), float64(best), r.promised)
		}
		t.lines = append(t.lines, line)
	}
}

// bestOf is the least that one of these proxies took, zero if none of them is there.
func bestOf(names []string, peers []*peer.Peer, medians []sample) time.Duration {
	var best time.Duration
	for i, p := range peers {
		if slices.Contains(names, p.Name) && (best == 0 || medians[i].cpu < best) {
			best = medians[i].cpu
		}
	}
	return best
}

// verdict compares a figure with that of the peers, and their ratio with the promise.
func verdict(have, best, promised float64) string {
	switch {
	case best <= 0:
		return "no peer"
	case have <= best*promised:
		return "reached"
	}
	return "missed"
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond)) }
func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

func (t *table) write(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{tableHead}, t.lines...) {
		for _, cell := range line {
			fmt.Fprintf(w, "%s\t", cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
