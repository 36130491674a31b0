package election

import (
	"cmp"
	"net/netip"
	"time"
)

// Candidate is a node as the Placer sees it.
type Candidate struct {
	Name string
	// Ready: the document is applied and its listeners are bound.
	Ready bool
	// Draining: an operator wants it to hold nothing.
	Draining bool
	// Zone is the node's failure domain; empty is none.
	Zone string
	// Unfit are the addresses that this node cannot hold now, and why: the interface is missing, has no carrier ….
	Unfit map[netip.Addr]string
}

func (c Candidate) able() bool { return c.Ready && !c.Draining }

// Wish is what the document says about the place of one address.
type Wish struct {
	Address netip.Addr
	// Zone is preferred; empty: all nodes are alike.
	Zone string
	// Preempt: the address moves to a clearly better place also while its holder is well.
	Preempt bool
	// PreemptDelay is how long that place must have been there, and the record must have been as it is; 0 is no time.
	PreemptDelay time.Duration
}

// View is all that a placement is decided by.
type View struct {
	VIPs    []Wish
	Records map[netip.Addr]Record
	Nodes   []Candidate
	// Suspected tells whether a node seems to have failed; nil: none does.
	Suspected func(name string) bool
	// Steady tells whether a node has been able to hold the address for so long that the address may move there
	// from a holder that is well; nil: no node has.
	Steady func(name string, vip Wish) bool
}

// Place says which node should hold each of the addresses.
//
// A node can hold an address if it is known, ready, not draining, not suspected and not unfit for it. An address
// stays where it is while its holder can hold it. Others go to nodes of the preferred zone if one can hold
// them, of those to the one with the fewest addresses, of several such to the first by name. When
// nobody can hold an address it stays with the holder that its record names, whatever that one's state: a
// draining holder is better than none. It is missing from the result if the record names nobody.
//
// An address with Preempt leaves a holder that is well for a clearly better place: for a steady node of the preferred
// zone if the holder is not of that zone; without a preferred zone, for a steady node that has at least two addresses less.
//
// The result depends on nothing but the view, and not on the order of the nodes.
func Place(v View) map[netip.Addr]string {
	p := newPlacing(v)
	p.keep()
	p.fill()
	if v.Steady != nil {
		p.preempt()
	}
	return p.placed
}

// placing is one placement under way.
type placing struct {
	View
	able   map[string]Candidate
	load   map[string]int // addresses of each node, so far
	placed map[netip.Addr]string
}

func newPlacing(v View) *placing {
	p := &placing{
		View: v, able: make(map[string]Candidate, len(v.Nodes)),
		load: make(map[string]int, len(v.Nodes)), placed: make(map[netip.Addr]string, len(v.VIPs)),
	}
	for _, node := range v.Nodes {
		if node.able() && (v.Suspected == nil || !v.Suspected(node.Name)) {
			p.able[node.Name] = node
		}
	}
	return p
}

// fit tells whether a node can hold an address.
func (p *placing) fit(name string, vip netip.Addr) bool {
	node, ok := p.able[name]
	_, unfit := node.Unfit[vip]
	return ok && !unfit
}

func (p *placing) put(vip netip.Addr, name string) {
	if before, ok := p.placed[vip]; ok {
		p.load[before]--
	}
	p.placed[vip] = name
	p.load[name]++
}

// keep leaves addresses with holders that are well.
func (p *placing) keep() {
	for _, vip := range p.VIPs {
		holder := p.Records[vip.Address].Holder
		if _, twice := p.placed[vip.Address]; !twice && p.fit(holder, vip.Address) {
			p.put(vip.Address, holder)
		}
	}
}

// fill finds a place for the others.
func (p *placing) fill() {
	var stranded []netip.Addr
	for _, vip := range p.VIPs {
		if _, ok := p.placed[vip.Address]; ok {
			continue
		}
		if name, ok := p.best(vip, func(Candidate) bool { return true }); ok {
			p.put(vip.Address, name)
		} else {
			stranded = append(stranded, vip.Address)
		}
	}
	for _, vip := range stranded { // they weigh on nobody: whoever has them cannot hold them
		if holder := p.Records[vip].Holder; holder != "" {
			p.placed[vip] = holder
		}
	}
}

// preempt moves addresses to clearly better places: for the zone first, which may make the spread uneven, and
// then for the spread.
func (p *placing) preempt() {
	for _, zoned := range []bool{true, false} {
		for _, vip := range p.VIPs {
			holder := p.placed[vip.Address]
			if !vip.Preempt || (vip.Zone != "") != zoned || holder != p.Records[vip.Address].Holder || !p.fit(holder, vip.Address) {
				continue
			}
			if name, ok := p.best(vip, func(c Candidate) bool { return p.better(c, holder, vip) }); ok {
				p.put(vip.Address, name)
			}
		}
	}
}

// better tells whether a node is a clearly better place than the holder, and has been for long enough.
func (p *placing) better(c Candidate, holder string, vip Wish) bool {
	if vip.Zone != "" {
		return c.Zone == vip.Zone && p.able[holder].Zone != vip.Zone && p.Steady(c.Name, vip)
	}
	return p.load[holder]-p.load[c.Name] >= 2 && p.Steady(c.Name, vip)
}

// best is the best of the allowed nodes for an address.
func (p *placing) best(vip Wish, allowed func(Candidate) bool) (string, bool) {
	var best Candidate
	found := false
	for name, node := range p.able {
		if !p.fit(name, vip.Address) || !allowed(node) {
			continue
		}
		if !found || p.compare(node, best, vip) < 0 {
			best, found = node, true
		}
	}
	return best.Name, found
}

// compare is negative if a is the better place of the two.
func (p *placing) compare(a, b Candidate, vip Wish) int {
	return cmp.Or(
		cmp.Compare(away(a, vip), away(b, vip)),
		cmp.Compare(p.load[a.Name], p.load[b.Name]),
		cmp.Compare(a.Name, b.Name))
}

// away is 1 for a node outside the preferred zone.
func away(c Candidate, vip Wish) int {
	if vip.Zone == "" || c.Zone == vip.Zone {
		return 0
	}
	return 1
}
