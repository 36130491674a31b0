package web

import (
	"time"

	"tripod/proxy/web/rule"
)

// limits are how long the phases of one exchange may take; 0 is no limit.
type limits struct {
	connect   time.Duration
	firstByte time.Duration // from the request's end to the answer's head
	content   time.Duration // between two parts of the request's content
	stall     time.Duration // between two parts of the answer's
	total     time.Duration
}

func (t Timeouts) limits() limits {
	return limits{connect: t.Connect, firstByte: t.Answer, content: t.Body, stall: t.Stall}
}

// limitsOf are the limits of a route whose rules change some; nil if they change none.
func limitsOf(r *rule.Rules, t Timeouts) *limits {
	const unset = -1
	set := r.Timeouts(rule.Timeouts{Connect: unset, FirstByte: unset, Idle: unset, Total: unset})
	if set == (rule.Timeouts{Connect: unset, FirstByte: unset, Idle: unset, Total: unset}) {
		return nil
	}
	l := t.limits()
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{
		{&l.connect, set.Connect}, {&l.firstByte, set.FirstByte}, {&l.content, set.Idle}, {&l.stall, set.Idle}, {&l.total, set.Total},
	} {
		if d.from != unset {
			*d.to = d.from
		}
	}
	return &l
}
