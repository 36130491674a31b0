package election

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Timeline collects the claims that nodes make to addresses and finds those that contradict each other. It
// is for tests and for evidence; nothing depends on it. All events must be by the same clock, as
// Clock() is for the processes of one machine, and each node's must come in their order.
type Timeline struct {
	mu     sync.Mutex
	claims map[netip.Addr]map[string][]Claim
}

// Claim is a time during which a node had the right to answer for an address and did: from Taken until Dropped,
// or until the right ended if that was earlier.
type Claim struct {
	Address  netip.Addr
	Node     string
	Revision int64 // of the record by virtue of which it began
	From, To time.Duration
}

// Add takes in an event of a node's Holder; kinds that are no claim are ignored.
func (t *Timeline) Add(node string, event Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.claims == nil {
		t.claims = map[netip.Addr]map[string][]Claim{}
	}
	nodes := t.claims[event.Address]
	if nodes == nil {
		nodes = map[string][]Claim{}
		t.claims[event.Address] = nodes
	}
	claims := nodes[node]
	switch last := len(claims) - 1; event.Kind {
	case Taken:
		nodes[node] = append(claims, Claim{event.Address, node, event.Revision, event.At, event.Until})
	case Renewed:
		if last >= 0 {
			claims[last].To = max(claims[last].To, event.Until)
		}
	case Dropped:
		if last >= 0 {
			claims[last].To = min(claims[last].To, event.At)
		}
	}
}

// Claims lists the claims to an address by the time at which they began.
func (t *Timeline) Claims(address netip.Addr) []Claim {
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []Claim
	for _, claims := range t.claims[address] {
		all = append(all, claims...)
	}
	slices.SortFunc(all, func(a, b Claim) int { return cmp.Compare(a.From, b.From) })
	return all
}

// Check returns an error if two nodes ever claimed one address at the same time.
func (t *Timeline) Check() error {
	t.mu.Lock()
	addresses := make([]netip.Addr, 0, len(t.claims))
	for address := range t.claims {
		addresses = append(addresses, address)
	}
	t.mu.Unlock()
	slices.SortFunc(addresses, netip.Addr.Compare)
	for _, address := range addresses {
		var latest Claim // the claim so far that ends last
		for _, claim := range t.Claims(address) {
			if claim.Node != latest.Node && claim.From < latest.To {
				return fmt.Errorf("vip %s: %s held it from %v to %v by record %d, and %s from %v to %v by record %d",
					address, latest.Node, latest.From, latest.To, latest.Revision, claim.Node, claim.From, claim.To, claim.Revision)
			}
			if claim.To > latest.To {
				latest = claim
			}
		}
	}
	return nil
}
