//go:build linux

package outage

import (
	"strings"
	"testing"
	"time"
)

// A POST that failed is excused by the bad server's having seen it, or by having been under way when that broke.
func TestTally(t *testing.T) {
	begun := time.Now()
	at := func(ms int) time.Time { return begun.Add(time.Duration(ms) * time.Millisecond) }
	seen := func(numbers ...string) *backend {
		b := newBackend("", nil)
		for _, n := range numbers {
			b.seen[n] = append(b.seen[n], at(600))
		}
		return b
	}
	good, bad := seen("ok", "twice", "elsewhere", "g"), seen("twice", "had", "again", "again", "late")
	l := newLoad("", false)
	add := func(number, method string, asked, took int, failed string) {
		l.all = append(l.all, &request{number: number, method: method, asked: at(asked), took: time.Duration(took) * time.Millisecond, failed: failed})
	}
	add("ok", "POST", 10, 5, "")
	add("twice", "POST", 10, 5, "")
	add("again", "POST", 10, 5, "")
	add("had", "POST", 100, 5, "502")
	add("elsewhere", "POST", 100, 5, "502")
	add("under way", "POST", -5, 10, "502")
	add("before", "POST", -20, 10, "502")
	add("g", "GET", 10, 70, "")
	add("h", "GET", 20, 30, "503")
	add("late", "GET", 550, 1, "")
	trial := &trial{load: l, servers: []*backend{good, bad}, bad: bad, begun: begun, broken: at(3), mended: at(500), out: time.Second}
	y := trial.tally()
	if y.gets != 3 || y.getsFailed != 1 || y.posts != 7 || y.postsFailed != 4 || y.repeated != 2 || y.unseen != 2 {
		t.Errorf("%+v", y)
	}
	if y.longest != 70*time.Millisecond || y.out != time.Second || y.back != 100*time.Millisecond || y.failures["POST 502"] != 4 || y.failures["GET 503"] != 1 {
		t.Errorf("%+v", y)
	}
}

func TestTotal(t *testing.T) {
	rounds := []*tally{
		{gets: 10, getsFailed: 1, posts: 5, out: never, longest: 3, back: never, failures: map[string]int{"GET 502": 1}},
		{gets: 20, getsFailed: 2, posts: 6, postsFailed: 1, repeated: 1, unseen: 1, out: 7, longest: 1, back: 4, failures: map[string]int{"GET 502": 2}},
		{gets: 30, posts: 7, out: 5, longest: 2, back: 6},
	}
	y := total(rounds)
	if y.gets != 60 || y.getsFailed != 3 || y.posts != 18 || y.postsFailed != 1 || y.repeated != 1 || y.unseen != 1 || y.failures["GET 502"] != 3 {
		t.Errorf("%+v", y)
	}
	if y.out != 7 || y.longest != 2 || y.back != 6 {
		t.Errorf("%+v", y)
	}
}

func TestVerdicts(t *testing.T) {
	kinds, plain, partial, status := allKinds(), &fault{}, &fault{partial: true}, &fault{status: true}
	tripod, listing, haproxy := kinds[0], kinds[1], kinds[2]
	failed := tally{getsFailed: 2}
	for _, tt := range []struct {
		kind  *kind
		fault *fault
		tally tally
		want  string
	}{
		{tripod, plain, tally{postsFailed: 3}, "reached"},
		{tripod, plain, failed, "missed: 2 GETs failed"},
		{tripod, partial, failed, "reached; GETs are not promised"},
		{tripod, status, failed, "reached; no status is listed"},
		{listing, status, failed, "missed: 2 GETs failed"},
		{tripod, partial, tally{repeated: 1}, "missed: 1 POSTs repeated"},
		{tripod, status, tally{unseen: 1}, "missed: 1 POSTs failed that the bad server never had"},
		{haproxy, plain, tally{getsFailed: 2, repeated: 2}, ""},
	} {
		if got := tt.tally.verdict(tt.kind, tt.fault); got != tt.want {
			t.Errorf("%+v of %s: %q, want %q", tt.tally, tt.kind.name, got, tt.want)
		}
	}
}

func TestBoard(t *testing.T) {
	kinds, f := allKinds(), &fault{name: "broken"}
	b := &board{lines: []*boardLine{
		{f, kinds[0], []*tally{{gets: 9, getsFailed: 1, posts: 8, out: never, longest: 2e6, back: 1e6, failures: map[string]int{"GET 502: no": 1}}}},
		{f, kinds[2], []*tally{{gets: 7, posts: 6, postsFailed: 2, out: 3e6, back: never}}},
	}}
	var out strings.Builder
	b.write(&out)
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{
		"fault proxy GETs failed POSTs failed repeated out longest GET back promised",
		"broken tripod 1 of 9 0 of 8 0 stays in 2 ms - missed: 1 GETs failed",
		"HAProxy 0 of 7 2 of 6 0 3 ms 0 ms never",
		"broken, tripod:",
		"1 × GET 502: no",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", out.String())
	}
}
