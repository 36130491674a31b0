//go:build linux

package outage

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// board is all that was measured.
type board struct{ lines []*boardLine }

// boardLine is a proxy with a fault, in all rounds.
type boardLine struct {
	fault  *fault
	kind   *kind
	rounds []*tally
}

// add adds a trial that is over.
func (b *board) add(t *trial) {
	i := slices.IndexFunc(b.lines, func(l *boardLine) bool { return l.fault == t.fault && l.kind == t.kind })
	if i < 0 {
		i = len(b.lines)
		b.lines = append(b.lines, &boardLine{fault: t.fault, kind: t.kind})
	}
	b.lines[i].rounds = append(b.lines[i].rounds, t.tally())
}

// write prints the table, and what the clients of tripod saw where a promise was not kept.
func (b *board) write(out io.Writer) {
	if len(b.lines) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "fault\tproxy\tGETs failed\tPOSTs failed\trepeated\tout\tlongest GET\tback\tpromised")
	var last *fault
	var why strings.Builder
	for _, l := range b.lines {
		name := ""
		if l.fault != last {
			name, last = l.fault.name, l.fault
		}
		y := total(l.rounds)
		verdict := y.verdict(l.kind, l.fault)
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%d of %d\t%d\t%s\t%s\t%s\t%s\n", name, l.kind.name, y.getsFailed, y.gets, y.postsFailed, y.posts, y.repeated,
			span(y.out, "stays in"), span(y.longest, ""), y.returned(), verdict)
		if strings.HasPrefix(verdict, "missed") {
			fmt.Fprintf(&why, "%s, %s:\n", l.fault.name, l.kind.name)
			for _, what := range slices.Sorted(maps.Keys(y.failures)) {
				fmt.Fprintf(&why, "  %d × %s\n", y.failures[what], what)
			}
		}
	}
	w.Flush()
	fmt.Fprint(out, why.String())
}

// returned says when the server was back, if it was out.
func (y *tally) returned() string {
	if y.out == never {
		return "-"
	}
	return span(y.back, "never")
}

// span is a time, or what stands for never.
func span(d time.Duration, otherwise string) string {
	if d == never {
		return otherwise
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}
