//go:build linux

package lab

import (
	"encoding/binary"
	"net"
	"net/netip"
)

// Ethernet, ARP and IPv6 numbers, as the standards give them.
const (
	etherHead = 14
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherIPv6 = 0x86dd

	arpLength  = 28 // for Ethernet and IPv4 (RFC 826)
	arpRequest = 1
	arpReply   = 2

	ipv4Head = 20
	ipv6Head = 40
	tcpHead  = 20

	protocolTCP    = 6
	protocolICMPv6 = 58
	tcpFlags       = 0x17 // FIN, SYN, RST, ACK (RFC 9293 §3.1)
	synACK         = 0x12

	neighborSolicitation  = 135 // RFC 4861 §4.3
	neighborAdvertisement = 136 // §4.4
	solicited             = 0x40
)

// claim is what a station says by sending a frame: that an address is its own.
type claim struct {
	address netip.Addr
	mac     [6]byte // of the station, as the frame's content says it, else of its sender
	what    string
	// flow tells SYN-ACKs apart from their own repetition: the client's address and port and the sequence number.
	flow flow
}

type flow struct {
	client   netip.AddrPort
	sequence uint32
}

// readClaim finds the claim in an Ethernet frame, if there is one: an ARP packet from the address; a neighbour
// advertisement of it, or a solicitation from it; a SYN-ACK, which answers for the address to a new connection.
// Other packets from the address claim nothing: they may belong to a connection that outlives a move.
func readClaim(frame []byte) (claim, bool) {
	if len(frame) < etherHead {
		return claim{}, false
	}
	c := claim{mac: [6]byte(frame[6:12])}
	packet := frame[etherHead:]
	switch binary.BigEndian.Uint16(frame[12:]) {
	case etherARP:
		return readARP(c, packet, frame[0]&1 == 1)
	case etherIPv4:
		return readIPv4(c, packet)
	case etherIPv6:
		return readIPv6(c, packet)
	}
	return claim{}, false
}

func readARP(c claim, p []byte, toAll bool) (claim, bool) {
	ethernetAndIPv4 := [6]byte{0, 1, etherIPv4 >> 8, etherIPv4 & 0xff, 6, 4}
	if len(p) < arpLength || [6]byte(p) != ethernetAndIPv4 {
		return claim{}, false
	}
	c.mac = [6]byte(p[8:14])
	c.address = netip.AddrFrom4([4]byte(p[14:18]))
	target := netip.AddrFrom4([4]byte(p[24:28]))
	if c.address.IsUnspecified() {
		return claim{}, false // a probe, which claims nothing yet (RFC 5227 §2.1.1)
	}
	switch {
	case c.address == target || binary.BigEndian.Uint16(p[6:]) == arpReply && toAll:
		c.what = "ARP announcement"
	case binary.BigEndian.Uint16(p[6:]) == arpReply:
		c.what = "ARP reply"
	default:
		c.what = "ARP request"
	}
	return c, true
}

func readIPv4(c claim, p []byte) (claim, bool) {
	if len(p) < ipv4Head || p[0]>>4 != 4 || p[9] != protocolTCP || binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
		return claim{}, false
	}
	head := int(p[0]&15) * 4
	if head < ipv4Head || len(p) < head {
		return claim{}, false
	}
	c.address = netip.AddrFrom4([4]byte(p[12:16]))
	return readTCP(c, p[head:], netip.AddrFrom4([4]byte(p[16:20])))
}

func readIPv6(c claim, p []byte) (claim, bool) {
	if len(p) < ipv6Head || p[0]>>4 != 6 {
		return claim{}, false
	}
	source, destination := netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40]))
	switch payload := p[ipv6Head:]; p[6] {
	case protocolTCP:
		c.address = source
		return readTCP(c, payload, destination)
	case protocolICMPv6:
		return readNeighbor(c, payload, source)
	}
	return claim{}, false
}

func readTCP(c claim, p []byte, client netip.Addr) (claim, bool) {
	if len(p) < tcpHead || p[13]&tcpFlags != synACK {
		return claim{}, false
	}
	c.what = "SYN-ACK"
	c.flow = flow{
		client:   netip.AddrPortFrom(client, binary.BigEndian.Uint16(p[2:])),
		sequence: binary.BigEndian.Uint32(p[4:]),
	}
	return c, true
}

func readNeighbor(c claim, p []byte, source netip.Addr) (claim, bool) {
	if len(p) < 24 {
		return claim{}, false
	}
	switch p[0] {
	case neighborSolicitation:
		if source.IsUnspecified() {
			return claim{}, false // looks for duplicates, and claims nothing yet (RFC 4862 §5.4.2)
		}
		c.address, c.what = source, "neighbour solicitation"
	case neighborAdvertisement:
		c.address, c.what = netip.AddrFrom16([16]byte(p[8:24])), "neighbour advertisement"
		if p[4]&solicited == 0 {
			c.what = "unsolicited neighbour advertisement"
		}
	default:
		return claim{}, false
	}
	return c, true
}

// question is the frame that asks who has the address: ARP for IPv4, a neighbour solicitation for IPv6.
func question(h *Host, address netip.Addr) []byte {
	if address.Is4() {
		return askARP(h.MAC, h.IP4, address)
	}
	return askNeighbor(h.MAC, h.IP6, address)
}

func askARP(mac net.HardwareAddr, source, target netip.Addr) []byte {
	f := []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	f = append(f, mac...)
	f = binary.BigEndian.AppendUint16(f, etherARP)
	f = append(f, 0, 1, etherIPv4>>8, etherIPv4&0xff, 6, 4, 0, arpRequest)
	f = append(f, mac...)
	f = append(f, source.AsSlice()...)
	f = append(f, 0, 0, 0, 0, 0, 0)
	return append(f, target.AsSlice()...)
}

func askNeighbor(mac net.HardwareAddr, source, target netip.Addr) []byte {
	t := target.As16()
	group := [16]byte{0xff, 2, 10: 0, 11: 1, 12: 0xff, 13: t[13], 14: t[14], 15: t[15]} // RFC 4291 §2.7.1
	message := []byte{neighborSolicitation, 0, 0, 0, 0, 0, 0, 0}
	message = append(message, t[:]...)
	message = append(message, 1, 1) // the source's link-layer address, 8 bytes long
	message = append(message, mac...)

	head := []byte{0x60, 0, 0, 0}
	head = binary.BigEndian.AppendUint16(head, uint16(len(message)))
	head = append(head, protocolICMPv6, 255)
	head = append(head, source.AsSlice()...)
	head = append(head, group[:]...)

	pseudo := append([]byte{}, head[8:40]...)
	pseudo = append(pseudo, 0, 0, 0, byte(len(message)), 0, 0, 0, protocolICMPv6)
	binary.BigEndian.PutUint16(message[2:], checksum(append(pseudo, message...)))

	f := []byte{0x33, 0x33, 0xff, t[13], t[14], t[15]} // RFC 2464 §7
	f = append(f, mac...)
	f = binary.BigEndian.AppendUint16(f, etherIPv6)
	return append(append(f, head...), message...)
}

// checksum is the Internet checksum (RFC 1071) of an even number of bytes.
func checksum(p []byte) uint16 {
	var sum uint32
	for ; len(p) > 1; p = p[2:] {
		sum += uint32(binary.BigEndian.Uint16(p))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
