package h2

import (
	"errors"
	"os"
	"runtime"
	"time"
)

const (
	smallOutput = 4 << 10
	fullOutput  = 64 << 10                       // with this much waiting, handlers wait
	largeOutput = fullOutput + maxFrame + 4<<10  // a frame more, and what answers the client's frames
	stuckOutput = fullOutput + maxFrame + 32<<10 // with this much waiting, the client is cut off
	writePiece  = 16 << 10                       // what a client has to take in WriteTimeout, over TLS
	rounds      = 8                              // how often a handler writes before somebody else has to
)

// output is a buffer of frames.
type output struct{ b []byte }

func (o *output) empty() bool { return o == nil || len(o.b) == 0 }

// room makes the output ready to take n more bytes.
func (c *Conn) room(n int) {
	switch {
	case c.out == nil && n <= smallOutput:
		c.out = c.o.small.Get().(*output)
	case c.out == nil:
		c.out = c.o.large.Get().(*output)
	case cap(c.out.b)-len(c.out.b) < n && cap(c.out.b) < largeOutput:
		small := c.out
		c.out = c.o.large.Get().(*output)
		c.out.b = append(c.out.b, small.b...)
		c.release(small)
	}
}

// release gives a buffer back, if it did not grow beyond what the pool is for.
func (c *Conn) release(o *output) {
	size := cap(o.b)
	o.b = o.b[:0]
	switch {
	case size == smallOutput:
		c.o.small.Put(o)
	case size < 2*largeOutput && size >= largeOutput:
		c.o.large.Put(o)
	}
}

// full tells whether handlers have to wait before they append more.
func (c *Conn) full() bool { return c.out != nil && len(c.out.b) >= fullOutput }

// flush writes what has gathered, unless somebody is at it, who then writes this too. The mutex is held, but not while it writes.
func (c *Conn) flush() {
	if c.writing || c.failed || c.out.empty() {
		return
	}
	c.writing = true
	if c.running > 1 {
		// Others that are ready to run may have something to send as well: letting them go first saves a third of a proxy's CPU with 20
		// streams a connection. Where there are none it costs next to nothing.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	for range rounds {
		if !c.writeOnce() {
			return
		}
	}
	c.wg.Add(1) // the caller holds a handler's or the reader's place in wg
	go c.drain()
}

// kick sees to it that what has gathered is written, and does not wait. The mutex is held.
func (c *Conn) kick() {
	if c.writing || c.failed || c.out.empty() {
		return
	}
	c.writing = true
	c.wg.Add(1)
	go c.drain()
}

// drain writes until nothing is left.
func (c *Conn) drain() {
	defer c.wg.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.writeOnce() {
	}
}

// writeOnce writes what has gathered, and tells whether there is more to write. If not, the caller has ceased to be the writer.
func (c *Conn) writeOnce() bool {
	o := c.out
	if o.empty() || c.failed {
		c.writing = false
		if o != nil && len(o.b) == 0 {
			c.release(o)
			c.out = nil
		}
		c.flushed.Broadcast()
		return false
	}
	c.out = nil
	c.waitOut.wake()
	c.extend(time.Now())
	c.mu.Unlock()
	err := c.write(o.b)
	c.mu.Lock()
	c.release(o)
	if err != nil {
		c.failed = true
		if c.err == nil {
			c.err = &endError{err}
		}
		c.cut() // the reader notices, and does the rest
	}
	return true
}

// write writes to the network. A client that takes something has WriteTimeout anew.
func (c *Conn) write(b []byte) error {
	for len(b) > 0 {
		piece := b
		if c.secure && len(piece) > writePiece {
			piece = piece[:writePiece]
		}
		n, err := c.nc.Write(piece)
		b = b[n:]
		if err != nil && (c.secure || n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
		if len(b) > 0 {
			c.mu.Lock()
			c.extend(time.Now())
			c.mu.Unlock()
		}
	}
	return nil
}

// extend moves the write deadline, if it has come nearer than WriteTimeout: so once in a while, and not with every write.
func (c *Conn) extend(now time.Time) {
	d := c.o.WriteTimeout
	if c.err != nil || c.writeBy.Sub(now) >= d {
		return
	}
	c.writeBy = now.Add(d + d/4)
	_ = c.nc.SetWriteDeadline(c.writeBy)
}
