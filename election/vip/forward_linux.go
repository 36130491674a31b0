package vip

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// forward is a number of connections that go on at another station.
type forward struct {
	mac   net.HardwareAddr
	flows []Flow
	until time.Duration
}

func (f *forward) elements(address netip.Addr, timeout time.Duration) []element {
	list := make([]element, len(f.flows))
	for i, flow := range f.flows {
		list[i] = element{key: flowKey(address, flow), value: f.mac, timeout: timeout}
	}
	return list
}

// Forward makes the packets of the former holder's connections go on to it. The next holder calls it before Take, or
// they would be reset. Each ends when the client begins a new connection from the same port, or at the limit.
func (k *Kernel) Forward(h Handover) error {
	k.mu.Lock()
	defer k.unlock()
	p, err := k.place(h.Address)
	switch {
	case err != nil:
		return fmt.Errorf("forward connections of %w", err)
	case p.link == nil:
		return fmt.Errorf("forward connections of %w", p.problem)
	case k.guard == nil || len(p.link.mac) != 6 || !k.guard.wire:
		return fmt.Errorf("forward connections of vip %s: no nf_tables, or no Ethernet: %w", h.Address, ErrUnsupported)
	}
	now := k.opt.Clock()
	var list []*forward
	for _, part := range h.Parts {
		// What has come back to where its connections are needs no detour.
		if len(part.MAC) == 6 && len(part.Flows) > 0 && !bytes.Equal(part.MAC, p.link.mac) {
			list = append(list, &forward{mac: part.MAC, flows: part.Flows, until: now + min(h.Limit, mostLimit)})
		}
	}
	replace := len(p.forwards) > 0 && !h.Adds
	add := list
	if h.Adds {
		list = append(p.forwards, list...)
	}
	p.forwards = list
	if len(add) == 0 && !replace {
		return nil
	}
	if err := k.guard.forward(k.sorted(), p, add, k.on, replace, now); err != nil {
		p.forwards = nil
		return fmt.Errorf("forward connections of vip %s: %w", h.Address, err)
	}
	signal(k.wake)
	return nil
}

// forward adds the connections of one VIP to the packet path; if some of its are there already, all are written anew.
func (g *guard) forward(places []*place, p *place, add []*forward, interfaces []*link, replace bool, now time.Duration) error {
	b := newBatch()
	if !g.forwarding {
		g.ingress(b, interfaces)
		replace = true
	} else if replace {
		b.clear(g.v4.wireFlows)
		b.clear(g.v6.wireFlows)
	}
	if !replace {
		for _, f := range add {
			b.add(g.sets(p.address).wireFlows, f.elements(p.address, f.until-now)...)
		}
		places = nil
	}
	for _, each := range places {
		for _, f := range each.forwards {
			if f.until > now {
				b.add(g.sets(each.address).wireFlows, f.elements(each.address, f.until-now)...)
			}
		}
	}
	if err := g.nft.send(b); err != nil {
		return err
	}
	g.forwarding = true
	return nil
}

// expireForwards forgets connections whose limit has passed, and takes the packet path down after the last.
func (k *Kernel) expireForwards(p *place, now time.Duration) {
	if len(p.forwards) == 0 {
		return
	}
	p.forwards = slices.DeleteFunc(p.forwards, func(f *forward) bool { return f.until <= now })
	for _, each := range k.places {
		if len(each.forwards) > 0 {
			return
		}
	}
	if k.guard != nil && k.guard.forwarding {
		k.guard.forwarding = false
		if err := k.guard.rebuild(k.sorted(), k.on); err != nil {
			k.tell(Event{Kind: Unguarded, Reason: err.Error()})
		}
	}
}

// list returns the keys of a set's elements.
func (n *nft) list(s *set) ([][]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := &batch{}
	b.begin(unix.NFT_MSG_GETSETELEM, s.family, unix.NLM_F_DUMP)
	b.text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName)
	b.text(unix.NFTA_SET_ELEM_LIST_SET, s.name)
	b.end()
	n.seq++
	binary.NativeEndian.PutUint32(b.buf[8:], n.seq)
	if err := unix.Sendto(n.fd, b.buf, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("nf_tables: list set %s: %w", s.name, err)
	}
	var keys [][]byte
	for {
		var size int
		err := retry(func() (err error) {
			size, _, err = unix.Recvfrom(n.fd, n.in, 0)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("nf_tables: list set %s: %w", s.name, err)
		}
		for rest := n.in[:size]; len(rest) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(rest))
			if length < unix.NLMSG_HDRLEN || length > len(rest) {
				return nil, fmt.Errorf("nf_tables: list set %s: %w", s.name, unix.EBADMSG)
			}
			body := rest[unix.NLMSG_HDRLEN:length]
			switch kind := binary.NativeEndian.Uint16(rest[4:]); {
			case kind == unix.NLMSG_DONE:
				return keys, nil
			case kind == unix.NLMSG_ERROR && len(body) >= 4:
				return nil, fmt.Errorf("nf_tables: list set %s: %w", s.name, unix.Errno(-int32(binary.NativeEndian.Uint32(body))))
			case len(body) >= 4:
				keys = appendKeys(keys, body[4:])
			}
			rest = rest[min(align(length), len(rest)):]
		}
	}
}

// appendKeys finds the keys in a message that lists elements.
func appendKeys(keys [][]byte, message []byte) [][]byte {
	attributes(message, func(kind uint16, list []byte) {
		if kind != unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			return
		}
		attributes(list, func(_ uint16, item []byte) {
			attributes(item, func(kind uint16, key []byte) {
				if kind != unix.NFTA_SET_ELEM_KEY {
					return
				}
				attributes(key, func(kind uint16, value []byte) {
					if kind == unix.NFTA_DATA_VALUE {
						keys = append(keys, slices.Clone(value))
					}
				})
			})
		})
	})
	return keys
}

// attributes calls each with the netlink attributes in data.
func attributes(data []byte, each func(kind uint16, value []byte)) {
	for len(data) >= 4 {
		length := int(binary.NativeEndian.Uint16(data))
		if length < 4 || length > len(data) {
			return
		}
		each(binary.NativeEndian.Uint16(data[2:])&^(unix.NLA_F_NESTED|unix.NLA_F_NET_BYTEORDER), data[4:length])
		data = data[min(align(length), len(data)):]
	}
}

// parseFlowKey is the reverse of flowKey; ok is false if the connection is of another VIP.
func parseFlowKey(address netip.Addr, key []byte) (flow Flow, ok bool) {
	size := address.BitLen() / 8
	if len(key) != 2*size+8 || !bytes.Equal(key[size+4:2*size+4], address.AsSlice()) {
		return flow, false
	}
	client, _ := netip.AddrFromSlice(key[:size])
	return Flow{
		Client: netip.AddrPortFrom(client, binary.BigEndian.Uint16(key[size:])),
		Port:   binary.BigEndian.Uint16(key[2*size+4:]),
	}, true
}
