package vip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// catch keeps the SYNs that arrive for an address after Linger has closed it to them, and passes them on to the next
// holder. Its client would repeat a lost one only after a second (RFC 6298 §2.1).
//
// What is passed on and what goes on here are apart:
//
//	C1  From Prepare on, the guard remembers every SYN that it lets in, in the set "fresh" (guard.remember).
//	C2  Then the socket is opened, and then the guard is closed, in one transaction with the end of C1. The kernel gives a frame to the
//	    sockets of its protocol and interface after it has given it to IP. So what the closed guard drops, the socket gets.
//	C3  A SYN that the socket got too although the guard let it in (C1), or lets it in now since it is of a connection that goes on
//	    here, is of a flow that is listed once the guard is closed: in linger.flows, to which addFresh has added "fresh". Linger
//	    returns only then, and nothing is passed on before. SYNs of such flows are never passed on: the next holder would
//	    take one for the beginning of a new connection, and forget that the flow is to be forwarded (guard.passOn).
//
// So each SYN reaches exactly one of the two kernels. Only a frame that the kernel had already sorted when the socket was opened, and that the
// guard sees when it is closed, is lost, as before: they are at least a system call apart.
type catch struct {
	file *os.File
	raw  syscall.RawConn
	own  net.HardwareAddr

	mu    sync.Mutex
	kept  [][]byte     // as the socket gave them
	place map[Flow]int // in kept
	known map[Flow]struct{}
	to    net.HardwareAddr // nil: the next holder does not answer yet
	until time.Time
	over  bool
}

const (
	mostCaught = 4096
	mostSYN    = 1024 // bytes of a frame
	// catchLife is for how long SYNs are kept, and for how long others are passed on after that. Clients have repeated theirs by then.
	catchLife = 2 * time.Second
	// catchBuffer holds mostCaught frames with what the kernel adds to each.
	catchBuffer = mostCaught * 2048

	// The header before each frame tells which part of its checksum is still to be computed, if the sender left that to
	// its interface (struct virtio_net_hdr in linux/virtio_net.h; packet(7) has no more of it than the name).
	vnetHeader  = 10
	vnetGSOType = 1 // offset
	etherHeader = 14
)

// openCatch begins to keep SYNs. The caller runs it.
func openCatch(on *link, address netip.Addr) (*catch, error) {
	// Protocol 0: it hears nothing before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	c := &catch{file: os.NewFile(uintptr(fd), "catch"), own: on.mac, place: map[Flow]int{}, until: time.Now().Add(catchLife)}
	protocol := uint16(unix.ETH_P_IP)
	if address.Is6() {
		protocol = unix.ETH_P_IPV6
	}
	if err = attach(fd, synFilter(address)); err == nil {
		err = errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, catchBuffer),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, catchBuffer),
		)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(protocol), Ifindex: on.index})
	}
	if err == nil {
		c.raw, err = c.file.SyscallConn()
	}
	if err = errors.Join(err, c.file.SetReadDeadline(c.until)); err != nil {
		_ = c.file.Close()
		return nil, fmt.Errorf("catch SYNs on %s: %w", on.name, err)
	}
	return c, nil
}

