package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ear speaks and hears ARP (RFC 826, RFC 5227) and IPv6 neighbour discovery (RFC 4861).
type ear struct {
	arp, nd       *os.File // what is heard
	arpRaw, ndRaw syscall.RawConn
	arpOut, ndOut int // what is said; -1 is closed, or a host without IPv6
}

const (
	arpRequest          = 1
	arpLength           = 28
	mostFiltered        = 120 // addresses that the socket filter can tell apart; with more, all ARP is looked at
	typeSolicitation    = 135
	typeAdvertisement   = 136
	optionSourceAddress = 1
	optionTargetAddress = 2
	flagOverride        = 0x20
)

func openEar() (e *ear, err error) {
	e = &ear{arpOut: -1, ndOut: -1}
	defer func() {
		if err != nil {
			e.close()
			err = fmt.Errorf("open sockets for ARP and neighbour discovery: %w", err)
		}
	}()
	// Protocol 0: this one hears nothing.
	if e.arpOut, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return e, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return e, err
	}
	e.arp = os.NewFile(uintptr(fd), "arp")
	if e.arpRaw, err = e.arp.SyscallConn(); err != nil {
		return e, err
	}
	if err := e.filter(nil); err != nil {
		return e, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ARP)}); err != nil {
		return e, err
	}
	return e, e.openND()
}

func (e *ear) openND() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil // a host without IPv6
	}
	if err != nil {
		return err
	}
	e.nd, e.ndOut = os.NewFile(uintptr(fd), "neighbour discovery"), fd
	if e.ndRaw, err = e.nd.SyscallConn(); err != nil {
		return err
	}
	only := unix.ICMPv6Filter{}
	for i := range only.Data {
		only.Data[i] = ^uint32(0)
	}
	only.Data[typeAdvertisement/32] &^= 1 << (typeAdvertisement % 32)
	return errors.Join(
		unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &only),
		// RFC 4861 §7.1: what has passed a router is not listened to.
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1),
	)
}

func (e *ear) close() {
	if e.arp != nil {
		_ = e.arp.Close()
	}
	if e.nd != nil {
		_ = e.nd.Close()
	}
	if e.arpOut >= 0 {
		_ = unix.Close(e.arpOut)
	}
	e.arpOut, e.ndOut = -1, -1
}

func bigEndian(n uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)})
}

// filter makes the kernel pass on only ARP packets whose sender is one of the addresses: on a large network there are
// thousands of others.
func (e *ear) filter(addresses []netip.Addr) error {
	program := []bpf.Instruction{bpf.LoadAbsolute{Off: 14, Size: 4}}
	var wanted []netip.Addr
	for _, each := range addresses {
		if each.Is4() {
			wanted = append(wanted, each)
		}
	}
	if len(wanted) > mostFiltered {
		program = append(program, bpf.RetConstant{Val: arpLength})
	} else {
		for i, each := range wanted {
			program = append(program, bpf.JumpIf{
				Cond: bpf.JumpEqual, Val: binary.BigEndian.Uint32(each.AsSlice()), SkipTrue: uint8(len(wanted) - i),
			})
		}
		program = append(program, bpf.RetConstant{Val: 0}, bpf.RetConstant{Val: arpLength})
	}
	var failed error
	err := e.arpRaw.Control(func(fd uintptr) { failed = attach(int(fd), program) })
	return errors.Join(err, failed)
}

// attach makes the kernel give the socket only what the program lets through.
func attach(fd int, program []bpf.Instruction) error {
	assembled, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("filter packets: %w", err)
	}
	filter := make([]unix.SockFilter, len(assembled))
	for i, each := range assembled {
		filter[i] = unix.SockFilter{Code: each.Op, Jt: each.Jt, Jf: each.Jf, K: each.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: (*unix.SockFilter)(unsafe.Pointer(&filter[0]))})
}

// announce tells everybody on the link that the address is here.
func (e *ear) announce(on *link, address netip.Addr) {
	if address.Is4() {
		e.sendARP(on, address, address)
		return
	}
	// RFC 4861 §7.2.6
	message := make([]byte, 0, 32)
	message = append(message, typeAdvertisement, 0, 0, 0, flagOverride, 0, 0, 0)
	message = append(message, address.AsSlice()...)
	message = append(message, optionTargetAddress, 1)
	message = append(message, on.mac...)
	e.sendND(on, message, address, netip.IPv6LinkLocalAllNodes())
}

// probe asks whether another station has the address, without saying that it is here: RFC 5227 §1.1.
func (e *ear) probe(on *link, address netip.Addr) {
	if on == nil {
		return
	}
	if address.Is4() {
		e.sendARP(on, netip.IPv4Unspecified(), address)
		return
	}
	last := address.As16()
	group := [16]byte{0xff, 0x02, 11: 0x01, 12: 0xff, 13: last[13], 14: last[14], 15: last[15]}
	message := make([]byte, 0, 32)
	message = append(message, typeSolicitation, 0, 0, 0, 0, 0, 0, 0)
	message = append(message, address.AsSlice()...)
	message = append(message, optionSourceAddress, 1)
	message = append(message, on.mac...)
	e.sendND(on, message, netip.Addr{}, netip.AddrFrom16(group))
}

