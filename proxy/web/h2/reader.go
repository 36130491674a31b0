package h2

import (
	"bytes"
	"errors"
	"os"
	"time"

	"golang.org/x/net/http2"
)

// tickEvery is how often the reader of a connection that has not been idle for long looks at the clock.
const tickEvery = 2 * time.Second

// input is a buffer for what comes from the network. It holds the longest frame that we accept.
type input struct{ b [32 << 10]byte }

// read reads and handles frames until the connection ends. The error is never nil: a *ConnError or an *endError.
func (c *Conn) read() error {
	c.takePreread()
	c.headSince = c.heard
	for preface := []byte(http2.ClientPreface); ; {
		got := c.input()
		n := min(len(got), len(preface))
		if !bytes.Equal(got[:n], preface[:n]) {
			return &ConnError{http2.ErrCodeProtocol, "no HTTP/2 preface"} // RFC 9113 §3.4
		}
		if n == len(preface) {
			c.r += n
			break
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	for {
		for {
			some, err := c.next()
			if err != nil {
				return err
			}
			if !some {
				break
			}
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// takePreread puts what was read before our time where the rest will come.
func (c *Conn) takePreread() {
	if len(c.preread) == 0 {
		return
	}
	c.in = c.o.inputs.Get().(*input)
	c.w = copy(c.in.b[:], c.preread)
	c.preread = c.preread[c.w:]
}

// input is what was read and not handled yet.
func (c *Conn) input() []byte {
	if c.in == nil {
		return nil
	}
	return c.in.b[c.r:c.w]
}

// next handles a frame, if there is a whole one.
func (c *Conn) next() (some bool, err error) {
	got := c.input()
	if len(got) < frameHead {
		c.await(len(got) > 0)
		return false, nil
	}
	f := parseFrame(got)
	if f.length > maxFrame {
		return false, &ConnError{http2.ErrCodeFrameSize, "frame too long"}
	}
	if len(got) < frameHead+f.length {
		c.await(f.kind == http2.FrameHeaders || f.kind == http2.FrameContinuation)
		return false, nil
	}
	c.r += frameHead + f.length
	err = c.take(f, got[frameHead:frameHead+f.length])
	if !c.block.open && c.settled {
		c.headSince = time.Time{}
	}
	return err == nil, err
}

// await notes that a piece of something has come that must not take longer than HeadTimeout. Content may.
func (c *Conn) await(piece bool) {
	if piece && c.headSince.IsZero() {
		c.headSince = c.heard
	}
}

// fill waits for more input.
func (c *Conn) fill() error {
	c.mu.Lock()
	c.kick()
	stuck := c.out != nil && len(c.out.b) > stuckOutput
	c.mu.Unlock()
	if stuck {
		return &ConnError{http2.ErrCodeEnhanceYourCalm, "takes no answers to its frames"}
	}
	for {
		if len(c.preread) > 0 { // what was read before was more than a buffer's worth
			c.compact()
			n := copy(c.in.b[c.w:], c.preread)
			c.preread = c.preread[n:]
			c.w += n
			return nil
		}
		if err := c.arm(time.Now()); err != nil {
			return err
		}
		n, err := c.readSome()
		if n > 0 {
			c.heard, c.pinged = time.Now(), time.Time{}
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := c.tick(time.Now()); err != nil {
				return err
			}
		default:
			return &endError{err}
		}
	}
}

// readSome reads what has come. While the connection has no buffer it waits with a little one.
func (c *Conn) readSome() (int, error) {
	if c.in != nil {
		c.compact()
		n, err := c.nc.Read(c.in.b[c.w:])
		c.w += n
		return n, err
	}
	n, err := c.nc.Read(c.little[:])
	if n > 0 {
		c.in = c.o.inputs.Get().(*input)
		c.r, c.w = 0, copy(c.in.b[:], c.little[:n])
	}
	return n, err
}

// compact makes room for the longest frame.
func (c *Conn) compact() {
	if c.r == c.w {
		c.r, c.w = 0, 0
	} else if c.r > 0 && len(c.in.b)-c.r < frameHead+maxFrame {
		c.w = copy(c.in.b[:], c.in.b[c.r:c.w])
		c.r = 0
	}
}

func (c *Conn) releaseInput() {
	if c.in != nil && c.r == c.w {
		c.o.inputs.Put(c.in)
		c.in, c.r, c.w = nil, 0, 0
	}
}

// arm sets the read deadline to when there will be something to look after. One that is set for an earlier time stays, so that the
// steady state sets none.
func (c *Conn) arm(now time.Time) error {
	at := c.nextTick(now)
	if c.armed.IsZero() || at.Before(c.armed) || c.armed.Before(now) {
		c.armed = at
		_ = c.nc.SetReadDeadline(at)
	}
	if c.ending.Load() { // after the deadline was set, which whoever is ending the connection has set as well
		return &endError{}
	}
	return nil
}

func (c *Conn) nextTick(now time.Time) time.Time {
	at := now.Add(tickEvery)
	c.mu.Lock()
	idle := c.running == 0
	since := c.idle
	parked := c.parked
	c.mu.Unlock()
	sooner := func(t time.Time) {
		if t.Before(at) {
			at = t
		}
	}
	if idle {
		if c.in == nil && parked == 0 {
			at = since.Add(c.o.IdleTimeout)
		} else {
			sooner(since.Add(c.o.IdleTimeout))
		}
	} else if c.pinged.IsZero() {
		sooner(c.heard.Add(c.o.PingAfter))
	}
	if !c.pinged.IsZero() {
		sooner(c.pinged.Add(c.o.PingTimeout))
	}
	if !c.headSince.IsZero() {
		sooner(c.headSince.Add(c.o.HeadTimeout))
	}
	return at
}

// tick looks after what takes too long, and gives back what an idle connection does not need.
func (c *Conn) tick(now time.Time) error {
	c.armed = time.Time{}
	if !c.headSince.IsZero() && now.Sub(c.headSince) >= c.o.HeadTimeout {
		return &ConnError{http2.ErrCodeEnhanceYourCalm, "field section, or preface, takes too long"}
	}
	if !c.pinged.IsZero() && now.Sub(c.pinged) >= c.o.PingTimeout {
		return &endError{errNoPong}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running > 0 {
		if c.pinged.IsZero() && now.Sub(c.heard) >= c.o.PingAfter {
			c.pinged = now
			c.room(frameHead + 8)
			c.out.b = appendPing(c.out.b, 0, livePing)
			c.kick()
		}
		return nil
	}
	c.pinged = time.Time{}
	if now.Sub(c.idle) >= c.o.IdleTimeout {
		c.appendAway(c.lastID, http2.ErrCodeNo, "idle")
		c.ending.Store(true)
		return &endError{}
	}
	c.dismiss()
	c.releaseInput()
	if len(c.streams) == 0 {
		c.streams = nil
	}
	return nil
}

var errNoPong = errors.New("no sign of life from the client")
