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
type table struct{ lines []line }

// line is one of them. A cell that is empty has no meaning for the row.
type line struct {
	row, title, proxy   string
	rate, cpu, p50, p99 string
	// figure is what the promise is about: for most rows the ratio to the best of the peers in question.
	figure, promised, verdict string
}

var tableHead = line{"row", "", "proxy", "req/s", "CPU µs/req", "p50 ms", "p99 ms", "figure", "promised", ""}

// Verdicts.
const (
	reached = "reached"
	missed  = "missed"
	noPeer  = "no peer to compare with"
)

// compare adds the lines of a row.
func (t *table) compare(r *row, peers []*peer.Peer, medians []sample) {
	best := bestOf(r, peers, medians)
	for i, p := range peers {
		l := of(p.Name, medians[i])
		if i == 0 {
			l.row, l.title = r.name, r.title
		}
		ratio := 0.0
		if best > 0 {
			ratio = float64(r.figure(medians[i])) / float64(best)
			l.figure = times(ratio)
		}
		if p.Name == "tripod" {
			l.promised, l.verdict = "≤ "+times(r.promised), verdict(ratio, r.promised)
			if best == 0 {
				l.verdict = noPeer
			}
		}
		t.lines = append(t.lines, l)
	}
}

// of is the line of a proxy with its figures.
func of(proxy string, s sample) line {
	return line{proxy: proxy, rate: fmt.Sprintf("%.0f", s.rate), cpu: micros(s.cpu), p50: millis(s.p50), p99: millis(s.p99)}
}

// bestOf is the least figure of the peers that a row is compared with, zero if none of them is there.
func bestOf(r *row, peers []*peer.Peer, medians []sample) time.Duration {
	var best time.Duration
	for i, p := range peers {
		if f := r.figure(medians[i]); slices.Contains(r.against, p.Name) && (best == 0 || f < best) {
			best = f
		}
	}
	return best
}

func verdict(figure, promised float64) string {
	if figure <= promised {
		return reached
	}
	return missed
}

func micros(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Microsecond)) }
func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
func times(ratio float64) string    { return fmt.Sprintf("%.2f ×", ratio) }

// write prints the table, if there is anything in it.
func (t *table) write(out io.Writer) error {
	if len(t.lines) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, l := range append([]line{tableHead}, t.lines...) {
		fmt.Fprintln(w, l.row+"\t"+l.title+"\t"+l.proxy+"\t"+l.rate+"\t"+l.cpu+"\t"+l.p50+"\t"+l.p99+"\t"+l.figure+"\t"+l.promised+"\t"+l.verdict)
	}
	return w.Flush()
}
