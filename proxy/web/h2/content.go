package h2

import (
	"golang.org/x/net/http2"
)

const (
	chunkSize = 4 << 10
	lateData  = 1 << 10 // DATA that comes too late costs a client from its budget if it is shorter than this
)

// chunk is a piece of content that waits to be read.
type chunk struct {
	next *chunk
	r, w int
	b    [chunkSize]byte
}

// content is what a stream's client has sent and its handler has not read.
type content struct {
	first, last *chunk
	size        int
}

func (q *content) write(o *Options, p []byte) {
	q.size += len(p)
	for len(p) > 0 {
		if q.last == nil || q.last.w == chunkSize {
			n := o.chunks.Get().(*chunk)
			n.next, n.r, n.w = nil, 0, 0
			if q.last == nil {
				q.first = n
			} else {
				q.last.next = n
			}
			q.last = n
		}
		n := copy(q.last.b[q.last.w:], p)
		q.last.w += n
		p = p[n:]
	}
}

func (q *content) read(o *Options, p []byte) (n int) {
	for n < len(p) && q.first != nil {
		k := q.first
		m := copy(p[n:], k.b[k.r:k.w])
		n += m
		k.r += m
		if k.r == k.w {
			q.drop(o)
		}
	}
	q.size -= n
	return n
}

func (q *content) drop(o *Options) {
	k := q.first
	q.first = k.next
	if q.first == nil {
		q.last = nil
	}
	o.chunks.Put(k)
}

func (q *content) clear(o *Options) {
	for q.first != nil {
		q.drop(o)
	}
	q.size = 0
}

// takeData takes a piece of a request's content (RFC 9113 §6.1).
func (c *Conn) takeData(f frame, p []byte) error {
	data, ok := unpad(f, p)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f.id == 0 || f.id > c.lastID || f.id&1 == 0:
		return &ConnError{http2.ErrCodeProtocol, "DATA on no stream"}
	case !ok:
		return &ConnError{http2.ErrCodeProtocol, "padding"}
	case int64(len(p)) > c.recvWindow:
		return &ConnError{http2.ErrCodeFlowControl, "more than the connection's window"}
	}
	c.recvWindow -= int64(len(p))
	s := c.streams[f.id]
	end := f.flags.Has(http2.FlagDataEndStream)
	if s == nil || s.ended {
		c.giveBack(len(p))
		if s == nil && c.unawares(f.id) {
			if len(p) < lateData {
				return c.payLocked()
			}
			return nil // a window's worth may be on its way, with every stream that we decline
		}
		return c.refuse(f.id, http2.ErrCodeStreamClosed) // §5.1
	}
	if int64(len(p)) > s.recvWindow {
		c.giveBack(len(p))
		return c.refuse(f.id, http2.ErrCodeFlowControl)
	}
	s.recvWindow -= int64(len(p))
	s.got += int64(len(data))
	if s.req.Length >= 0 && (s.got > s.req.Length || end && s.got < s.req.Length) { // §8.1.1
		c.giveBack(len(p))
		return c.refuse(f.id, http2.ErrCodeProtocol)
	}
	s.content.write(c.o, data)
	if pad := len(p) - len(data); pad > 0 {
		s.giveBack(pad)
	}
	if end {
		s.end()
		return nil
	}
	if len(data) == 0 {
		return c.payLocked()
	}
	s.receive.cond.Signal()
	return nil
}

// giveBack lets the client send on the connection what was read of it: not each time, but when it has come to a good part of the window.
// The window grows while that happens.
func (c *Conn) giveBack(n int) {
	c.recvBack += int64(n)
	if c.recvBack < c.recvMost/4 || c.err != nil {
		return
	}
	more := min(c.recvMost, maxConnWindow-c.recvMost)
	c.room(frameHead + 4)
	c.out.b = appendUpdate(c.out.b, 0, uint32(c.recvBack+more))
	c.recvWindow += c.recvBack + more
	c.recvMost += more
	c.recvBack = 0
}

// giveBack is the same for the stream, and the connection.
func (s *Stream) giveBack(n int) {
	s.c.giveBack(n)
	s.recvBack += int64(n)
	if s.recvBack < s.recvMost/4 || s.ended || s.err != nil {
		return
	}
	more := min(s.recvMost, maxStreamWindow-s.recvMost)
	s.c.room(frameHead + 4)
	s.c.out.b = appendUpdate(s.c.out.b, s.id, uint32(s.recvBack+more))
	s.recvWindow += s.recvBack + more
	s.recvMost += more
	s.recvBack = 0
}