// sendARP broadcasts a request. What cannot be sent now is sent again with the next one.
func (e *ear) sendARP(on *link, sender, target netip.Addr) {
	if e.arpOut < 0 || len(on.mac) != 6 {
		return
	}
	packet := make([]byte, 0, arpLength)
	packet = append(packet, 0, 1, 8, 0, 6, 4, 0, arpRequest)
	packet = append(packet, on.mac...)
	packet = append(packet, sender.AsSlice()...)
	packet = append(packet, 0, 0, 0, 0, 0, 0)
	packet = append(packet, target.AsSlice()...)
	to := &unix.SockaddrLinklayer{
		Protocol: bigEndian(unix.ETH_P_ARP), Ifindex: on.index, Halen: 6,
		Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	_ = unix.Sendto(e.arpOut, packet, 0, to)
}

func (e *ear) sendND(on *link, message []byte, from, to netip.Addr) {
	if e.ndOut < 0 || len(on.mac) != 6 {
		return
	}
	info := &unix.Inet6Pktinfo{Ifindex: uint32(on.index)}
	if from.IsValid() {
		info.Addr = from.As16()
	}
	_ = unix.Sendmsg(e.ndOut, message, unix.PktInfo6(info), &unix.SockaddrInet6{Addr: to.As16(), ZoneId: uint32(on.index)}, 0)
}

// listenARP calls heard with everybody who says to have an address, until the ear is closed.
func (e *ear) listenARP(heard func(index int, address netip.Addr, mac net.HardwareAddr)) {
	packet := make([]byte, arpLength)
	for {
		var size int
		var from unix.Sockaddr
		var failed error
		err := e.arpRaw.Read(func(fd uintptr) bool {
			size, from, failed = unix.Recvfrom(int(fd), packet, unix.MSG_DONTWAIT)
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		if err != nil {
			return
		}
		source, ok := from.(*unix.SockaddrLinklayer)
		if failed != nil || !ok || source.Pkttype == unix.PACKET_OUTGOING {
			continue // an interface went down, or our own words
		}
		if address, mac, ok := parseARP(packet[:size]); ok {
			heard(source.Ifindex, address, mac)
		}
	}
}

// parseARP returns who an ARP packet is from.
func parseARP(packet []byte) (netip.Addr, net.HardwareAddr, bool) {
	if len(packet) < arpLength || binary.BigEndian.Uint16(packet[2:]) != unix.ETH_P_IP || packet[4] != 6 || packet[5] != 4 {
		return netip.Addr{}, nil, false
	}
	return netip.AddrFrom4([4]byte(packet[14:18])), net.HardwareAddr(packet[8:14:14]), true
}

// listenND does the same for neighbour advertisements.
func (e *ear) listenND(heard func(index int, address netip.Addr, mac net.HardwareAddr)) {
	if e.nd == nil {
		return
	}
	packet, control := make([]byte, 1500), make([]byte, 128)
	for {
		var size, controlSize int
		var failed error
		err := e.ndRaw.Read(func(fd uintptr) bool {
			size, controlSize, _, _, failed = unix.Recvmsg(int(fd), packet, control, unix.MSG_DONTWAIT)
			return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
		})
		if err != nil {
			return
		}
		if failed != nil {
			continue
		}
		address, mac, ok := parseAdvertisement(packet[:size])
		if !ok {
			continue
		}
		if index, ok := arrival(control[:controlSize]); ok {
			heard(index, address, mac)
		}
	}
}

// parseAdvertisement returns whom a neighbour advertisement is about. It need not say where; then mac is nil.
func parseAdvertisement(packet []byte) (netip.Addr, net.HardwareAddr, bool) {
	if len(packet) < 24 || packet[0] != typeAdvertisement {
		return netip.Addr{}, nil, false
	}
	address := netip.AddrFrom16([16]byte(packet[8:24]))
	for options := packet[24:]; len(options) >= 8; {
		length := int(options[1]) * 8
		if length == 0 || length > len(options) {
			return netip.Addr{}, nil, false // RFC 4861 §7.1.2
		}
		if options[0] == optionTargetAddress && length == 8 {
			return address, net.HardwareAddr(options[2:8:8]), true
		}
		options = options[length:]
	}
	return address, nil, true
}

// arrival is the index of the interface by which a message came.
func arrival(control []byte) (int, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0, false
	}
	for _, message := range messages {
		if message.Header.Level == unix.IPPROTO_IPV6 && message.Header.Type == unix.IPV6_PKTINFO && len(message.Data) >= 20 {
			return int(binary.NativeEndian.Uint32(message.Data[16:])), true
		}
	}
	return 0, false
}
