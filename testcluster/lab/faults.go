//go:build linux

package lab

import (
	"net/netip"
)

// A fault holds when its method has returned. The Moment it returns is just before, so that a figure counted from
// it is not flattered. Packet faults add up; Heal takes all of them back.

// CutCable cuts the cable: nothing passes, and the host sees that it has lost its carrier.
func (h *Host) CutCable() Moment {
	h.lab.t.Helper()
	return h.fault("cut cable", func() error { return h.cable(false) })
}

// MendCable takes CutCable back.
func (h *Host) MendCable() Moment {
	h.lab.t.Helper()
	return h.fault("mend cable", func() error { return h.cable(true) })
}

func (h *Host) cable(whole bool) error {
	if h.namespace() == nil {
		return errPoweredOff
	}
	if err := h.lab.lan.set(h.Name, whole); err != nil {
		return err
	}
	return h.waitCarrier(whole)
}

// CutSilently lets nothing pass, while the host keeps its carrier, as when a switch further on fails.
func (h *Host) CutSilently() Moment {
	h.lab.t.Helper()
	return h.packets("cut silently", func(f *packetFaults) { f.incoming, f.outgoing = true, true })
}

// CutIncoming lets nothing reach the host, while what it sends arrives.
func (h *Host) CutIncoming() Moment {
	h.lab.t.Helper()
	return h.packets("cut incoming", func(f *packetFaults) { f.incoming = true })
}

// CutOutgoing lets nothing from the host arrive, while everything reaches it.
func (h *Host) CutOutgoing() Moment {
	h.lab.t.Helper()
	return h.packets("cut outgoing", func(f *packetFaults) { f.outgoing = true })
}

// Loss loses a share of the frames to the host, and the same share of those from it; 0 ends it.
func (h *Host) Loss(percent float64) Moment {
	h.lab.t.Helper()
	if percent < 0 || percent > 100 {
		h.lab.t.Fatalf("loss of %v %%: want 0 to 100", percent)
	}
	return h.packets("loss", func(f *packetFaults) { f.loss = percent / 100 })
}

// Heal ends all packet faults of the host. A cut cable stays cut.
func (h *Host) Heal() Moment {
	h.lab.t.Helper()
	return h.packets("heal", func(f *packetFaults) { *f = packetFaults{} })
}

// PartitionCluster lets nothing pass between this node's cluster ports, 2379 to 2381, and other nodes, while
// everybody else's packets, and the nodes' other packets, pass.
func (n *Node) PartitionCluster() Moment {
	n.lab.t.Helper()
	return n.packets("partition cluster", func(f *packetFaults) { f.cluster = true })
}

// PartitionClients lets nothing pass between this node and hosts that are no nodes, clients and servers, while the
// nodes reach each other.
func (n *Node) PartitionClients() Moment {
	n.lab.t.Helper()
	return n.packets("partition clients", func(f *packetFaults) { f.clients = true })
}

// AddAddress gives eth0 one more address, by hand.
func (h *Host) AddAddress(prefix string) Moment {
	h.lab.t.Helper()
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		h.lab.t.Fatalf("add address: %v", err)
	}
	return h.fault("add address "+prefix, func() error { return h.addAddress(p) })
}

// RemoveAddress takes an address from eth0, as an administrator's slip would.
func (h *Host) RemoveAddress(address string) Moment {
	h.lab.t.Helper()
	ip, err := netip.ParseAddr(address)
	if err != nil {
		h.lab.t.Fatalf("remove address: %v", err)
	}
	return h.fault("remove address "+address, func() error { return h.removeAddress(ip) })
}

func (h *Host) packets(what string, how func(*packetFaults)) Moment {
	h.lab.t.Helper()
	return h.fault(what, func() error { return h.lab.lan.filter.change(h.Name, how) })
}

func (h *Host) fault(what string, do func() error) Moment {
	h.lab.t.Helper()
	at := h.lab.note(h.Name, what)
	if err := do(); err != nil {
		h.lab.t.Fatalf("%s: %s: %v", h.Name, what, err)
	}
	return at
}
