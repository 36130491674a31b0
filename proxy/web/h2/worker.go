package h2

import (
	"fmt"
	"runtime/debug"
	"time"

	"golang.org/x/net/http2"
)

// mostParked is how many goroutines wait for a connection's next streams.
const mostParked = 64

// start runs a stream's handler, on a goroutine that waits for work if there is one. The mutex is held.
func (c *Conn) start(s *Stream) {
	c.running++
	if c.parked > 0 {
		c.parked--
		c.work <- s // has room for as many as ever wait
		return
	}
	c.wg.Add(1)
	go c.serve(s)
}

// serve runs handlers, one after the other.
func (c *Conn) serve(s *Stream) {
	defer c.wg.Done()
	for s != nil {
		c.handle(s)
		s.over()
		c.mu.Lock()
		park := c.err == nil && c.parked < mostParked
		if park {
			c.parked++
			if c.work == nil {
				c.work = make(chan *Stream, mostParked)
			}
		}
		work := c.work
		c.mu.Unlock()
		if !park {
			return
		}
		s = <-work
	}
}

// handle calls the handler. One that panics loses its stream only.
func (c *Conn) handle(s *Stream) {
	defer func() {
		if p := recover(); p != nil {
			c.o.Log.Error("h2 handler panicked", "client", c.nc.RemoteAddr(), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.Reset(http2.ErrCodeInternal)
		}
	}()
	c.handler.ServeStream(s)
}

// dismiss sends the goroutines home that wait for work. The mutex is held.
func (c *Conn) dismiss() {
	for ; c.parked > 0; c.parked-- {
		c.work <- nil
	}
}

// done counts a handler that has returned. The mutex is held.
func (c *Conn) done() {
	c.running--
	if c.running == 0 {
		c.idle = time.Now()
		c.endIfDone()
	}
}
