package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// From linux/sock_diag.h and linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	sockDestroy      = 21

	inetDiagRequestSize = 56
	inetDiagReplySize   = 72
	inetDiagBytecode    = 1 // INET_DIAG_REQ_BYTECODE
	bytecodeSource      = 7 // INET_DIAG_BC_S_COND
	identityAt          = 8 // of the request; 4 in the reply
	identitySize        = 48

	// Connections in which something may still come from the client: not LISTEN, CLOSE, or TIME_WAIT.
	statesThatMatter = 1<<unix.BPF_TCP_ESTABLISHED | 1<<unix.BPF_TCP_SYN_RECV | 1<<unix.BPF_TCP_FIN_WAIT1 |
		1<<unix.BPF_TCP_FIN_WAIT2 | 1<<unix.BPF_TCP_CLOSE_WAIT | 1<<unix.BPF_TCP_LAST_ACK | 1<<unix.BPF_TCP_CLOSING
)

// socket is a TCP socket as the kernel names it.
type socket struct {
	family   byte
	identity [identitySize]byte
}

// flow is what the socket's name says about its connection.
func (s *socket) flow() Flow {
	client := netip.AddrFrom16([16]byte(s.identity[20:36]))
	if s.family == unix.AF_INET {
		client = netip.AddrFrom4([4]byte(s.identity[20:24]))
	}
	return Flow{
		Client: netip.AddrPortFrom(client.Unmap(), binary.BigEndian.Uint16(s.identity[2:])),
		Port:   binary.BigEndian.Uint16(s.identity[0:]),
	}
}

// sockets lists TCP connections to the address. An IPv4 connection that a listener for both families accepted is an
// IPv6 socket to the kernel.
func sockets(address netip.Addr, most int) ([]socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var list []socket
	if address.Is4() {
		if list, err = listSockets(fd, unix.AF_INET, address, list, most); err != nil {
			return nil, err
		}
	}
	return listSockets(fd, unix.AF_INET6, address, list, most)
}

func diagRequest(kind uint16, flags uint16, family byte) []byte {
	out := make([]byte, 0, 128)
	out = binary.NativeEndian.AppendUint32(out, 0)
	out = binary.NativeEndian.AppendUint16(out, kind)
	out = binary.NativeEndian.AppendUint16(out, unix.NLM_F_REQUEST|flags)
	out = append(out, 0, 0, 0, 0, 0, 0, 0, 0)
	out = append(out, family, unix.IPPROTO_TCP, 0, 0)
	out = binary.NativeEndian.AppendUint32(out, statesThatMatter)
	return append(out, make([]byte, identitySize)...)
}

func listSockets(fd int, family byte, address netip.Addr, list []socket, most int) ([]socket, error) {
	request := diagRequest(sockDiagByFamily, unix.NLM_F_DUMP, family)
	// One condition on the local address; if it does not hold, jump to behind the end, which means no.
	host := address.AsSlice()
	hostFamily := byte(unix.AF_INET)
	if address.Is6() {
		hostFamily = unix.AF_INET6
	}
	length := 4 + 8 + len(host)
	request = binary.NativeEndian.AppendUint16(request, uint16(4+length))
	request = binary.NativeEndian.AppendUint16(request, inetDiagBytecode)
	request = append(request, bytecodeSource, byte(length))
	request = binary.NativeEndian.AppendUint16(request, uint16(length+4))
	request = append(request, hostFamily, byte(address.BitLen()), 0, 0)
	anyPort := int32(-1)
	request = binary.NativeEndian.AppendUint32(request, uint32(anyPort))
	request = append(request, host...)
	binary.NativeEndian.PutUint32(request, uint32(len(request)))
	if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	in := make([]byte, 128<<10)
	for {
		var size int
		err := retry(func() (err error) {
			size, _, err = unix.Recvfrom(fd, in, 0)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		for rest := in[:size]; len(rest) >= unix.NLMSG_HDRLEN; {
			length := int(binary.NativeEndian.Uint32(rest))
			if length < unix.NLMSG_HDRLEN || length > len(rest) {
				return nil, fmt.Errorf("list connections: %w", unix.EBADMSG)
			}
			body := rest[unix.NLMSG_HDRLEN:length]
			switch binary.NativeEndian.Uint16(rest[4:]) {
			case unix.NLMSG_DONE:
				return list, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return nil, fmt.Errorf("list connections: %w", unix.EBADMSG)
				}
				errno := unix.Errno(-int32(binary.NativeEndian.Uint32(body)))
				if errno == unix.ENOENT && family == unix.AF_INET6 {
					return list, nil // a host without IPv6
				}
				return nil, fmt.Errorf("list connections: %w", errno)
			case sockDiagByFamily:
				if len(body) >= inetDiagReplySize && len(list) < most {
					list = append(list, socket{family: body[0], identity: [identitySize]byte(body[4:])})
				}
			}
			rest = rest[min(align(length), len(rest)):]
		}
	}
}

// destroy closes the connections with a reset to either side. It returns how many there were to close, and
// ErrUnsupported if the kernel was built without INET_DIAG_DESTROY.
func destroy(list []socket) (int, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("close connections: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	closed := 0
	in := make([]byte, 4<<10)
	for i := range list {
		request := diagRequest(sockDestroy, unix.NLM_F_ACK, list[i].family)
		copy(request[unix.NLMSG_HDRLEN+identityAt:], list[i].identity[:])
		binary.NativeEndian.PutUint32(request, uint32(len(request)))
		if err := unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return closed, fmt.Errorf("close connections: %w", err)
		}
		size, _, err := unix.Recvfrom(fd, in, 0)
		if err != nil || size < unix.NLMSG_HDRLEN+4 {
			return closed, fmt.Errorf("close connections: %w", errors.Join(err, unix.EBADMSG))
		}
		switch errno := unix.Errno(-int32(binary.NativeEndian.Uint32(in[unix.NLMSG_HDRLEN:]))); errno {
		case 0:
			closed++
		case unix.EOPNOTSUPP:
			return closed, fmt.Errorf("close connections: %w", ErrUnsupported)
		default: // it has ended meanwhile
		}
	}
	return closed, nil
}
