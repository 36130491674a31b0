package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tripod/election"
	"tripod/node/api"
)

// holdsPause is between two questions to a node about what it holds.
const holdsPause = 10 * time.Millisecond

// able tells whether one of the candidates other than the one named can hold an address.
func (v *vips) able(candidates []election.Candidate, address netip.Addr, except string) bool {
	return slices.ContainsFunc(candidates, func(c election.Candidate) bool {
		_, unfit := c.Unfit[address]
		return c.Name != except && c.Ready && !c.Draining && !unfit && !v.detector.Suspected(c.Name)
	})
}

// operating is what an operator's request needs: this node's vips, and a majority.
func (n *Node) operating(ctx context.Context) (*vips, error) {
	if _, err := n.client(ctx); err != nil {
		return nil, err
	}
	v := n.openVIPs.Load()
	if v == nil {
		return nil, api.Fail(http.StatusServiceUnavailable, fmt.Errorf("%s is still starting: ask again in a moment, or ask another node with --node", n.Name()))
	}
	return v, nil
}

// knownNode refuses names that no node has.
func (v *vips) knownNode(name string) error {
	known := map[string]bool{}
	for _, voter := range v.node.voters {
		known[voter.Name] = true
	}
	if nodes := v.nodes.Load(); nodes != nil {
		for each := range *nodes {
			known[each] = true
		}
	}
	if known[name] {
		return nil
	}
	return api.Fail(http.StatusNotFound, fmt.Errorf("no node is named %q: there is %s", shorten(name), strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
}

// shorten keeps somebody's word on one line of a message.
func shorten(word string) string {
	const longest = 64
	if len(word) > longest {
		return strings.ToValidUTF8(word[:longest], "") + "…"
	}
	return word
}

// named are the addresses whose records name a node.
func (v *vips) named(name string) []netip.Addr {
	records := v.records.Load()
	if records == nil {
		return nil
	}
	var addresses []netip.Addr
	for address, r := range *records {
		if r.Holder == name {
			addresses = append(addresses, address)
		}
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return addresses
}

// Holds implements api.Operators. A node holds an address as long as it says so, and also while a record names it.
func (n *Node) Holds(ctx context.Context, name string, wait time.Duration) (api.HoldsReply, error) {
	v, err := n.operating(ctx)
	if err != nil {
		return api.HoldsReply{}, err
	}
	if err := v.knownNode(name); err != nil {
		return api.HoldsReply{}, err
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		held := v.named(name)
		says, err := v.heldBy(ctx, name)
		if err == nil { // one that does not answer holds what the records say at most, and that not for long
			for _, h := range says {
				if !slices.Contains(held, h.Address) {
					held = append(held, h.Address)
				}
			}
		}
		if len(held) == 0 || waiting.Err() != nil {
			return api.HoldsReply{Held: append([]netip.Addr{}, held...), Why: v.whyHeld(name, held)}, nil
		}
		pause(waiting, holdsPause)
	}
}

// whyHeld says why a node still holds addresses.
func (v *vips) whyHeld(name string, held []netip.Addr) string {
	drains := v.drains.Load()
	draining := false
	if drains != nil {
		_, draining = drains.nodes[name]
	}
	switch {
	case len(held) == 0:
		return ""
	case !draining:
		return name + " is not draining"
	case !slices.ContainsFunc(held, func(a netip.Addr) bool { return v.able(v.candidates(), a, name) }):
		return "no other node can hold it now"
	}
	return ""
}

// heldBy asks a node what it holds.
func (v *vips) heldBy(ctx context.Context, name string) ([]election.Held, error) {
	if name == v.node.Name() {
		return v.holder.Held(), nil
	}
	client, err := v.node.peers.client(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	local, err := client.Local(ctx)
	return local.Held, err
}
