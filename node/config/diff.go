package config

import (
	"fmt"
	"sort"
	"strings"
)

const (
	// contextLines around each change of a diff.
	contextLines = 3
	// maxEdits bounds the search for the shortest way from one text to the other. Parts that differ by more are shown as
	// replaced, which is right, only longer than need be.
	maxEdits = 400
)

// Diff is how two texts differ, in the unified format that patch reads, with three lines of context; empty if they do not.
//
// Lines that both texts have just once are anchors (Bram Cohen's patience diff); between two anchors the shortest edit is
// searched (Myers, "An O(ND) Difference Algorithm", 1986) up to a bound of its length. So the cost is near linear in
// the size of the texts, whatever they are.
func Diff(oldName, newName string, old, new []byte) string {
	a, b := lines(old), lines(new)
	d := differ{a: make([]int, len(a)), b: make([]int, len(b)), keepA: make([]bool, len(a)), keepB: make([]bool, len(b))}
	ids := make(map[string]int, len(a))
	number := func(text []string, out []int) {
		for i, line := range text {
			id, ok := ids[line]
			if !ok {
				id = len(ids)
				ids[line] = id
			}
			out[i] = id
		}
	}
	number(a, d.a)
	number(b, d.b)
	d.counts = make([]count, len(ids))
	d.compare(0, len(a), 0, len(b), true)
	return d.format(oldName, newName, a, b)
}

// lines splits a text after each newline. The last line may have none, and differs from one that has.
func lines(text []byte) []string {
	l := strings.SplitAfter(string(text), "\n")
	if l[len(l)-1] == "" {
		l = l[:len(l)-1]
	}
	return l
}

// differ compares two texts of numbered lines. Lines with keep set are in both, in the same order.
type differ struct {
	a, b         []int
	keepA, keepB []bool
	counts       []count
}

// count is how often a line is in each of the two parts compared, and where.
type count struct{ inA, inB, atA, atB int }

// compare marks what a[a0:a1] and b[b0:b1] have in common.
func (d *differ) compare(a0, a1, b0, b1 int, anchors bool) {
	for a0 < a1 && b0 < b1 && d.a[a0] == d.b[b0] {
		d.keepA[a0], d.keepB[b0] = true, true
		a0, b0 = a0+1, b0+1
	}
	for a0 < a1 && b0 < b1 && d.a[a1-1] == d.b[b1-1] {
		a1, b1 = a1-1, b1-1
		d.keepA[a1], d.keepB[b1] = true, true
	}
	if a0 == a1 || b0 == b1 {
		return
	}
	if anchors {
		for _, m := range d.unique(a0, a1, b0, b1) {
			d.compare(a0, m.atA, b0, m.atB, false)
			d.keepA[m.atA], d.keepB[m.atB] = true, true
			a0, b0 = m.atA+1, m.atB+1
		}
		d.compare(a0, a1, b0, b1, false)
		return
	}
	d.shortest(a0, a1, b0, b1)
}

// unique are the lines that both parts have just once, as many as stand in the same order: the longest increasing
// subsequence, by patience sorting.
func (d *differ) unique(a0, a1, b0, b1 int) []count {
	for i := a0; i < a1; i++ {
		c := &d.counts[d.a[i]]
		c.inA, c.atA = c.inA+1, i
	}
	for i := b0; i < b1; i++ {
		c := &d.counts[d.b[i]]
		c.inB, c.atB = c.inB+1, i
	}
	type card struct {
		count
		below int
	}
	var cards []card
	var tops []int // the card on top of each pile
	for i := a0; i < a1; i++ {
		c := d.counts[d.a[i]]
		if c.inA != 1 || c.inB != 1 {
			continue
		}
		pile := sort.Search(len(tops), func(p int) bool { return cards[tops[p]].atB >= c.atB })
		below := -1
		if pile > 0 {
			below = tops[pile-1]
		}
		cards = append(cards, card{c, below})
		if pile == len(tops) {
			tops = append(tops, 0)
		}
		tops[pile] = len(cards) - 1
	}
	if len(tops) == 0 {
		return nil
	}
	chain := make([]count, len(tops))
	for i, at := len(tops)-1, tops[len(tops)-1]; i >= 0; i-- {
		chain[i] = cards[at].count
		at = cards[at].below
	}
	return chain
}

