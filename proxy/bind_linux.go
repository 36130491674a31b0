package proxy

import (
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxQueued bounds what is taken out of a socket's queue when it is closed.
const maxQueued = 4096

// freebind lets a socket be bound to an address that the host does not have yet (ip(7), IP_FREEBIND): a
// virtual address may come later, and its listeners have to be there when it does.
func freebind(network, _ string, c syscall.RawConn) error {
	if strings.HasSuffix(network, "6") {
		return setOption(c, unix.SOL_IPV6, unix.IPV6_FREEBIND, 1)
	}
	return setOption(c, unix.SOL_IP, unix.IP_FREEBIND, 1)
}

// share lets another socket of ours be bound to an address that overlaps with this one's, or ends that. Both
// need it at the moment of binding (socket(7), SO_REUSEPORT). It must not stay: another process of the same
// user could share the port as well, and take half of the connections.
func share(c syscall.RawConn, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return setOption(c, unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
}

func setOption(c syscall.RawConn, level, name, value int) error {
	var fault error
	err := c.Control(func(fd uintptr) { fault = unix.SetsockoptInt(int(fd), level, name, value) })
	if err != nil {
		return err
	}
	return fault
}

// queued takes the connections that wait in a socket's queue. The kernel would reset them when the socket is
// closed, though their clients think that they are connected.
func queued(ln *net.TCPListener) []*net.TCPConn {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil
	}
	var fds []int
	raw.Control(func(fd uintptr) {
		for len(fds) < maxQueued {
			c, _, err := unix.Accept4(int(fd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch err {
			case nil:
				fds = append(fds, c)
			case unix.EINTR, unix.ECONNABORTED:
			default:
				return
			}
		}
	})
	conns := make([]*net.TCPConn, 0, len(fds))
	for _, fd := range fds {
		f := os.NewFile(uintptr(fd), "tcp")
		c, err := net.FileConn(f) // of a duplicate
		f.Close()
		if err != nil {
			continue
		}
		conns = append(conns, c.(*net.TCPConn))
	}
	return conns
}
