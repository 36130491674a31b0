package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// block is a field block in pieces: a HEADERS frame and its CONTINUATIONs (RFC 9113 §4.3).
type block struct {
	open   bool // the end has not come
	id     uint32
	end    bool // END_STREAM
	itself bool // depends on itself
	pieces int
	b      []byte
}

// mostBlock and mostPieces bound a field block before it is decoded: twice what may be in it, and as many pieces as that may sensibly come
// in, or some more. A request within the bound is answered with 431; what lies beyond costs the connection.
func (o *Options) mostBlock() int { return max(2*o.MaxHead, 2*maxFrame) }

func (o *Options) mostPieces() int { return 16 + o.mostBlock()/(maxFrame/4) }

func (c *Conn) takeHeaders(f frame, p []byte) error {
	if f.id&1 == 0 {
		return &ConnError{http2.ErrCodeProtocol, "HEADERS on a stream that no client begins"} // also 0: RFC 9113 §6.2, §5.1.1
	}
	p, ok := unpad(f, p)
	if !ok {
		return &ConnError{http2.ErrCodeProtocol, "padding"}
	}
	itself := false
	if f.flags.Has(http2.FlagHeadersPriority) {
		if len(p) < 5 {
			return &ConnError{http2.ErrCodeFrameSize, "HEADERS"}
		}
		itself = binary.BigEndian.Uint32(p)&maxStreamID == f.id
		p = p[5:]
	}
	c.block = block{id: f.id, end: f.flags.Has(http2.FlagHeadersEndStream), itself: itself, pieces: 1}
	if f.flags.Has(http2.FlagHeadersEndHeaders) {
		return c.takeBlock(p)
	}
	c.block.open = true
	c.block.b = append([]byte(nil), p...)
	c.await(true)
	return nil
}

func (c *Conn) takeContinuation(f frame, p []byte) error {
	if !c.block.open {
		return &ConnError{http2.ErrCodeProtocol, "CONTINUATION of nothing"}
	}
	b := &c.block
	b.pieces++
	if len(b.b)+len(p) > c.o.mostBlock() || b.pieces > c.o.mostPieces() {
		return &ConnError{http2.ErrCodeEnhanceYourCalm, "field section too long"}
	}
	b.b = append(b.b, p...)
	if !f.flags.Has(http2.FlagContinuationEndHeaders) {
		return nil
	}
	b.open = false
	err := c.takeBlock(b.b)
	b.b = nil
	return err
}

// takeBlock decodes a field block, whatever becomes of it, for it may change HPACK's state (RFC 9113 §4.3).
func (c *Conn) takeBlock(p []byte) error {
	err := c.sortBlock(p)
	// Nothing that a client has made large stays with the connection.
	c.head.begin(nil, nil, false)
	if cap(c.dec.huff) > mostArena {
		c.dec.huff = nil
	}
	if cap(c.extra.Fields) > mostFields {
		c.extra.Fields = nil
	}
	return err
}

// sortBlock finds out what a field block is: a request's head, its trailers, or nothing that we want.
func (c *Conn) sortBlock(p []byte) error {
	id := c.block.id
	c.mu.Lock()
	if id > c.lastID {
		c.mu.Unlock()
		return c.takeRequest(p)
	}
	s := c.streams[id]
	lately := s == nil && c.unawares(id)
	ended := s != nil && s.ended
	c.mu.Unlock()
	if s == nil && !lately {
		return &ConnError{http2.ErrCodeStreamClosed, "HEADERS on a closed stream"} // §5.1
	}
	if s == nil || ended {
		c.head.begin(nil, nil, true)
		if err := c.decode(p); err != nil {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if ended {
			return c.refuse(id, http2.ErrCodeStreamClosed)
		}
		return c.payLocked()
	}
	return c.takeTrailers(p)
}

func (c *Conn) decode(p []byte) error {
	if err := c.dec.decode(p, &c.head); err != nil {
		return &ConnError{http2.ErrCodeCompression, err.Error()}
	}
	return nil
}

// takeRequest begins a stream.
func (c *Conn) takeRequest(p []byte) error {
	b := &c.block
	c.mu.Lock()
	c.lastID = b.id
	late := c.away == leaving || c.err != nil // neither answered nor refused: RFC 9113 §6.8
	refused := c.open >= c.o.MaxStreams
	c.mu.Unlock()
	if late || refused {
		c.head.begin(nil, nil, false)
		if err := c.decode(p); err != nil || late {
			return err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.refuse(b.id, http2.ErrCodeRefusedStream) // §5.1.2
	}
	s := c.o.streams.Get().(*Stream)
	s.begin(c, b.id)
	c.head.begin(&s.req, s.arena, false)
	err := c.decode(p)
	if err == nil {
		c.head.finish(b.end)
	}
	s.arena = c.head.arena
	if err == nil && c.head.wrong == "" && !c.head.tooLarge && !b.itself {
		c.mu.Lock()
		defer c.mu.Unlock()
		s.ended = b.end
		if c.streams == nil {
			c.streams = make(map[uint32]*Stream)
		}
		c.streams[s.id] = s
		c.open++
		c.start(s)
		return nil
	}
	s.recycle()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.head.tooLarge {
		return c.tooLarge(b.id, b.end)
	}
	return c.refuse(b.id, http2.ErrCodeProtocol) // §8.1.1
}

// tooLarge answers 431 (RFC 6585 §5).
func (c *Conn) tooLarge(id uint32, end bool) error {
	c.room(frameHead + 32)
	from := len(c.out.b)
	c.out.b = appendFrame(c.out.b, 0, http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id)
	enc := c.encoder()
	c.out.b = enc.status(enc.begin(c.out.b), 431)
	setLength(c.out.b[from:], len(c.out.b)-from-frameHead)
	if !end {
		c.sayReset(id, http2.ErrCodeNo)
	}
	return c.payReset()
}

// takeTrailers ends a request's content.
func (c *Conn) takeTrailers(p []byte) error {
	b := &c.block
	c.extra.Reset()
	c.head.begin(&c.extra, nil, true)
	if err := c.decode(p); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[b.id]
	switch {
	case s == nil: // its handler has ended it meanwhile
		return nil
	case !b.end || c.head.wrong != "" || b.itself: // RFC 9113 §8.1
		return c.refuse(b.id, http2.ErrCodeProtocol)
	case c.head.tooLarge:
		return c.refuse(b.id, http2.ErrCodeEnhanceYourCalm)
	case s.req.Length >= 0 && s.got != s.req.Length:
		return c.refuse(b.id, http2.ErrCodeProtocol) // §8.1.1
	}
	s.trailers = append(s.trailers, c.extra.Fields...)
	s.end()
	return nil
}
