package vip

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	tableName = "tripod"
	// hookPriority puts the own chains before other tables' filters: what the guard drops, nobody need see.
	hookPriority = -300

	familyInet   = unix.NFPROTO_INET
	familyARP    = unix.NFPROTO_ARP
	familyNetdev = unix.NFPROTO_NETDEV

	arpOut = 1 // NF_ARP_OUT, linux/netfilter_arp.h

	// Numbers of data types, for people who list the sets: nft's include/datatype.h.
	kindIPv4  = 7
	kindIPv6  = 8
	kindPort  = 13
	kindFlow4 = kindIPv4<<18 | kindPort<<12 | kindIPv4<<6 | kindPort
	kindFlow6 = kindIPv6<<18 | kindPort<<12 | kindIPv6<<6 | kindPort

	mostFresh = 65536 // connections that begin while Linger counts the others
)

// sets of one family of addresses.
type sets struct {
	v6 bool

	vips, held *set // in table inet: every VIP, and those that this node has the right to
	lingering  *set // whose old connections go on here
	flows      *set // those connections
	fresh      *set // those that began while the others were counted

	arpVIPs, arpHeld *set // in table arp
	source           *set // lingering address → the one to ask for neighbours with

	wireVIPs, wireHeld *set // in table netdev
	wireFlows          *set // connection → Ethernet address of the node where it lingers
}

func newSets(v6 bool) *sets {
	version, size, kind, flow, kindFlow := "4", 4, uint32(kindIPv4), 16, uint32(kindFlow4)
	if v6 {
		version, size, kind, flow, kindFlow = "6", 16, uint32(kindIPv6), 40, uint32(kindFlow6)
	}
	s := &sets{
		v6:        v6,
		vips:      &set{family: familyInet, name: "vips" + version, key: size, kind: kind},
		held:      &set{family: familyInet, name: "held" + version, key: size, kind: kind, expire: true},
		lingering: &set{family: familyInet, name: "lingering" + version, key: size, kind: kind},
		flows:     &set{family: familyInet, name: "flows" + version, key: flow, kind: kindFlow, expire: true, size: 2 * MostFlows},
		fresh: &set{
			family: familyInet, name: "fresh" + version, key: flow, kind: kindFlow, expire: true,
			fill: freshLife, size: mostFresh,
		},
		source: &set{family: familyInet, name: "source" + version, key: size, kind: kind, value: size},
		wireFlows: &set{
			// With no size, a set that packets change holds 65,535.
			family: familyNetdev, name: "flows" + version, key: flow, kind: kindFlow, value: 6, expire: true, size: 4 * MostFlows,
		},
	}
	if !v6 {
		s.source.family = familyARP
		s.arpVIPs = &set{family: familyARP, name: "vips", key: size, kind: kind}
		s.arpHeld = &set{family: familyARP, name: "held", key: size, kind: kind, expire: true}
		s.wireVIPs = &set{family: familyNetdev, name: "vips", key: size, kind: kind}
		s.wireHeld = &set{family: familyNetdev, name: "held", key: size, kind: kind, expire: true}
	}
	return s
}

// Fields of packets.
type field struct {
	base           expr.PayloadBase
	offset, length uint32
}

const (
	network   = expr.PayloadBaseNetworkHeader
	transport = expr.PayloadBaseTransportHeader
)

func arpOperation() field { return field{network, 6, 2} }
func arpSender() field    { return field{network, 14, 4} }
func icmpType() field     { return field{transport, 0, 1} }
func icmpTarget() field   { return field{transport, 8, 16} }
func tcpFlags() field     { return field{transport, 13, 1} }
func etherTo() field      { return field{expr.PayloadBaseLLHeader, 0, 6} }
func etherFrom() field    { return field{expr.PayloadBaseLLHeader, 6, 6} }
func (s *sets) from() field {
	if s.v6 {
		return field{network, 8, 16}
	}
	return field{network, 12, 4}
}

func (s *sets) to() field {
	if s.v6 {
		return field{network, 24, 16}
	}
	return field{network, 16, 4}
}

