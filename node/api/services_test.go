package api

import (
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// What nodes see of a server is one short text: what is worst first, and where it is not so on all.
func TestServerTexts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	in := func(states ...upstream.State) ServerStatus {
		s := ServerStatus{State: map[string]upstream.State{}, Why: map[string]string{}, Next: map[string]time.Time{}, Percent: map[string]int{}}
		for i, state := range states {
			s.State[string(rune('a'+i))] = state
		}
		return s
	}
	ejected := in(upstream.StateEjected, upstream.StateUp, upstream.StateEjected)
	ejected.Next["a"], ejected.Next["c"] = now.Add(5*time.Second), now.Add(9*time.Second)
	ejected.Why["a"], ejected.Why["c"] = "ejected: 5 failures\nin a row", "ejected: 5 failures\nin a row"
	warming := in(upstream.StateUp, upstream.StateUp)
	warming.Percent["a"], warming.Percent["b"] = 40, 35
	ordered := in(upstream.StateDrain, upstream.StateDrain)
	ordered.Why["a"], ordered.Why["b"] = "ordered by ann@desk", "ordered by ann@desk"
	for _, c := range []struct {
		server           ServerStatus
		state, why, next string
	}{
		{in(), "unknown", "", "-"},
		{in(upstream.StateUp, upstream.StateUp), "up", "", "-"},
		{warming, "up 35%", "", "-"},
		{ordered, "drain", "ordered by ann@desk", "-"},
		{in(upstream.StateMaint), "maint", "", "-"},
		{in(upstream.StateDown, upstream.StateDown), "DOWN", "", "-"},
		{in(upstream.StateChecking, upstream.StateDown, upstream.StateUp), "DOWN on b; checking on a", "", "-"},
		{ejected, "EJECTED for 9s on a, c", "a, c: ejected: 5 failures in a row", "in 5s"},
	} {
		if state, why, next := c.server.StateText(now), c.server.WhyText(), c.server.NextText(now); state != c.state || why != c.why || next != c.next {
			t.Errorf("%+v: %q, %q, %q; want %q, %q, %q", c.server.State, state, why, next, c.state, c.why, c.next)
		}
	}
}
