//go:build linux

package lab

import (
	"strings"
	"testing"
)

// seen makes sightings of "a@1 b@2-5": station a at 1, station b at some time from 2 to 5.
func seen(t *testing.T, text string) []Sighting {
	t.Helper()
	var list []Sighting
	for _, word := range strings.Fields(text) {
		station, times, _ := strings.Cut(word, "@")
		var moments []Moment
		for _, m := range strings.Split(times, "-") {
			var at Moment
			for _, digit := range m {
				at = at*10 + Moment(digit-'0')
			}
			moments = append(moments, at)
		}
		list = append(list, Sighting{From: moments[0], Until: moments[len(moments)-1], Station: station})
	}
	return list
}

func TestCheckReigns(t *testing.T) {
	for _, c := range []struct{ seen, holders, want string }{
		{"a@1 a@2 b@3 b@4", "a b", ""},
		{"a@1 b@2 a@3", "a b a", ""},
		{"a@1 b@2 a@3", "a b", "two answer: a at"},
		{"a@1 b@2 a@3 b@4", "a b a", "two answer: b at"},
		{"b@1", "a b c", ""},
		{"c@1 b@2", "a b c", "two answer: b at"},
		{"x@1", "a b c", "was never the holder"},
		{"a@1", "", "was never the holder"},
		{"", "a", "nothing is proved"},
		// At the same time, or within one another: in any order.
		{"b@1 a@1", "a b", ""},
		{"a@1-9 b@2 b@3", "a b", ""},
		{"b@2 a@1-2", "a b", ""},
		{"b@2 a@3-9", "a b", "two answer: a at"},
		// A long request counts from its end only.
		{"b@1-5 a@3 b@6", "a b", ""},
		{"b@1-5 a@6", "a b", "two answer: a at"},
		{"b@1-5 a@4 b@4 a@6-9", "a b", "two answer: a at"},
		// The earliest reign that fits leaves room for the later ones.
		{"a@1 b@2 a@3 b@4 a@5", "a b a b a", ""},
		{"b@1 a@2 b@3", "a b a b", ""},
		{"b@1 a@2 b@3 a@4", "a b a b", "two answer: a at"},
		// In any order of reporting.
		{"b@4 a@1 b@3 a@2", "a b", ""},
	} {
		err := checkReigns(seen(t, c.seen), strings.Fields(c.holders))
		if c.want == "" && err != nil {
			t.Errorf("%q by %q: %v", c.seen, c.holders, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%q by %q: %v; want %q", c.seen, c.holders, err, c.want)
		}
	}
}

// The offending stretch is shown, with the answer that made it one.
func TestOffenceIsShown(t *testing.T) {
	list := seen(t, "a@1 b@2")
	for i := range 20 {
		list = append(list, Sighting{From: Moment(10 + i), Until: Moment(10 + i), Station: "b", What: "ARP reply"})
	}
	list = append(list, Sighting{From: 40, Until: 40, Station: "a", What: "ARP reply"})
	err := checkReigns(list, []string{"a", "b"})
	if err == nil {
		t.Fatal("no offence")
	}
	for _, want := range []string{"> 0.0000 a: ARP reply", "after b, its successor", "in order, a, b"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in:\n%v", want, err)
		}
	}
	if lines := strings.Count(err.Error(), "\n"); lines > 2*around+4 {
		t.Errorf("%d lines:\n%v", lines, err)
	}
}
