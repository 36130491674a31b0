package election

import (
	"net/netip"
	"slices"
	"time"
)

// Held is one address that the node holds.
type Held struct {
	Address  netip.Addr
	Epoch    int64
	Revision int64
	Since    time.Time     // by the wall clock, for people
	Until    time.Duration // on the Clock, if no further read succeeds
}

// Held lists the addresses that this node holds now, in order.
func (h *Holder) Held() []Held {
	snapshot := h.held.Load()
	if snapshot == nil {
		return nil
	}
	now := h.cfg.Clock()
	held := make([]Held, 0, len(*snapshot))
	for _, each := range *snapshot {
		if now < each.Until { // else run has been kept from dropping it
			held = append(held, each)
		}
	}
	return held
}

// Holds tells whether the node holds an address now.
func (h *Holder) Holds(address netip.Addr) bool {
	return slices.ContainsFunc(h.Held(), func(each Held) bool { return each.Address == address })
}
