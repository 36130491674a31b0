package election

import (
	"net/netip"
	"time"
)

// memory is since when things have been as they are, as far as this Placer has seen it in its present term. It is
// what Place needs for addresses that move back, and forgets all at the end of the term: a new leader counts
// from its own beginning.
type memory struct {
	fit    map[spot]time.Duration
	tenure map[netip.Addr]tenure
}

// spot is a node as the place of an address.
type spot struct {
	node string
	vip  netip.Addr
}

// tenure is since when a record has been as it is.
type tenure struct {
	revision int64
	since    time.Duration
}

// look takes in a view. What is missing from it for one look begins anew.
func (m *memory) look(v View, now time.Duration) {
	fit, tenures := map[spot]time.Duration{}, map[netip.Addr]tenure{}
	for _, vip := range v.VIPs {
		if !vip.Preempt {
			continue
		}
		for _, node := range v.Nodes {
			_, unfit := node.Unfit[vip.Address]
			if !node.able() || unfit || v.Suspected != nil && v.Suspected(node.Name) {
				continue
			}
			at := spot{node.Name, vip.Address}
			since, before := m.fit[at]
			if !before {
				since = now
			}
			fit[at] = since
		}
		t, before := m.tenure[vip.Address]
		if revision := v.Records[vip.Address].Revision; !before || t.revision != revision {
			t = tenure{revision, now}
		}
		tenures[vip.Address] = t
	}
	m.fit, m.tenure = fit, tenures
}

// steady makes View.Steady: the node has been fit, and the record unchanged, for the whole delay. The latter
// leaves an operator's move alone for as long, and keeps an address from moving more than once in that time.
func (m *memory) steady(now time.Duration) func(string, Wish) bool {
	return func(name string, vip Wish) bool {
		since, ok := m.fit[spot{name, vip.Address}]
		t, known := m.tenure[vip.Address]
		return ok && known && now-since >= vip.PreemptDelay && now-t.since >= vip.PreemptDelay
	}
}