// synFilter lets through what was sent to this station, is not longer than mostSYN, and is the first segment of a TCP connection to the
// address, as opening has it: not a fragment, and in IPv6 without extension headers.
func synFilter(address netip.Addr) []bpf.Instruction {
	type test struct {
		load bpf.Instruction
		mask uint32 // 0: all
		is   uint32
	}
	tests := []test{{load: bpf.LoadExtension{Num: bpf.ExtType}, is: unix.PACKET_HOST}}
	var flags bpf.Instruction
	if address.Is4() {
		tests = append(tests,
			test{load: bpf.LoadAbsolute{Off: etherHeader + 9, Size: 1}, is: unix.IPPROTO_TCP},
			test{load: bpf.LoadAbsolute{Off: etherHeader + 6, Size: 2}, mask: 0x3fff}, // more fragments, or not the first
		)
		flags = bpf.LoadIndirect{Off: etherHeader + 13, Size: 1}
	} else {
		tests = append(tests, test{load: bpf.LoadAbsolute{Off: etherHeader + 6, Size: 1}, is: unix.IPPROTO_TCP})
		flags = bpf.LoadAbsolute{Off: etherHeader + 40 + 13, Size: 1}
	}
	to := address.AsSlice()
	at := uint32(etherHeader + 16)
	if address.Is6() {
		at = etherHeader + 24
	}
	for i := 0; i < len(to); i += 4 {
		tests = append(tests, test{load: bpf.LoadAbsolute{Off: at + uint32(i), Size: 4}, is: binary.BigEndian.Uint32(to[i:])})
	}
	tests = append(tests, test{load: flags, mask: 0x12, is: 0x02})

	program := []bpf.Instruction{
		bpf.LoadExtension{Num: bpf.ExtLen},
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: mostSYN, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	if address.Is4() {
		program = append(program, bpf.LoadMemShift{Off: etherHeader}) // X is the length of the IP header
	}
	for _, each := range tests {
		program = append(program, each.load)
		if each.mask != 0 {
			program = append(program, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: each.mask})
		}
		program = append(program, bpf.JumpIf{Cond: bpf.JumpEqual, Val: each.is, SkipTrue: 1}, bpf.RetConstant{Val: 0})
	}
	return append(program, bpf.RetConstant{Val: mostSYN})
}

// run receives until stop, or until nothing is waited for any more.
func (c *catch) run() {
	in := make([]byte, vnetHeader+mostSYN)
	for {
		size, err := c.file.Read(in)
		if err == nil {
			c.receive(in[:size])
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && c.goesOn() {
			continue // pass has moved the deadline in this moment
		}
		c.stop() // or the interface is gone
		_ = c.file.Close()
		return
	}
}

func (c *catch) goesOn() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.over && time.Now().Before(c.until)
}

// stop discards what is kept. When it returns, nothing is passed on any more; the socket is closed by run, since the kernel takes its
// time for that.
func (c *catch) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over, c.kept, c.place, c.known = true, nil, nil, nil
	_ = c.file.SetReadDeadline(time.Unix(1, 0)) // it may be closed
}

// settle says whose SYNs the kernel here takes itself.
func (c *catch) settle(known map[Flow]struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = known
}

// receive keeps a frame or passes it on.
func (c *catch) receive(frame []byte) {
	flow, ok := parseSYN(frame)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch i, again := c.place[flow]; {
	case c.over:
	case c.to != nil:
		// What comes from the next holder must not go back to it, or it could go round for ever.
		if _, here := c.known[flow]; !here && !bytes.Equal(frame[vnetHeader+6:vnetHeader+12], c.to) {
			_ = c.send(frame) // the client repeats it
		}
	case again: // repeated: the newer one counts
		c.kept[i] = slices.Clone(frame)
	case len(c.kept) < mostCaught:
		c.place[flow] = len(c.kept)
		c.kept = append(c.kept, slices.Clone(frame))
	}
}

// pass sends what was kept, and makes receive do the same at once.
func (c *catch) pass(to net.HardwareAddr) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || bytes.Equal(c.to, to) {
		return nil
	}
	if c.to == nil {
		c.until = time.Now().Add(catchLife)
		_ = c.file.SetReadDeadline(c.until)
	}
	c.to = slices.Clone(to)
	var failed error
	lost := 0
	for _, frame := range c.kept {
		flow, _ := parseSYN(frame)
		if _, here := c.known[flow]; here {
			continue
		}
		if err := c.send(frame); err != nil {
			failed = err
			lost++
		}
	}
	total := len(c.kept)
	c.kept, c.place = nil, nil
	if failed != nil {
		return fmt.Errorf("%d of %d first packets, which their clients will repeat: %w", lost, total, failed)
	}
	return nil
}