// Registers are counted in words of four bytes.
const (
	firstWord = unix.NFT_REG32_00
	spareWord = unix.NFT_REG32_12 // after the largest key
)

func load(f field, register uint32) expr.Any {
	return &expr.Payload{DestRegister: register, Base: f.base, Offset: f.offset, Len: f.length}
}

func write(f field, register uint32) expr.Any {
	return &expr.Payload{OperationType: expr.PayloadWrite, SourceRegister: register, Base: f.base, Offset: f.offset, Len: f.length}
}

func equals(f field, value ...byte) []expr.Any {
	return []expr.Any{load(f, firstWord), &expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: value}}
}

func in(s *set, fields ...field) []expr.Any {
	return append(key(fields...), &expr.Lookup{SourceRegister: firstWord, SetName: s.name})
}

// key loads fields into registers as the elements of sets have them: each padded to whole words.
func key(fields ...field) []expr.Any {
	var parts []expr.Any
	register := uint32(firstWord)
	for _, f := range fields {
		parts = append(parts, load(f, register))
		register += (f.length + 3) / 4
	}
	return parts
}

func (s *sets) flow() []field {
	return []field{s.from(), {transport, 0, 2}, s.to(), {transport, 2, 2}}
}

func meta(what expr.MetaKey, value ...byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: what, Register: firstWord}, &expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: value}}
}

func verdict(kind expr.VerdictKind, chain string) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: kind, Chain: chain}}
}

// opening matches the first segment of a connection: SYN without ACK, whatever else.
func opening() []expr.Any {
	return []expr.Any{
		load(tcpFlags(), firstWord),
		&expr.Bitwise{SourceRegister: firstWord, DestRegister: firstWord, Len: 1, Mask: []byte{0x12}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: firstWord, Data: []byte{0x02}},
	}
}

func loopback() []expr.Any {
	return meta(expr.MetaKeyIIFTYPE, binary.NativeEndian.AppendUint16(nil, unix.ARPHRD_LOOPBACK)...)
}

func isTCP() []expr.Any { return meta(expr.MetaKeyL4PROTO, unix.IPPROTO_TCP) }

// all joins the parts of one rule.
func all(parts ...[]expr.Any) []expr.Any {
	var joined []expr.Any
	for _, part := range parts {
		joined = append(joined, part...)
	}
	return joined
}

func accept() []expr.Any { return verdict(expr.VerdictAccept, "") }
func drop() []expr.Any   { return verdict(expr.VerdictDrop, "") }

// tables adds everything but the elements of sets, in place of what was there before.
func (g *guard) tables(b *batch, interfaces []*link) {
	for _, family := range g.families() {
		b.table(family) // so that there is one to delete
		b.dropTable(family)
		b.table(family)
	}
	b.set(g.tickets)
	for _, s := range []*sets{g.v4, g.v6} {
		for _, each := range []*set{s.vips, s.held, s.lingering, s.flows, s.fresh, s.source} {
			if each.family == familyInet {
				b.set(each)
			}
		}
	}
	b.hook(familyInet, "input", unix.NF_INET_LOCAL_IN, "")
	b.hook(familyInet, "output", unix.NF_INET_LOCAL_OUT, "")
	g.packets(b, g.v4, "ip", unix.NFPROTO_IPV4)
	g.packets(b, g.v6, "ip6", unix.NFPROTO_IPV6)
	g.discovery(b)
	g.arp(b)
	if g.wire {
		g.egress(b, interfaces)
	}
}

