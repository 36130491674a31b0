//go:build linux

package outage

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"
)

// never is longer than everything.
const never = time.Duration(math.MaxInt64)

// tally is what became of the requests of a trial.
type tally struct {
	gets, getsFailed, posts, postsFailed int
	// repeated are POSTs that servers saw more than once.
	repeated int
	// unseen are POSTs that failed though the bad server never had them in hand.
	unseen             int
	out, longest, back time.Duration
	// failures are what clients saw, and how often.
	failures map[string]int
}

// tally counts. The load has to be over.
func (t *trial) tally() *tally {
	y := &tally{out: t.out, back: t.back(), failures: map[string]int{}}
	for _, r := range t.load.over() {
		if r.failed != "" {
			y.failures[r.method+" "+r.failed]++
		}
		if r.method == http.MethodGet {
			y.gets++
			y.longest = max(y.longest, r.took)
			if r.failed != "" {
				y.getsFailed++
			}
			continue
		}
		y.posts++
		seen := 0
		for _, b := range t.servers {
			seen += len(b.times(r.number))
		}
		if seen > 1 {
			y.repeated++
		}
		if r.failed == "" {
			continue
		}
		y.postsFailed++
		// What was under way when it broke may have been on its way to the process, or in its kernel.
		underWay := !r.asked.After(t.broken) && !r.asked.Add(r.took).Before(t.begun)
		if len(t.bad.times(r.number)) == 0 && !underWay {
			y.unseen++
		}
	}
	return y
}

// add adds another one's counts.
func (y *tally) add(o *tally) {
	y.gets, y.getsFailed = y.gets+o.gets, y.getsFailed+o.getsFailed
	y.posts, y.postsFailed = y.posts+o.posts, y.postsFailed+o.postsFailed
	y.repeated, y.unseen = y.repeated+o.repeated, y.unseen+o.unseen
	for what, n := range o.failures {
		y.failures[what] += n
	}
}

// total is the sum of counts of several rounds, and the medians of their times.
func total(rounds []*tally) *tally {
	y := &tally{failures: map[string]int{}}
	for _, r := range rounds {
		y.add(r)
	}
	y.out = median(rounds, func(y *tally) time.Duration { return y.out })
	y.longest = median(rounds, func(y *tally) time.Duration { return y.longest })
	y.back = median(rounds, func(y *tally) time.Duration { return y.back })
	return y
}

// median is the lower one of two in the middle.
func median(rounds []*tally, of func(*tally) time.Duration) time.Duration {
	var all []time.Duration
	for _, r := range rounds {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// verdict says whether what tripod promises was kept.
func (y *tally) verdict(k *kind, f *fault) string {
	switch {
	case !k.promises:
		return ""
	case y.repeated > 0:
		return fmt.Sprintf("missed: %d POSTs repeated", y.repeated)
	case y.unseen > 0:
		return fmt.Sprintf("missed: %d POSTs failed that the bad server never had", y.unseen)
	case y.getsFailed == 0:
		return "reached"
	case f.partial:
		return "reached; GETs are not promised"
	case f.status && !k.statuses:
		return "reached; no status is listed"
	}
	return fmt.Sprintf("missed: %d GETs failed", y.getsFailed)
}
