package tls

import (
	"math/rand/v2"
	"net/netip"
	"strings"
)

// wantedSet is what shall have certificates. It is immutable.
type wantedSet struct {
	hosts    map[string]struct{}   // in normal form, addresses included
	byAddr   map[netip.Addr]string // addresses in the form of hosts
	order    []string              // all hosts, in an order of this node's own
	fallback string                // shown when nothing else fits; "" if nothing is wanted
	refused  []string              // what can not have a certificate
}

func newWantedSet(hosts []string, addresses []netip.Addr) *wantedSet {
	set := &wantedSet{
		hosts:  make(map[string]struct{}, len(hosts)+len(addresses)),
		byAddr: make(map[netip.Addr]string, len(addresses)),
	}
	add := func(host string) {
		if _, known := set.hosts[host]; !known {
			set.hosts[host] = struct{}{}
			set.order = append(set.order, host)
		}
	}
	for _, addr := range addresses {
		if !addr.IsValid() {
			continue
		}
		addr = addr.Unmap().WithZone("")
		set.byAddr[addr] = addr.String()
		add(addr.String())
	}
	for _, host := range hosts {
		normal := normalHost(host)
		if addr, err := netip.ParseAddr(normal); err == nil {
			addr = addr.Unmap().WithZone("")
			set.byAddr[addr] = addr.String()
			add(addr.String())
		} else if isDNSName(strings.TrimPrefix(normal, "*.")) {
			add(normal)
		} else {
			set.refused = append(set.refused, host)
		}
	}
	if len(set.order) > 0 {
		set.fallback = set.order[0]
	}
	// Nodes that make thousands of certificates at once should not all make the same one next.
	rand.Shuffle(len(set.order), func(i, j int) { set.order[i], set.order[j] = set.order[j], set.order[i] })
	return set
}

func (w *wantedSet) has(host string) bool {
	_, ok := w.hosts[host]
	return ok
}
