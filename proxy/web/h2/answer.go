package h2

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/message"
)

// Inform sends an interim answer (RFC 9110 §15.2), at once.
func (s *Stream) Inform(status int, fields []message.Field) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.mayHead(); err != nil {
		return err
	}
	if s.answered {
		return errOver
	}
	s.appendHead(status, fields, false)
	c.flush()
	return nil
}

// Respond sends the answer's head. Unless it ends the answer, it may stay with us until the first Write or Flush, so that
// both leave together.
func (s *Stream) Respond(status int, fields []message.Field, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.mayHead(); err != nil {
		return err
	}
	if s.answered {
		return errOver
	}
	s.answered = true
	c.frames.earn(perSent)
	s.appendHead(status, fields, end)
	if end {
		s.close()
		c.flush()
	}
	return nil
}

// End ends the answer, with trailers if there are any.
func (s *Stream) End(trailers []message.Field) error {
	if len(trailers) == 0 {
		return s.Write(nil, true)
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.mayHead(); err != nil {
		return err
	}
	if !s.answered {
		return errOver
	}
	s.appendHead(0, trailers, true)
	s.close()
	c.flush()
	return nil
}

// Flush sends what Respond has kept.
func (s *Stream) Flush() error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.gone(); err != nil {
		return err
	}
	c.flush()
	return nil
}

// Write sends a part of the content, and with end the last one. It returns when all of it is on its way: p may be used again then. It waits
// for the client to open its windows, WriteTimeout at the longest, and takes turns with the connection's other streams.
func (s *Stream) Write(p []byte, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.closed || !s.answered && s.err == nil {
		return errOver
	}
	for first := true; len(p) > 0 || end; first = false {
		if err := s.mayData(len(p), first); err != nil {
			return err
		}
		n := s.appendData(p, end)
		p = p[n:]
		if len(p) == 0 && end {
			s.close()
			break
		}
	}
	c.pass()
	c.flush()
	if s.closed && !c.failed { // all has left, and a client that is done with it may have said so by now
		return nil
	}
	return s.gone()
}

// appendData appends a DATA frame with as much of p as the windows let, and returns how much that was.
func (s *Stream) appendData(p []byte, end bool) int {
	c := s.c
	n := min(len(p), c.dataFrame)
	if w := min(s.sendWindow, c.sendWindow); int64(n) > w {
		n = int(w)
		c.frames.earn(n / octetsPerUnit)
	} else {
		c.frames.earn(perSent)
	}
	var flags http2.Flags
	if end && n == len(p) {
		flags = http2.FlagDataEndStream
	}
	c.room(frameHead + n)
	c.out.b = append(appendFrame(c.out.b, n, http2.FrameData, flags, s.id), p[:n]...)
	s.sendWindow -= int64(n)
	c.sendWindow -= int64(n)
	return n
}

// mayData waits until there is room for a DATA frame, and windows for some of n octets. After its first frame a stream lets those go
// before that are waiting.
func (s *Stream) mayData(n int, first bool) error {
	c := s.c
	for until := (time.Time{}); ; {
		if err := s.gone(); err != nil {
			c.pass()
			return err
		}
		var q *queue
		switch {
		case n > 0 && s.sendWindow <= 0:
		case n > 0 && c.sendWindow <= 0:
			q = &c.waitWindow
		case c.full() || !first && !c.waitOut.empty():
			q, first = &c.waitOut, true
		default:
			return nil
		}
		if q == &c.waitOut {
			s.stand(q, time.Time{}) // how long that may take is known to who writes
			continue
		}
		if until.IsZero() {
			until = deadline(c.o.WriteTimeout)
		}
		if s.stand(q, until) {
			s.reset(http2.ErrCodeCancel)
			c.pass()
			c.flush()
			return fmt.Errorf("wait for the client to take more: %w", os.ErrDeadlineExceeded)
		}
	}
}

// mayHead waits until there is room for a field section.
func (s *Stream) mayHead() error {
	c := s.c
	for {
		err := s.gone()
		if err == nil && s.closed {
			err = errOver
		}
		if err != nil {
			c.pass()
			return err
		}
		if !c.full() {
			return nil
		}
		s.stand(&c.waitOut, time.Time{})
	}
}

// stand waits in a queue for its turn, or without one for the stream's own window. It tells whether the deadline came first.
func (s *Stream) stand(q *queue, until time.Time) (expired bool) {
	c := s.c
	c.pass()
	if q != nil {
		q.push(s)
	}
	c.flush()
	for s.gone() == nil && !expired {
		if q == nil && s.sendWindow > 0 || q != nil && s.queue == nil {
			break
		}
		expired = s.send.wait(until)
	}
	if s.queue != nil {
		s.queue.remove(s)
	}
	return expired
}

// pass lets the next of those that wait have their turn, if there is something to have.
func (c *Conn) pass() {
	if !c.full() {
		c.waitOut.wake()
	}
	if c.sendWindow > 0 {
		c.waitWindow.wake()
	}
}

// widen changes the stream's window.
func (s *Stream) widen(by int64) {
	s.sendWindow += by
	if s.sendWindow > 0 {
		s.send.cond.Broadcast()
	}
}

// gone says why nothing can be sent any more.
func (s *Stream) gone() error {
	if s.err != nil {
		return s.err
	}
	return s.c.err
}

// close notes that END_STREAM has been sent.
func (s *Stream) close() {
	s.closed = true
	s.settle()
}

// encoder is made with the first answer.
func (c *Conn) encoder() *encoder {
	if c.enc == nil {
		c.enc = newEncoder()
	}
	return c.enc
}

// appendHead appends a field section: an answer's with its status, or trailers with 0.
func (s *Stream) appendHead(status int, fields []message.Field, end bool) {
	c := s.c
	n := frameHead + 16
	for i := range fields {
		n += len(fields[i].Name) + len(fields[i].Value) + 8
	}
	c.room(n)
	flags := http2.FlagHeadersEndHeaders
	if end {
		flags |= http2.FlagHeadersEndStream
	}
	from := len(c.out.b)
	b := appendFrame(c.out.b, 0, http2.FrameHeaders, flags, s.id)
	enc := c.encoder()
	b = enc.begin(b)
	if status != 0 {
		b = enc.status(b, status)
	}
	for i := range fields {
		b = enc.field(b, &fields[i])
	}
	if n := len(b) - from - frameHead; n > maxFrame {
		b = split(b, from, s.id)
	} else {
		setLength(b[from:], n)
	}
	c.out.b = b
	c.pass()
}

// split makes several frames of a HEADERS frame at from that is too long (RFC 9113 §4.3).
func split(b []byte, from int, id uint32) []byte {
	rest := bytes.Clone(b[from+frameHead+maxFrame:])
	b = b[:from+frameHead+maxFrame]
	setLength(b[from:], maxFrame)
	b[from+4] &^= byte(http2.FlagHeadersEndHeaders)
	for len(rest) > 0 {
		n := min(len(rest), maxFrame)
		var flags http2.Flags
		if n == len(rest) {
			flags = http2.FlagContinuationEndHeaders
		}
		b = append(appendFrame(b, n, http2.FrameContinuation, flags, id), rest[:n]...)
		rest = rest[n:]
	}
	return b
}
