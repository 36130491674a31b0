package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Moved is where a move has brought an address; From and To are the same if it was there already.
type Moved struct{ From, To string }

// Move places an address on another node now: on the one named, or on the best other if to is empty. By is who
// asked for it, for the record. It works on every node, leading or not, and returns when the record is written; the
// former holder and the new one hand over by themselves. Moving an address to its present holder does nothing. The errors are ErrUnknownAddress, ErrUnknownNode, ErrNotReady,
// ErrNoCandidate, ErrConflict, and the store's.
//
// An address with Preempt may move back after its PreemptDelay.
func (p *Placer) Move(ctx context.Context, address netip.Addr, to, by string) (Moved, error) {
	if err := p.cfg.Validate(); err != nil {
		return Moved{}, err
	}
	const attempts = 3
	var err error
	for range attempts {
		var moved Moved
		if moved, err = p.move(ctx, address, to, by); err == nil {
			return moved, nil
		}
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return Moved{}, fmt.Errorf("move vip %s: %w", address, err)
}

func (p *Placer) move(ctx context.Context, address netip.Addr, to, by string) (Moved, error) {
	vips, nodes := p.cfg.VIPs(), p.cfg.Nodes()
	at := slices.IndexFunc(vips, func(w Wish) bool { return w.Address == address })
	if at < 0 {
		return Moved{}, fmt.Errorf("%w (it has %s)", ErrUnknownAddress, listed(vips, func(w Wish) string { return w.Address.String() }))
	}
	if to != "" {
		if err := p.check(address, to, nodes); err != nil {
			return Moved{}, err
		}
	}
	records, err := p.cfg.Records(ctx)
	if err != nil {
		return Moved{}, fmt.Errorf("read records: %w", err)
	}
	before := records[address]
	if to == "" {
		if to, err = p.bestOther(vips[at], View{VIPs: vips, Records: records, Nodes: nodes}); err != nil {
			return Moved{}, err
		}
	}
	moved := Moved{before.Holder, to}
	if to == before.Holder {
		return moved, nil
	}
	c := change{address, before, to, "moved by " + cmp.Or(oneLine(by), "an operator")}
	p.prepareMove(ctx, nodes, c)
	return moved, p.write(ctx, c)
}

// check says why an address cannot be moved to a node.
func (p *Placer) check(address netip.Addr, to string, nodes []Candidate) error {
	at := slices.IndexFunc(nodes, func(c Candidate) bool { return c.Name == to })
	if at < 0 {
		return fmt.Errorf("%w as %q (there is %s)", ErrUnknownNode, clip(to), listed(nodes, func(c Candidate) string { return c.Name }))
	}
	why := p.obstacle(to, nodes, address)
	switch {
	case why == "":
		return nil
	case nodes[at].Draining && !p.cfg.Suspected(to):
		why += "; undrain it first"
	}
	return fmt.Errorf("%w: %s", ErrNotReady, why)
}

// bestOther chooses a node other than the holder.
func (p *Placer) bestOther(vip Wish, view View) (string, error) {
	holder := view.Records[vip.Address].Holder
	view.Suspected = func(name string) bool { return name == holder || p.cfg.Suspected(name) }
	others := newPlacing(view)
	for _, w := range view.VIPs {
		others.load[view.Records[w.Address].Holder]++
	}
	if best, ok := others.best(vip, func(Candidate) bool { return true }); ok {
		return best, nil
	}
	var why []string
	for _, node := range view.Nodes {
		if node.Name != holder {
			why = append(why, p.obstacle(node.Name, view.Nodes, vip.Address))
		}
	}
	if len(why) == 0 {
		return "", ErrNoCandidate
	}
	slices.Sort(why)
	return "", fmt.Errorf("%w: %s", ErrNoCandidate, strings.Join(why[:min(len(why), mostListed)], ", "))
}

// mostListed bounds the names in an error message.
const mostListed = 8

// listed names what there is, for an error message.
func listed[T any](items []T, name func(T) string) string {
	names := make([]string, 0, mostListed)
	for i, item := range items {
		if i == mostListed {
			names = append(names, "…")
			break
		}
		names = append(names, name(item))
	}
	if len(names) == 0 {
		return "none"
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
