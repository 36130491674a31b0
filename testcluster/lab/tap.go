//go:build linux

package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// tap listens at all ports of the switch and reports every frame in which a station claims an address, in the order
// in which they came, with the times at which the kernel received them. It knows the station by the port that the
// frame came in at, whatever the frame says; and it sees frames that the switch then drops, so that a host whose
// claims nobody hears is seen to make them all the same.
type tap struct {
	lab     *Lab
	address netip.Addr
	file    *os.File
	report  func(Sighting)

	bridge int
	ports  map[int]string
	seen   map[flow]bool
}

// mostFlows bounds what a tap remembers.
const mostFlows = 1 << 20

// tapBuffer holds some ten thousand frames while the test waits for a processor.
const tapBuffer = 8 << 20

func openTap(l *Lab, address netip.Addr, report func(Sighting)) (*tap, error) {
	program, err := bpf.Assemble(tapFilter())
	if err != nil {
		return nil, fmt.Errorf("assemble the tap's filter: %w", err)
	}
	t := &tap{lab: l, address: address, report: report, bridge: l.lan.bridge.Index, seen: map[flow]bool{}}
	err = l.lan.ns.do(func() error {
		// Protocol 0 receives nothing until the filter stands.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		t.file = os.NewFile(uintptr(fd), "tap")
		raw := make([]unix.SockFilter, len(program))
		for i, p := range program {
			raw[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
		}
		err = errors.Join(
			unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]}),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, tapBuffer),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL)}),
		)
		if err != nil {
			t.file.Close()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("tap the switch: %w", err)
	}
	return t, nil
}

func networkOrder(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

// tapFilter lets through what may be a claim, and came in: ARP, ICMPv6 and SYN-ACKs.
func tapFilter() []bpf.Instruction {
	const yes, no = 20, 21
	var program []bpf.Instruction
	do := func(i bpf.Instruction) { program = append(program, i) }
	// jump compares, and goes to an instruction by its number.
	jump := func(condition bpf.JumpTest, value uint32, then, otherwise int) {
		next := len(program) + 1
		do(bpf.JumpIf{Cond: condition, Val: value, SkipTrue: uint8(then - next), SkipFalse: uint8(otherwise - next)})
	}
	do(bpf.LoadExtension{Num: bpf.ExtType})                       // 0
	jump(bpf.JumpEqual, unix.PACKET_OUTGOING, no, 2)              // 1
	do(bpf.LoadAbsolute{Off: 12, Size: 2})                        // 2
	jump(bpf.JumpEqual, etherARP, yes, 4)                         // 3
	jump(bpf.JumpEqual, etherIPv4, 5, 13)                         // 4
	do(bpf.LoadAbsolute{Off: etherHead + 9, Size: 1})             // 5
	jump(bpf.JumpEqual, protocolTCP, 7, no)                       // 6
	do(bpf.LoadAbsolute{Off: etherHead + 6, Size: 2})             // 7
	jump(bpf.JumpBitsSet, 0x1fff, no, 9)                          // 8: a later fragment
	do(bpf.LoadMemShift{Off: etherHead})                          // 9
	do(bpf.LoadIndirect{Off: etherHead + 13, Size: 1})            // 10
	do(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: tcpFlags})        // 11
	jump(bpf.JumpEqual, synACK, yes, no)                          // 12
	jump(bpf.JumpEqual, etherIPv6, 14, no)                        // 13
	do(bpf.LoadAbsolute{Off: etherHead + 6, Size: 1})             // 14
	jump(bpf.JumpEqual, protocolICMPv6, yes, 16)                  // 15
	jump(bpf.JumpEqual, protocolTCP, 17, no)                      // 16
	do(bpf.LoadAbsolute{Off: etherHead + ipv6Head + 13, Size: 1}) // 17
	do(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: tcpFlags})        // 18
	jump(bpf.JumpEqual, synACK, yes, no)                          // 19
	do(bpf.RetConstant{Val: 1 << 16})                             // 20: yes
	do(bpf.RetConstant{Val: 0})                                   // 21: no
	return program
}

// run reports until close.
func (t *tap) run() {
	conn, err := t.file.SyscallConn()
	if err != nil {
		return
	}
	frame, control := make([]byte, 256), make([]byte, 128)
	for {
		var length, controlLength int
		var sender unix.Sockaddr
		var failed error
		err := conn.Read(func(fd uintptr) bool {
			length, controlLength, _, sender, failed = unix.Recvmsg(int(fd), frame, control, unix.MSG_DONTWAIT)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil {
			return // closed
		}
		from, ok := sender.(*unix.SockaddrLinklayer)
		if failed != nil || !ok || from.Ifindex == t.bridge {
			continue // ENETDOWN, when a port goes; the bridge itself repeats what goes to all
		}
		t.take(frame[:length], t.lab.received(control[:controlLength]), from.Ifindex)
	}
}

func (t *tap) take(frame []byte, at Moment, port int) {
	c, ok := readClaim(frame)
	if !ok || c.address != t.address {
		return
	}
	if c.flow != (flow{}) {
		if t.seen[c.flow] || len(t.seen) >= mostFlows {
			return // repeats what it said when it was allowed to
		}
		t.seen[c.flow] = true
	}
	t.report(Sighting{From: at, Until: at, Station: t.station(port, c.mac), What: c.what})
}

// station names the host at a port.
func (t *tap) station(port int, mac [6]byte) string {
	name, ok := t.ports[port]
	if !ok {
		if ports, err := t.lab.lan.ports(); err == nil {
			t.ports = ports
		}
		if name, ok = t.ports[port]; !ok {
			return t.lab.hostWith(mac) // unplugged meanwhile
		}
	}
	return name
}

func (l *Lab) hostWith(mac [6]byte) string {
	for _, h := range l.hosts() {
		if [6]byte(h.MAC) == mac {
			return h.Name
		}
	}
	return fmt.Sprintf("% x", mac)
}

func (t *tap) close() { t.file.Close() }

// received is when the kernel received a frame, by its control message; without one, now.
func (l *Lab) received(control []byte) Moment {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return l.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			sec, nsec := binary.NativeEndian.Uint64(m.Data), binary.NativeEndian.Uint64(m.Data[8:])
			return l.At(time.Unix(int64(sec), int64(nsec)))
		}
	}
	return l.Now()
}

// At converts a time of day of just now, such as records and logs have. Between the readings of the clocks the thread may
// have to wait, so the closest of a few counts.
func (l *Lab) At(then time.Time) Moment {
	var best, width Moment
	for i := range 4 {
		before := l.Now()
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			return before
		}
		after := l.Now()
		if w := after - before; i == 0 || w < width {
			width, best = w, before+w/2-Moment(now.Nano()-then.UnixNano())
		}
	}
	return best
}
