package h2

import (
	"encoding/binary"

	"golang.org/x/net/http2"
)

// take handles a frame. An error ends the connection.
func (c *Conn) take(f frame, p []byte) error {
	if !c.settled && (f.kind != http2.FrameSettings || f.flags.Has(http2.FlagSettingsAck)) {
		return &ConnError{http2.ErrCodeProtocol, "first frame is not SETTINGS"} // RFC 9113 §3.4
	}
	if c.block.open && (f.kind != http2.FrameContinuation || f.id != c.block.id) {
		return &ConnError{http2.ErrCodeProtocol, "frame inside a field section"} // §6.2
	}
	switch f.kind {
	case http2.FrameData:
		return c.takeData(f, p)
	case http2.FrameHeaders:
		return c.takeHeaders(f, p)
	case http2.FrameContinuation:
		return c.takeContinuation(f, p)
	case http2.FramePriority:
		return c.takePriority(f, p)
	case http2.FrameRSTStream:
		return c.takeReset(f, p)
	case http2.FrameSettings:
		return c.takeSettings(f, p)
	case http2.FramePushPromise:
		return &ConnError{http2.ErrCodeProtocol, "PUSH_PROMISE from a client"} // §8.4
	case http2.FramePing:
		return c.takePing(f, p)
	case http2.FrameGoAway:
		if f.id != 0 {
			return &ConnError{http2.ErrCodeProtocol, "GOAWAY on a stream"}
		}
		if len(p) < 8 {
			return &ConnError{http2.ErrCodeFrameSize, "GOAWAY"}
		}
		c.leave() // there will be no more from this client (§6.8)
		return c.pay()
	case http2.FrameWindowUpdate:
		return c.takeUpdate(f, p)
	}
	return c.pay() // unknown: ignored (§5.5)
}

// pay takes a frame off the budget for those that do no work.
func (c *Conn) pay() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.payLocked()
}

func (c *Conn) payLocked() error {
	if !c.frames.spend(1) {
		return &ConnError{http2.ErrCodeEnhanceYourCalm, "too many frames that do nothing"}
	}
	return nil
}

// payReset takes a stream off the budget for those that come to nothing, whoever resets them: a client can make us do it (CVE-2023-44487,
// CVE-2025-8671).
func (c *Conn) payReset() error {
	if !c.resets.spend(1) {
		return &ConnError{http2.ErrCodeEnhanceYourCalm, "too many streams that come to nothing"}
	}
	return nil
}

// refuse resets a stream for what the client did on it (RFC 9113 §5.4.2). The mutex is held; it is let go while a watcher is called.
func (c *Conn) refuse(id uint32, code http2.ErrCode) error {
	if c.err != nil {
		return nil
	}
	if s := c.streams[id]; s != nil {
		c.kill(s, &ResetError{Code: code})
	}
	c.sayReset(id, code)
	return c.payReset()
}

// sayReset appends RST_STREAM, and remembers that the client may send more on the stream before it knows.
func (c *Conn) sayReset(id uint32, code http2.ErrCode) {
	c.room(frameHead + 4)
	c.out.b = appendReset(c.out.b, id, code)
	c.resetIDs[c.resetAt%len(c.resetIDs)] = id
	c.resetAt++
}

// unawares tells whether the client may not have known, when it sent what comes now, that we take no more on a stream: we reset it lately, or it
// was begun after our last GOAWAY.
func (c *Conn) unawares(id uint32) bool {
	if c.away == leaving && id > c.awayID {
		return true
	}
	for _, r := range c.resetIDs {
		if r == id {
			return true
		}
	}
	return false
}

// kill ends a stream for its handler. The mutex is held; it is let go while a watcher is called.
func (c *Conn) kill(s *Stream, err error) {
	delete(c.streams, s.id)
	if s.fail(err) {
		c.mu.Unlock()
		s.callWatcher()
		c.mu.Lock()
	}
}

// takePriority checks what RFC 9113 §5.3.2 has deprecated. What is wrong with it could be a stream's error; that it is the connection's (§5.4.2) leaves a
// client one way less to make us reset streams.
func (c *Conn) takePriority(f frame, p []byte) error {
	switch {
	case f.id == 0:
		return &ConnError{http2.ErrCodeProtocol, "PRIORITY on no stream"}
	case len(p) != 5:
		return &ConnError{http2.ErrCodeFrameSize, "PRIORITY"} // §6.3
	case binary.BigEndian.Uint32(p)&maxStreamID == f.id:
		return &ConnError{http2.ErrCodeProtocol, "PRIORITY"} // RFC 7540 §5.3.1; RFC 9113 says nothing
	}
	return c.pay()
}

func (c *Conn) takeReset(f frame, p []byte) error {
	if len(p) != 4 {
		return &ConnError{http2.ErrCodeFrameSize, "RST_STREAM"}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.id == 0 || f.id > c.lastID || f.id&1 == 0 {
		return &ConnError{http2.ErrCodeProtocol, "RST_STREAM on no stream"}
	}
	s := c.streams[f.id]
	if s == nil {
		return c.payLocked()
	}
	// A stream that was let live has cost the client one of MaxStreams for that long, and one with its answer whole is no loss.
	harmless := s.closed || c.heard.Sub(s.began) > quickReset
	c.kill(s, &ResetError{Code: http2.ErrCode(binary.BigEndian.Uint32(p)), ByClient: true})
	if harmless {
		return nil
	}
	return c.payReset()
}

func (c *Conn) takePing(f frame, p []byte) error {
	if f.id != 0 {
		return &ConnError{http2.ErrCodeProtocol, "PING on a stream"}
	}
	if len(p) != 8 {
		return &ConnError{http2.ErrCodeFrameSize, "PING"}
	}
	data := binary.BigEndian.Uint64(p)
	if f.flags.Has(http2.FlagPingAck) {
		if data == awayData {
			c.leave()
		}
		return c.pay()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.room(frameHead + 8)
	c.out.b = appendPing(c.out.b, http2.FlagPingAck, data)
	return c.payLocked()
}

func (c *Conn) takeUpdate(f frame, p []byte) error {
	if len(p) != 4 {
		return &ConnError{http2.ErrCodeFrameSize, "WINDOW_UPDATE"}
	}
	n := int64(binary.BigEndian.Uint32(p) & maxWindow)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.id == 0 {
		switch {
		case n == 0:
			return &ConnError{http2.ErrCodeProtocol, "WINDOW_UPDATE of nothing"}
		case c.sendWindow+n > maxWindow:
			return &ConnError{http2.ErrCodeFlowControl, "connection's window too large"}
		}
		c.sendWindow += n
		if c.sendWindow > 0 {
			c.waitWindow.wake()
		}
		return c.payLocked()
	}
	if f.id > c.lastID || f.id&1 == 0 {
		return &ConnError{http2.ErrCodeProtocol, "WINDOW_UPDATE on no stream"}
	}
	s := c.streams[f.id]
	switch {
	case s == nil:
	case n == 0:
		return c.refuse(f.id, http2.ErrCodeProtocol) // §6.9
	case s.sendWindow+n > maxWindow:
		return c.refuse(f.id, http2.ErrCodeFlowControl) // §6.9.1
	default:
		s.widen(n)
	}
	return c.payLocked()
}