// packets drops what comes in for a VIP without the right to it. That is on the way in, not before the route is
// known: a router must go on to pass on packets for a VIP that another node holds.
func (g *guard) packets(b *batch, s *sets, chain string, protocol byte) {
	open := openChain(s)
	b.chain(familyInet, chain)
	b.chain(familyInet, open)
	b.rule(familyInet, "input", all(meta(expr.MetaKeyNFPROTO, protocol), in(s.vips, s.to()), verdict(expr.VerdictJump, chain))...)
	b.rule(familyInet, chain, all(in(s.held, s.to()), verdict(expr.VerdictGoto, open))...)
	// While old connections linger, programs on this host still find the address here.
	b.rule(familyInet, chain, all(loopback(), in(s.lingering, s.to()), accept())...)
	b.rule(familyInet, chain, all(isTCP(), in(s.flows, s.flow()...), accept())...)
	b.rule(familyInet, chain, all(isTCP(), in(s.fresh, s.flow()...), accept())...)
	b.rule(familyInet, chain, drop()...)
}

// openChain has no rules, except while Linger counts; then it remembers connections that begin.
func openChain(s *sets) string {
	if s.v6 {
		return "open6"
	}
	return "open4"
}

func (g *guard) remember(b *batch, s *sets, address netip.Addr) {
	b.rule(familyInet, openChain(s), all(equals(s.to(), address.AsSlice()...), isTCP(), opening(), key(s.flow()...), []expr.Any{
		&expr.Dynset{SrcRegKey: firstWord, SetName: s.fresh.name, Operation: unix.NFT_DYNSET_OP_UPDATE},
	})...)
}

// discovery keeps the kernel from saying in IPv6 that a VIP is here, or asking in its name, which says the same
// (RFC 4861 §7.2.3: the source of a solicitation is learnt from it).
func (g *guard) discovery(b *batch) {
	s := g.v6
	b.chain(familyInet, "discovery")
	b.rule(familyInet, "output", all(meta(expr.MetaKeyNFPROTO, unix.NFPROTO_IPV6), meta(expr.MetaKeyL4PROTO, unix.IPPROTO_ICMPV6),
		verdict(expr.VerdictJump, "discovery"))...)
	advertisement, solicitation := equals(icmpType(), 136), equals(icmpType(), 135)
	b.rule(familyInet, "discovery", all(advertisement, in(s.held, icmpTarget()), accept())...)
	b.rule(familyInet, "discovery", all(advertisement, in(s.vips, icmpTarget()), drop())...)
	b.rule(familyInet, "discovery", all(solicitation, in(s.held, s.from()), accept())...)
	// A lingering address must find its clients all the same: ask in the name of another address. The library
	// does not write the flag by which the checksum of the ICMP message is corrected.
	b.rule(familyInet, "discovery", all(solicitation, []expr.Any{
		load(s.from(), firstWord),
		&expr.Lookup{SourceRegister: firstWord, DestRegister: firstWord, IsDestRegSet: true, SetName: s.source.name},
		&raw{name: "payload", numbers: []uint32{
			unix.NFTA_PAYLOAD_SREG, firstWord, unix.NFTA_PAYLOAD_BASE, uint32(network),
			unix.NFTA_PAYLOAD_OFFSET, s.from().offset, unix.NFTA_PAYLOAD_LEN, s.from().length,
			unix.NFTA_PAYLOAD_CSUM_TYPE, unix.NFT_PAYLOAD_CSUM_NONE, unix.NFTA_PAYLOAD_CSUM_OFFSET, 0,
			unix.NFTA_PAYLOAD_CSUM_FLAGS, unix.NFT_PAYLOAD_L4CSUM_PSEUDOHDR,
		}},
	}, accept())...)
	b.rule(familyInet, "discovery", all(solicitation, in(s.vips, s.from()), drop())...)
}

// arp does the same for IPv4: every ARP packet tells its readers where its sender is, be it a reply or a request
// (RFC 826). It holds for all interfaces, since Linux answers on each for the addresses of all.
func (g *guard) arp(b *batch) {
	s := g.v4
	b.set(s.arpVIPs)
	b.set(s.arpHeld)
	b.set(s.source)
	b.hook(familyARP, "output", arpOut, "")
	b.rule(familyARP, "output", all(in(s.arpHeld, arpSender()), accept())...)
	b.rule(familyARP, "output", all(equals(arpOperation(), 0, 1), []expr.Any{
		load(arpSender(), firstWord),
		&expr.Lookup{SourceRegister: firstWord, DestRegister: firstWord, IsDestRegSet: true, SetName: s.source.name},
		write(arpSender(), firstWord),
	}, accept())...)
	b.rule(familyARP, "output", all(in(s.arpVIPs, arpSender()), drop())...)
}

