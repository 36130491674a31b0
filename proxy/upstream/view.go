package upstream

import (
	"slices"
	"time"

	"tripod/proxy/upstream/balance"
)

// view is the immutable choice that a service has between two changes.
type view struct {
	set     *balance.Set
	servers []*Server // the set's members, in its order
	members []balance.Member
	primary bool // one that is no backup is in
	kept    map[string]int
	sticky  *Sticky
	hash    HashConfig
	byIP    bool
	limits  limits
	passive passive
	retries Retries
	pending bool // a server that could be chosen was never checked yet, or a name never answered, and no other is up
	gone    bool // the service has left the document
}

// newView builds the view of the service's servers. s.mu is held.
func (s *Service) newView(now time.Time) *view {
	c := s.config
	v := &view{servers: s.servers, sticky: s.sticky, limits: c.Limits.limits(), passive: c.Passive.passive(), retries: c.Retries.retries()}
	kind := balance.Kind(c.Balance)
	switch c.Balance {
	case "":
		kind = balance.RoundRobin
	case IPHash:
		kind, v.byIP = balance.Hash, true
	case Hash:
		v.hash = *c.Hash
	}
	ins, unchecked := 0, s.unanswered()
	members := make([]balance.Member, len(s.servers))
	for i, server := range s.servers {
		st := server.standing(now, c.SlowStart)
		if st.state != server.stand.state {
			server.entered = now
		}
		server.stand = st
		if st.in {
			ins++
		}
		unchecked = unchecked || st.state == StateChecking && st.weight > 0
		t := &server.target
		members[i] = balance.Member{Place: server.place, ID: server.address, Weight: st.weight, Percent: st.percent, Limit: int64(t.MaxConnections),
			Out: !st.in, Backup: t.Backup, Near: t.Zone != "" && t.Zone == s.owner.opts.Zone}
	}
	if ins == 0 && !unchecked {
		ins = s.despair(members)
	}
	v.members = members
	for i := range members {
		v.primary = v.primary || !members[i].Out && !members[i].Backup && members[i].Weight > 0
		s.servers[i].out.Store(members[i].Out && s.servers[i].stand.state == StateDown)
	}
	v.pending = ins == 0 && unchecked
	o := balance.Options{Kind: kind, PreferNear: c.PreferZone, Running: &s.running}
	if former := s.view.Load(); former != nil {
		o.Former = former.set
	}
	v.set = balance.New(o, members, &s.turn)
	if v.sticky != nil {
		v.kept = make(map[string]int, len(s.servers))
		for i, server := range s.servers {
			if server.stand.kept {
				v.kept[server.tag] = i
			}
		}
	}
	return v
}

// despair lets servers in though something speaks against them, where no other is: those that are ejected but up, and with all_down: panic those that are
// down as well. It returns how many. s.mu is held.
func (s *Service) despair(members []balance.Member) int {
	n := 0
	for i, server := range s.servers {
		if st := server.stand; st.desperate() && (st.state == StateEjected || s.config.AllDown == Panic) {
			members[i].Out = false
			n++
		}
	}
	return n
}

// choose takes a server for a request. The error is ErrNoneUp, ErrFull, ErrGone, or errUnchecked where the first checks are to be waited for.
func (v *view) choose(ask *Ask) (*Server, error) {
	if v.sticky != nil && ask.Cookie != "" {
		if i, ok := v.kept[ask.Cookie]; ok && !ask.hasTried(v.servers[i]) && v.set.Take(i) {
			return v.servers[i], nil
		}
	}
	i, full := v.set.Pick(&ask.Ask)
	switch {
	case i >= 0:
		return v.servers[i], nil
	case full:
		return nil, ErrFull
	case v.gone:
		return nil, ErrGone
	case v.pending && len(ask.Tried) == 0:
		return nil, errUnchecked
	}
	return nil, ErrNoneUp
}

// HasAnother tells whether there is a server that the request was not given to yet, not counting the one that is asked now; nil for none.
func (s *Service) HasAnother(ask *Ask, now *Server) bool {
	v := s.view.Load()
	for i := range v.members {
		m := &v.members[i]
		if !m.Out && m.Weight > 0 && !(m.Backup && v.primary) && v.servers[i] != now && !slices.Contains(ask.Tried, m.Place) {
			return true
		}
	}
	return false
}