// send sends a frame with new Ethernet addresses: the source too, or switches would learn the client at our port. It does not wait.
func (c *catch) send(frame []byte) error {
	copy(frame[vnetHeader:], c.to)
	copy(frame[vnetHeader+6:], c.own)
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		failed = retry(func() error {
			_, err := unix.Write(int(fd), frame)
			return err
		})
	})
	return errors.Join(err, failed)
}

// parseSYN returns which connection a frame is about, of those that synFilter lets through.
func parseSYN(frame []byte) (flow Flow, ok bool) {
	if len(frame) < vnetHeader+etherHeader+20 || frame[vnetGSOType] != unix.VIRTIO_NET_HDR_GSO_NONE {
		return flow, false
	}
	packet := frame[vnetHeader+etherHeader:]
	var client netip.Addr
	var segment []byte
	switch header := int(packet[0]&0x0f) * 4; {
	case packet[0]>>4 == 4 && header >= 20 && len(packet) >= header+20:
		client, segment = netip.AddrFrom4([4]byte(packet[12:])), packet[header:]
	case packet[0]>>4 == 6 && len(packet) >= 60:
		client, segment = netip.AddrFrom16([16]byte(packet[8:])), packet[40:]
	default:
		return flow, false
	}
	return Flow{
		Client: netip.AddrPortFrom(client, binary.BigEndian.Uint16(segment)),
		Port:   binary.BigEndian.Uint16(segment[2:]),
	}, true
}

// startCatch begins to keep SYNs for the address. Without it a move only takes longer for those who connect during it.
func (k *Kernel) startCatch(p *place) {
	k.endCatch(p)
	c, err := openCatch(p.link, p.address)
	if err != nil {
		k.opt.Log.Warn("connections that are opened during a move will take a second", "vip", p.address, "error", err)
		return
	}
	p.catch = c
	k.done.Go(c.run)
}

func (k *Kernel) endCatch(p *place) {
	if p.catch != nil {
		p.catch.stop()
		p.catch = nil
	}
}

// Replay tells where the next holder is, as soon as that has taken the address: connections that clients tried to open here
// since Linger go on there without delay, and those that they try to open here within the next 2 s too. Linger keeps 4096 for 2 s at
// most. It does nothing if the address was not moved away, or the time is over, or it was told the same before. An error means
// that some clients have to try again, which they do by themselves.
func (k *Kernel) Replay(address netip.Addr, mac net.HardwareAddr) error {
	k.mu.Lock()
	p, err := k.place(address)
	var c *catch
	if p != nil {
		c = p.catch
	}
	k.mu.Unlock()
	switch {
	case errors.Is(err, ErrUnknown):
		return nil
	case err != nil:
		return fmt.Errorf("pass on connections of %w", err)
	case len(mac) != 6 || mac[0]&1 != 0 || bytes.Equal(mac, make([]byte, 6)):
		return fmt.Errorf("pass on connections of vip %s: %q is not the Ethernet address of a station", address, mac)
	case c == nil:
		return nil
	case bytes.Equal(mac, c.own):
		return fmt.Errorf("pass on connections of vip %s: %s is this node's own interface", address, mac)
	}
	if err := c.pass(mac); err != nil { // without the Kernel's lock
		return fmt.Errorf("pass on connections of vip %s to %s: %w", address, mac, err)
	}
	return nil
}

// MAC is the Ethernet address of the interface that holds the address or would hold it. It fails if there is none.
func (k *Kernel) MAC(address netip.Addr) (net.HardwareAddr, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.place(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("find the interface of %w", err)
	case p.link == nil:
		return nil, fmt.Errorf("find the interface of %w", p.problem)
	case len(p.link.mac) != 6:
		return nil, fmt.Errorf("vip %s: %s is not an Ethernet interface: %w", address, p.link.name, ErrUnsupported)
	}
	return slices.Clone(p.link.mac), nil
}
