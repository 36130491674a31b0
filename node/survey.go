package node

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"tripod/election"
	"tripod/node/api"
)

// placement says what keeps VIPs from being where they should be, and which commands of on_change fail.
func (s *survey) placement() {
	for _, name := range s.names() {
		local := s.locals[name]
		for _, v := range s.status.VIPs {
			address := v.Address.Addr()
			if why, unfit := local.Unfit[address]; unfit {
				s.problem("node %s cannot hold vip %s: %s", name, address, firstLine(why))
			}
			if why := local.Hooks[address]; why != "" {
				s.problem("on_change of vip %s on %s: %s", address, name, firstLine(why))
			}
		}
	}
	s.drained()
	s.zones()
}

// drain is the operator's word about a node; nil if there is none.
func (s *survey) drain(name string) *api.Drain {
	if drain, ok := s.drains().nodes[name]; ok {
		return &drain
	}
	return nil
}

func (s *survey) drains() *drains {
	if v := s.node.openVIPs.Load(); v != nil {
		if d := v.drains.Load(); d != nil {
			return d
		}
	}
	return &drains{}
}

// drained reminds of nodes that an operator drained, and of keys that do not do what their author meant.
func (s *survey) drained() {
	d := s.drains()
	for _, name := range slices.Sorted(maps.Keys(d.nodes)) {
		at := slices.IndexFunc(s.status.Nodes, func(n api.NodeStatus) bool { return n.Name == name })
		if at < 0 {
			s.warn("%s%s drains a node that is not in --nodes", AdminNodesPrefix, firstLine(shorten(name)))
			continue
		}
		what := "holds no vip"
		if held := s.status.Nodes[at].Holds; len(held) > 0 {
			what = fmt.Sprintf("holds %s still", join(held))
		}
		by := ""
		if drain := d.nodes[name]; drain.By != "" {
			by = " (" + firstLine(shorten(drain.By)) + ")"
		}
		s.warn("node %s is draining%s and %s: tripod node undrain %s ends that", name, by, what, name)
	}
	for _, name := range slices.Sorted(maps.Keys(d.rubbish)) {
		s.problem("%s%s is ignored: %s", AdminNodesPrefix, firstLine(shorten(name)), firstLine(d.rubbish[name]))
	}
}

// zones warns of preferred zones without a node. A node that does not answer may be of any zone.
func (s *survey) zones() {
	if len(s.failures) > 0 {
		return
	}
	zones := map[string]bool{}
	for _, local := range s.locals {
		zones[local.Zone] = true
	}
	_, document, _, _ := s.node.docs.snapshot()
	if document == nil {
		return
	}
	for i, p := range document.Addresses() {
		if zone := document.VIPs[i].Zone; zone != "" && !zones[zone] {
			delete(zones, "")
			there := "no node has --zone"
			if len(zones) > 0 {
				there = "there is " + strings.Join(slices.Sorted(maps.Keys(zones)), ", ")
			}
			s.warn("vip %s prefers zone %s, where no node is: %s", p.Addr(), zone, there)
		}
	}
}

func (s *survey) warn(format string, args ...any) {
	s.status.Warnings = append(s.status.Warnings, fmt.Sprintf(format, args...))
}

// failover is the last change of holder. Of the nodes that know it the holder also knows how long it took.
func (s *survey) failover(address netip.Addr, record election.Record) *api.Failover {
	var best *api.Failover
	for _, name := range s.names() {
		f, ok := s.locals[name].Failovers[address]
		if !ok || record.Holder != "" && f.To != record.Holder {
			continue
		}
		if best == nil || f.Revision > best.Revision || f.Revision == best.Revision && f.Took > 0 {
			best = &f
		}
	}
	return best
}

// join lists addresses for a person.
func join(addresses []netip.Addr) string {
	var words []string
	for _, a := range addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}
