//go:build linux

package lab

import (
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"time"
)

// lines collects what a test that is expected to fail says.
type lines struct {
	T
	failed []string
}

func (l *lines) Helper() {}
func (l *lines) Fatalf(format string, args ...any) {
	l.failed = append(l.failed, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Figures of a timeline that is known: answers end at 1, 2, 3 by a, then at 7, 9 by b.
func TestFigures(t *testing.T) {
	complaints := &lines{T: t}
	p := &Probe{lab: &Lab{t: complaints, clock: func() time.Duration { return 100 }}}
	p.answers = []Answer{
		{Start: 1, End: 1, Node: "a"}, {Start: 1, End: 2, Node: "a"}, {Start: 2, End: 3, Node: "a"},
		{Start: 3, End: 5, Err: "timeout"}, {Start: 4, End: 6, Err: "timeout"},
		{Start: 6, End: 7, Node: "b"}, {Start: 5, End: 9, Node: "b"},
	}
	if gap := p.LongestGap(0, 100); gap != (Gap{3, 7}) || gap.Length() != 4 {
		t.Errorf("longest gap %v", gap)
	}
	if gap := p.LongestGap(0, 3); gap.Length() != 1 {
		t.Errorf("longest gap until 3: %v", gap)
	}
	if gap := p.LongestGap(7, 100); gap != (Gap{7, 9}) {
		t.Errorf("longest gap from 7: %v", gap)
	}
	if took := p.Failover(3); took != 4 {
		t.Errorf("failover after 3 took %d", took)
	}
	if took := p.Failover(2); took != 5 {
		t.Errorf("failover after 2 took %d", took)
	}
	s := p.Summary(0, 100)
	if s.Sent != 7 || s.Failed != 2 || !maps.Equal(s.By, map[string]int{"a": 3, "b": 2}) || s.Median != 1 || s.Max != 4 {
		t.Errorf("%s", s)
	}
	if s := p.Summary(2, 4); s.Sent != 3 || s.Failed != 2 {
		t.Errorf("from 2 to 4: %s", s)
	}
	if failed := p.Failures(4, 100); len(failed) != 1 || failed[0].Start != 4 {
		t.Errorf("failures from 4: %v", failed)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.Failover(0)
	}()
	<-ended
	if len(complaints.failed) != 1 || !strings.Contains(complaints.failed[0], "no request was answered before") {
		t.Errorf("a failover without a former holder: %q", complaints.failed)
	}
}

// What proves nothing does not pass.
func TestNothingProved(t *testing.T) {
	p := &Probe{answers: []Answer{{Start: 1, End: 2, Node: "a"}}}
	if err := p.check([]string{"a"}); err == nil || !strings.Contains(err.Error(), "nothing is proved") {
		t.Errorf("without a claim on the wire: %v", err)
	}
	p.sightings = []Sighting{{From: 1, Until: 1, Station: "a", What: "ARP reply"}}
	if err := p.check([]string{"a"}); err != nil {
		t.Error(err)
	}
	p.askFailed = errPoweredOff
	if err := p.check([]string{"a"}); err == nil {
		t.Error("a probe that could not ask found nothing wrong")
	}
}
