package web

import (
	"time"

	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

// output is the buffer of what has not been sent yet.
func (c *client1) output() *buffer {
	if c.out == nil {
		c.out = c.in.pool.get()
	}
	return c.out
}

// waiting implements client.
func (c *client1) waiting(yes bool) {
	state := stateActive
	if yes {
		state = stateWaiting
	}
	c.state.Store(state)
}

// breaker implements client.
func (c *client1) breaker() interrupter { return c.conn }

// limit implements client.
func (c *client1) limit(l *limits) { c.limits = l }

// last implements client.
func (c *client1) last() { c.close = true }

// inform implements client.
func (c *client1) inform(status int, fields []message.Field) error {
	out := c.output()
	b := h1.AppendStatus(out.b[:out.w], status)
	for i := range fields {
		b = h1.AppendField(b, fields[i].Name, fields[i].Value)
	}
	out.set(append(b, "\r\n"...))
	return c.flush()
}

// respond implements client.
func (c *client1) respond(status int, fields []message.Field, length int64, content bool) error {
	out := c.output()
	b := h1.AppendStatus(out.b[:out.w], status)
	dated := false
	for i := range fields {
		dated = dated || fields[i].Kind == message.Date
		b = h1.AppendField(b, fields[i].Name, fields[i].Value)
	}
	if !dated { // a recipient with a clock adds what the server left out (RFC 9110 §6.6.1)
		b = h1.AppendField(b, "Date", c.front.engine.date(c.began))
	}
	switch {
	case status < 200 || status == 204: // no framing at all (RFC 9110 §8.6, RFC 9112 §6.1)
	case length != message.Unknown:
		b = h1.AppendLength(b, length)
	case !content:
	case c.req.Minor >= 1:
		c.framed = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		c.close, c.until = true, true
	}
	switch {
	case status == 101:
		b = append(b, "Connection: Upgrade\r\n"...)
	case c.close:
		b = append(b, "Connection: close\r\n"...)
	case c.req.Minor == 0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	out.set(append(b, "\r\n"...))
	return nil
}

// write implements client.
func (c *client1) write(p []byte) error {
	out := c.output()
	if out.w+len(p)+32 <= bufferSize {
		b := out.b[:out.w]
		if c.framed {
			b = h1.AppendChunk(b, len(p))
		}
		b = append(b, p...)
		if c.framed {
			b = append(b, "\r\n"...)
		}
		out.set(b)
		return nil
	}
	if !c.framed {
		return c.writeBehind(p)
	}
	out.set(h1.AppendChunk(out.b[:out.w], len(p)))
	if err := c.writeBehind(p); err != nil {
		return err
	}
	out.set(append(out.b[:out.w], "\r\n"...))
	return nil
}

// writeBehind sends what has not been sent yet, and p behind it, without a copy where that can be.
func (c *client1) writeBehind(p []byte) error {
	c.limitWrite()
	out := c.out
	waiting := out.b[:out.w]
	out.w = 0
	if len(waiting) == 0 {
		_, err := c.conn.Write(p)
		return err
	}
	if c.secure { // full records, and as few as can be
		n := min(len(p), bufferSize-min(len(waiting), bufferSize))
		if _, err := c.conn.Write(append(waiting, p[:n]...)); err != nil || n == len(p) {
			return err
		}
		_, err := c.conn.Write(p[n:])
		return err
	}
	c.vector[0], c.vector[1] = waiting, p
	c.pieces = c.vector[:]
	_, err := c.pieces.WriteTo(c.tcp)
	c.vector[0], c.vector[1] = nil, nil
	return err
}

// limitWrite gives up on a client that does not take its answer.
func (c *client1) limitWrite() {
	if c.writeBy.write(c.conn, time.Now(), c.limits.stall) && c.link.breaksOff() {
		c.conn.SetWriteDeadline(past) // what said so was overwritten
	}
}

// flush implements client.
func (c *client1) flush() error {
	if c.out == nil || c.out.w == 0 {
		return nil
	}
	c.limitWrite()
	p := c.out.b[:c.out.w]
	c.out.w = 0
	if c.in.wait != nil {
		_, err := c.in.wait.write(p)
		return err
	}
	_, err := c.conn.Write(p)
	return err
}

// finish implements client.
func (c *client1) finish(trailers []message.Field) error {
	if c.framed {
		out := c.output()
		out.set(h1.AppendLast(out.b[:out.w], trailers))
	}
	err := c.flush()
	if c.out != nil {
		c.in.pool.put(c.out)
		c.out = nil
	}
	return err
}

// splice implements client.
func (c *client1) splice(from *input, n int64) (int64, bool, error) {
	if c.secure || c.framed || c.in.wait == nil || from.wait == nil {
		return 0, false, nil
	}
	if err := c.flush(); err != nil {
		return 0, true, &clientError{err}
	}
	done, ok, err := c.front.engine.carry(&c.in, from, n, c.limits.stall, &c.link)
	if ok {
		c.writeBy.forget()
	}
	return done, ok, err
}
