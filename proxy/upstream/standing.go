package upstream

import (
	"time"

	"tripod/proxy/upstream/health"
)

// State is what a server is to its service now.
type State string

const (
	StateUp       State = "up"
	StateChecking State = "checking" // new, and not checked yet
	StateDown     State = "down"     // by its checks
	StateEjected  State = "ejected"  // for a while, because requests failed
	StateDrain    State = "drain"    // finishes what it has
	StateMaint    State = "maint"    // out by an operator's word, or its agent's
)

// standing is what a server may get now.
type standing struct {
	state State
	// in: it may be chosen. kept: clients that a cookie keeps there may stay.
	in, kept bool
	weight   int // 0 to 256
	percent  int // of the weight, 1 to 100
}

// minPercent is the share of its weight at which a server starts to warm up.
const minPercent = 10

// standing says what a server may get. Service.mu is held.
func (s *Server) standing(now time.Time, slowStart time.Duration) standing {
	st := standing{state: StateUp, weight: s.target.weight(), percent: s.percent(now, slowStart)}
	if s.order.Weight != nil {
		st.weight = *s.order.Weight
	}
	alive := s.up && !s.ejected.active(now)
	switch {
	case s.order.State == Maint, s.verdict.State == health.Stopped:
		st.state = StateMaint
	case s.order.State == Drain:
		st.state = StateDrain
		st.kept = alive && (s.order.Until.IsZero() || now.Before(s.order.Until))
	case s.target.draining, s.verdict.State == health.Draining:
		st.state, st.kept = StateDrain, alive
	case !s.up && !s.checked:
		st.state = StateChecking
	case !s.up:
		st.state = StateDown
	case s.ejected.active(now):
		st.state = StateEjected
	default:
		st.kept = true
		st.in = st.weight > 0
	}
	return st
}

// percent is the share of its weight that a server has now. Service.mu is held.
func (s *Server) percent(now time.Time, slowStart time.Duration) int {
	percent := 100
	if slowStart > 0 && !s.warming.IsZero() {
		if spent := now.Sub(s.warming); spent < slowStart {
			percent = max(minPercent, int(100*spent/slowStart))
		}
	}
	if s.verdict.Percent > 0 {
		percent = max(1, percent*s.verdict.Percent/100)
	}
	return percent
}

// desperate tells whether a server that is not in may be tried when no other is left: its checks or its failures speak against it, and
// nobody's word.
func (st standing) desperate() bool {
	return st.weight > 0 && (st.state == StateDown || st.state == StateEjected)
}