// egress catches what the process sends itself, past the other hooks: announcements. Without it a process that is stopped
// between looking at the clock and sending would announce the address when it runs again.
func (g *guard) egress(b *batch, interfaces []*link) {
	s := g.v4
	b.set(s.wireVIPs)
	b.set(s.wireHeld)
	for _, on := range interfaces {
		chain := fmt.Sprintf("egress%d", on.index)
		b.hook(familyNetdev, chain, unix.NF_NETDEV_EGRESS, on.name)
		isARP := meta(expr.MetaKeyPROTOCOL, 0x08, 0x06)
		b.rule(familyNetdev, chain, all(isARP, in(s.wireHeld, arpSender()), accept())...)
		b.rule(familyNetdev, chain, all(isARP, in(s.wireVIPs, arpSender()), drop())...)
	}
}

// ingress sends packets of connections that linger elsewhere on to there. It is added while there are any.
func (g *guard) ingress(b *batch, interfaces []*link) {
	b.set(g.v4.wireFlows)
	b.set(g.v6.wireFlows)
	for _, on := range interfaces {
		chain := fmt.Sprintf("ingress%d", on.index)
		b.hook(familyNetdev, chain, unix.NF_NETDEV_INGRESS, on.name)
		g.passOn(b, g.v4, chain, on, 0x08, 0x00)
		g.passOn(b, g.v6, chain, on, 0x86, 0xdd)
	}
}

func (g *guard) passOn(b *batch, s *sets, chain string, on *link, protocol ...byte) {
	index := make([]byte, 4)
	binary.NativeEndian.PutUint32(index, uint32(on.index))
	mine := all(meta(expr.MetaKeyPROTOCOL, protocol...), isTCP())
	// A client that uses a port again begins a new connection, and that is ours.
	b.rule(familyNetdev, chain, all(mine, opening(), key(s.flow()...), []expr.Any{
		&expr.Lookup{SourceRegister: firstWord, DestRegister: spareWord, IsDestRegSet: true, SetName: s.wireFlows.name},
		&expr.Dynset{SrcRegKey: firstWord, SrcRegData: spareWord, SetName: s.wireFlows.name, Operation: dynsetDelete},
	}, accept())...)
	// The frame's source becomes our own address, or the switch would learn the client at our port.
	b.rule(familyNetdev, chain, all(mine, key(s.flow()...), []expr.Any{
		&expr.Lookup{SourceRegister: firstWord, DestRegister: spareWord, IsDestRegSet: true, SetName: s.wireFlows.name},
		write(etherTo(), spareWord),
		&expr.Immediate{Register: spareWord, Data: pad(on.mac)},
		write(etherFrom(), spareWord),
		&expr.Immediate{Register: firstWord, Data: index},
		&raw{name: "fwd", numbers: []uint32{nftaFwdSregDev, firstWord}},
	})...)
}

// From linux/netfilter/nf_tables.h; x/sys does not have them.
const (
	nftaFwdSregDev = 1 // NFTA_FWD_SREG_DEV
	dynsetDelete   = 2 // NFT_DYNSET_OP_DELETE
)

func pad(mac net.HardwareAddr) []byte { return append(make([]byte, 0, 6), mac[:6]...) }

// flowKey is a connection as an element of a set has it.
func flowKey(address netip.Addr, flow Flow) []byte {
	out := make([]byte, 0, 40)
	out = append(out, flow.Client.Addr().AsSlice()...)
	out = binary.BigEndian.AppendUint16(out, flow.Client.Port())
	out = append(out, 0, 0)
	out = append(out, address.AsSlice()...)
	out = binary.BigEndian.AppendUint16(out, flow.Port)
	return append(out, 0, 0)
}
