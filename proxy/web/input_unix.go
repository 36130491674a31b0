//go:build unix

package web

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// readiness waits until a TCP connection has something to read, and only then borrows a buffer for it.
type readiness struct {
	raw  syscall.RawConn
	try  func(fd uintptr) bool // made once: a closure for each read would be an allocation
	look func(fd uintptr)
	ask  func(fd uintptr) bool
	put  func(fd uintptr) bool
	get  func(fd uintptr) bool
	in   *input
	wire []byte // what ask has to write yet
	to   []byte // where readInto reads to
	got  int
	sent int
	err  error
	one  [1]byte

	// Of write, which may run beside a read.
	out    []byte
	outErr error
}

func newReadiness(c *net.TCPConn) *readiness {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil // closed; the first read will say so
	}
	r := &readiness{raw: raw}
	r.try, r.look, r.ask, r.put, r.get = r.tryRead, r.peek, r.tryAsk, r.tryPut, r.tryGet
	return r
}

// exchange writes a request and reads the first bytes of its answer. It saves the attempt to read that is in vain, since nothing can
// be there yet: the poller is readied before the request is written, so that it misses nothing that comes after.
// sent is how much of the request was written; if that is not all, nothing was read. The error is errUsed, with nothing written, if the connection was closed
// by the server, or has bytes in it that nobody asked for: they would be taken for the answer.
func (r *readiness) exchange(in *input, wire []byte) (sent int, err error) {
	r.in, r.wire, r.sent, r.err = in, wire, 0, nil
	err = r.raw.Read(r.ask)
	r.wire = nil
	if err == nil {
		err = r.err
	}
	return r.sent, err
}

func (r *readiness) tryAsk(fd uintptr) bool {
	if r.wire == nil {
		return r.tryRead(fd)
	}
	if !r.idle(fd) {
		r.err = errUsed
		return true
	}
	n, err := writeFD(int(fd), r.wire)
	all := n == len(r.wire)
	r.sent, r.wire = n, nil
	if err != nil && !errors.Is(err, unix.EAGAIN) {
		r.err = errUsed // it has been closed since
		return true
	}
	return !all
}

// write writes all of p.
func (r *readiness) write(p []byte) (int, error) {
	r.out, r.outErr = p, nil
	err := r.raw.Write(r.put)
	n := len(p) - len(r.out)
	r.out = nil
	if err != nil {
		return n, err
	}
	return n, r.outErr
}

func (r *readiness) tryPut(fd uintptr) bool {
	for len(r.out) > 0 {
		n, err := writeFD(int(fd), r.out)
		r.out = r.out[n:]
		switch {
		case err == nil:
		case errors.Is(err, unix.EAGAIN):
			return false
		default:
			r.outErr = &net.OpError{Op: "write", Net: "tcp", Err: err}
			return true
		}
	}
	return true
}

// read waits for bytes and reads them into a borrowed buffer.
func (r *readiness) read(in *input) error {
	r.in, r.err = in, nil
	if err := r.raw.Read(r.try); err != nil {
		return err
	}
	return r.err
}

// tryRead reads what is there. It returns false to be called again when there is something.
func (r *readiness) tryRead(fd uintptr) bool {
	b := r.in.pool.get()
	n, err := readFD(int(fd), b.b)
	if n > 0 {
		b.w = n
		r.in.buf = b
		return true
	}
	r.in.pool.put(b)
	switch {
	case err == nil:
		r.err = io.EOF
	case errors.Is(err, unix.EAGAIN):
		return false
	default:
		r.err = &net.OpError{Op: "read", Net: "tcp", Err: err}
	}
	return true
}

// readInto waits for bytes and reads them into memory of the caller's.
func (r *readiness) readInto(p []byte) (int, error) {
	r.to, r.got, r.err = p, 0, nil
	err := r.raw.Read(r.get)
	r.to = nil
	if err == nil {
		err = r.err
	}
	return r.got, err
}

func (r *readiness) tryGet(fd uintptr) bool {
	n, err := readFD(int(fd), r.to)
	r.got = n
	switch {
	case n > 0:
	case err == nil:
		r.err = io.EOF
	case errors.Is(err, unix.EAGAIN):
		return false
	default:
		r.err = &net.OpError{Op: "read", Net: "tcp", Err: err}
	}
	return true
}

// alive tells whether a connection that idles is open and silent, as it has to be to be used.
func (r *readiness) alive() bool {
	r.err = nil
	return r.raw.Control(r.look) == nil && r.err == nil // whatever became of its deadline while it idled
}

func (r *readiness) peek(fd uintptr) {
	if !r.idle(fd) {
		r.err = errUsed
	}
}

// idle looks whether there is anything to read, which there must not be, nor the end. A byte that is there may as well be taken: the connection is of
// no use with it. (unix.Recvfrom, which could leave it there, allocates.)
func (r *readiness) idle(fd uintptr) bool {
	n, err := readFD(int(fd), r.one[:])
	return n <= 0 && errors.Is(err, unix.EAGAIN)
}

// peerState tells whether the other side of a connection has gone, or has closed its direction.
func peerState(c *net.TCPConn) (gone, half bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return true, true
	}
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: pollHangUp}}
		if n, err := unix.Poll(p, 0); n > 0 && err == nil {
			gone = p[0].Revents&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0
			half = p[0].Revents&pollHangUp != 0
		}
	})
	return gone || err != nil, half
}