// shortest marks the lines that the shortest edit keeps, if it has at most maxEdits steps.
func (d *differ) shortest(a0, a1, b0, b1 int) {
	n, m := a1-a0, b1-b0
	limit := min(n+m, maxEdits)
	// furthest[k] is the furthest x on diagonal k = x-y; trace keeps what it was before each step.
	offset := limit + 1
	furthest := make([]int, 2*limit+3)
	var trace [][]int
	for step := 0; step <= limit; step++ {
		trace = append(trace, append([]int(nil), furthest[offset-step-1:offset+step+2]...))
		for k := -step; k <= step; k += 2 {
			x := furthest[offset+k-1] + 1
			if k == -step || k != step && furthest[offset+k-1] < furthest[offset+k+1] {
				x = furthest[offset+k+1]
			}
			y := x - k
			for x < n && y < m && y >= 0 && d.a[a0+x] == d.b[b0+y] {
				x, y = x+1, y+1
			}
			furthest[offset+k] = x
			if x >= n && y >= m {
				d.walkBack(trace, a0, b0, n, m)
				return
			}
		}
	}
}

// walkBack follows the trace from the end and marks the lines on its diagonals.
func (d *differ) walkBack(trace [][]int, a0, b0, x, y int) {
	for step := len(trace) - 1; step >= 0; step-- {
		before := trace[step]
		at := func(k int) int { return before[k+step+1] }
		k := x - y
		from := k - 1
		if k == -step || k != step && at(k-1) < at(k+1) {
			from = k + 1
		}
		fromX := at(from)
		fromY := fromX - from
		if step == 0 {
			fromX, fromY = 0, 0
		}
		for x > fromX && y > fromY {
			x, y = x-1, y-1
			d.keepA[a0+x], d.keepB[b0+y] = true, true
		}
		x, y = fromX, fromY
	}
}

// format writes the hunks.
func (d *differ) format(oldName, newName string, a, b []string) string {
	var out strings.Builder
	i, j := 0, 0
	for {
		// To the next change.
		for i < len(a) && j < len(b) && d.keepA[i] && d.keepB[j] {
			i, j = i+1, j+1
		}
		if i == len(a) && j == len(b) {
			return out.String()
		}
		if out.Len() == 0 {
			fmt.Fprintf(&out, "--- %s\n+++ %s\n", oldName, newName)
		}
		i, j = d.hunk(&out, a, b, i, j)
	}
}

// hunk writes the hunk whose first change is at i and j, and returns where it ends.
func (d *differ) hunk(out *strings.Builder, a, b []string, i, j int) (int, int) {
	lead := min(contextLines, i, j)
	startA, startB := i-lead, j-lead
	var body strings.Builder
	write := func(sign byte, line string) {
		body.WriteByte(sign)
		body.WriteString(line)
		if !strings.HasSuffix(line, "\n") {
			body.WriteString("\n\\ No newline at end of file\n")
		}
	}
	for _, line := range a[startA:i] {
		write(' ', line)
	}
	for {
		for i < len(a) && !d.keepA[i] {
			write('-', a[i])
			i++
		}
		for j < len(b) && !d.keepB[j] {
			write('+', b[j])
			j++
		}
		same := 0
		for i+same < len(a) && d.keepA[i+same] && j+same < len(b) && d.keepB[j+same] {
			same++
		}
		// Two changes with no more than the context of both between them share a hunk.
		last := i+same == len(a) && j+same == len(b)
		shown := same
		if last || same > 2*contextLines {
			shown, last = min(same, contextLines), true
		}
		for _, line := range a[i : i+shown] {
			write(' ', line)
		}
		i, j = i+shown, j+shown
		if last {
			break
		}
	}
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(startA, i), span(startB, j))
	out.WriteString(body.String())
	return i, j
}

// span is the lines from start to end in a hunk's head; an empty span names the line before it.
func span(start, end int) string {
	switch end - start {
	case 0:
		return fmt.Sprintf("%d,0", start)
	case 1:
		return fmt.Sprint(start + 1)
	}
	return fmt.Sprintf("%d,%d", start+1, end-start)
}
