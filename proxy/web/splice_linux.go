package web

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// mostPipes is how many contents the kernel may carry at once. Each holds two files.
	mostPipes = 128
	pipeSize  = 1 << 20
)

// pipe is what splice(2) carries bytes through, so that they do not leave the kernel.
type pipe struct {
	r, w int
	held int // bytes in it
}

// pipes are those that are not in use, of those that there are.
type pipes struct {
	mu   sync.Mutex
	free []*pipe
	all  int
}

// get returns a pipe, or nil when as many as may be are in use.
func (p *pipes) get() *pipe {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		one := p.free[n-1]
		p.free = p.free[:n-1]
		return one
	}
	if p.all >= mostPipes {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	// Where that is not allowed it stays as it is, and more calls are needed.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	p.all++
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes a pipe back; one with bytes in it is of no use any more.
func (p *pipes) put(one *pipe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.held == 0 {
		p.free = append(p.free, one)
		return
	}
	one.close()
	p.all--
}

// close closes those that are not in use. The engine has no exchanges any more then.
func (p *pipes) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.free {
		one.close()
		p.all--
	}
	p.free = nil
}

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// carriage is the carrying of one content.
type carriage struct {
	pipe     *pipe
	left     int64 // to be read yet
	done     int64
	err      error
	from, to *net.TCPConn
	limit    time.Duration
	gone     func() bool // nobody wants it any more: a deadline that said so may have been overwritten
}

// carry moves n bytes from one connection to another. Neither side may stand still for longer than limit, if there is one. ok is false if
// no pipe is to be had, and nothing was done. Fewer bytes without an error are the source's end.
func (e *Engine) carry(to, from *input, n int64, limit time.Duration, l *link) (done int64, ok bool, err error) {
	p := e.pipes.get()
	if p == nil {
		return 0, false, nil
	}
	defer e.pipes.put(p)
	c := carriage{pipe: p, left: n, from: from.conn.(*net.TCPConn), to: to.conn.(*net.TCPConn), limit: limit, gone: l.isGone}
	defer func() {
		c.to.SetWriteDeadline(noTime)
		c.from.SetReadDeadline(noTime)
	}()
	for c.left > 0 && err == nil {
		runtime.Gosched() // more may come meanwhile, and each call is worth more then
		if err = c.fill(from); err == nil {
			err = c.drain(to)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return c.done, true, err
}

// end is when what is waited for now has to be over.
func (c *carriage) end() time.Time {
	if c.limit == 0 {
		return noTime
	}
	return time.Now().Add(c.limit)
}

// fill takes what the source has into the pipe, which is empty.
func (c *carriage) fill(from *input) error {
	c.from.SetReadDeadline(c.end())
	if c.gone() {
		return errGone
	}
	c.err = nil
	if err := from.wait.raw.Read(c.take); err != nil {
		return err
	}
	return c.err
}

func (c *carriage) take(fd uintptr) bool {
	n, err := splice(int(fd), c.pipe.w, min(c.left, pipeSize))
	switch {
	case n > 0:
		c.pipe.held = n
		c.left -= int64(n)
	case err == nil:
		c.err = io.EOF
	case errors.Is(err, unix.EAGAIN): // as the pipe is empty, it is the source that has nothing
		return false
	default:
		c.err = &net.OpError{Op: "splice", Net: "tcp", Err: err}
	}
	return true
}

// drain gives all that is in the pipe to the other side. One that is slow has its time for each part that it takes.
func (c *carriage) drain(to *input) error {
	for {
		before := c.done
		c.to.SetWriteDeadline(c.end())
		if c.gone() {
			return errGone
		}
		c.err = nil
		err := to.wait.raw.Write(c.give)
		if err == nil {
			return c.err
		}
		if !isTimeout(err) || c.done == before {
			return err
		}
	}
}

func (c *carriage) give(fd uintptr) bool {
	for c.pipe.held > 0 {
		n, err := splice(c.pipe.r, int(fd), int64(c.pipe.held))
		switch {
		case n > 0:
			c.pipe.held -= n
			c.done += int64(n)
		case errors.Is(err, unix.EAGAIN):
			return false
		default:
			c.err = &net.OpError{Op: "splice", Net: "tcp", Err: err}
			return true
		}
	}
	return true
}

func splice(from, to int, n int64) (int, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, int(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if err != unix.EINTR {
			return int(max(moved, 0)), err
		}
	}
}
