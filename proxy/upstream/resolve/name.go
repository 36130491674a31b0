package resolve

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

const (
	minTTL = time.Second
	maxTTL = time.Hour
	// maxNone bounds how long it is believed that there is none.
	maxNone = time.Minute
	// firstRetry and maxRetry are the pauses after failures.
	firstRetry = time.Second
	maxRetry   = 30 * time.Second
	// emptyTimes and emptyTime are how often in a row, and over which time, it has to be said that there is none before the last targets go.
	emptyTimes = 3
	emptyTime  = 10 * time.Second
	// maxJitter bounds what is added to a TTL.
	maxJitter = 5 * time.Second
)

// name is a question with what is known of it, for all who ask it. Its fields are guarded by the resolver's mutex.
type name struct {
	question Question
	watches  map[*Watch]bool
	due      time.Time
	index    int                // in the queue; -1 while it is asked
	cut      context.CancelFunc // ends the asking; nil while it is not asked
	again    bool               // its surroundings changed while it was asked
	answer   Answer
	answered bool
	failures int       // in a row
	none     int       // how often in a row it was said that there is none
	since    time.Time // when that was said first
}

// outcome is what asking once came to.
type outcome struct {
	targets []Target
	// fault is what was wrong, with part of it if there are targets; empty if nothing was.
	fault string
	// failed is set if name servers failed. If they did not, and there are no targets, there are none.
	failed bool
	ttl    time.Duration
}

// none tells whether it was said with authority that there are no targets.
func (o outcome) none() bool { return len(o.targets) == 0 && !o.failed }

// learn takes an outcome. It tells whether that is something new for those who watch, and whether the targets changed.
func (n *name) learn(o outcome, now time.Time) (news, moved bool) {
	former := n.answer
	targets := former.Targets
	kept := 0
	var wait time.Duration
	switch {
	case len(o.targets) > 0:
		targets, n.none = o.targets, 0
		wait = later(min(max(o.ttl, minTTL), maxTTL))
		if !o.failed {
			n.failures = 0
		} else {
			wait = min(wait, n.retry())
		}
	case o.none():
		n.failures = 0
		if n.none++; n.none == 1 {
			n.since = now
		}
		if n.none >= emptyTimes && now.Sub(n.since) >= emptyTime {
			targets = nil
		}
		kept = len(targets)
		wait = later(min(max(o.ttl, minTTL), maxNone))
	default:
		n.none, kept = 0, len(targets)
		wait = n.retry()
	}
	n.due = now.Add(wait)
	n.answer = Answer{Targets: targets, Next: n.due}
	if o.fault != "" {
		n.answer.Err = &fault{name: n.question.Name, what: o.fault, kept: kept, next: n.due}
	}
	moved = !slices.Equal(targets, former.Targets)
	news = moved || !n.answered || n.answer.Err != nil || former.Err != nil
	n.answered = true
	return news, moved
}

// retry is the pause after a failure, which grows with each.
func (n *name) retry() time.Duration {
	wait := min(firstRetry<<min(n.failures, 10), maxRetry)
	n.failures++
	return later(wait)
}

// later adds a little, so that the questions of many nodes, and of many names, do not fall together.
func later(d time.Duration) time.Duration {
	return d + rand.N(min(d/10, maxJitter)+1)
}

// fault is why a name was not answered as it should be.
type fault struct {
	name string
	what string
	kept int // targets that stay
	next time.Time
}

// Error tells what happened, what that means, and how long it is now until the next try.
func (f *fault) Error() string {
	text := f.name + ": " + f.what
	switch {
	case f.kept == 1:
		text += "; the last known address stays"
	case f.kept > 1:
		text += fmt.Sprintf("; the last %d known addresses stay", f.kept)
	}
	wait := time.Until(f.next)
	if wait <= 0 {
		return text + ", next try now"
	}
	return text + fmt.Sprintf(", next try in %s", (wait+time.Second-1).Truncate(time.Second))
}
