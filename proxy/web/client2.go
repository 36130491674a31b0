package web

import (
	"sync"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/message"
)

// clients2 is a client's connection that speaks HTTP/2. It answers each of its streams.
type clients2 struct {
	front   *Front
	below   *client1 // the connection before it was known to be HTTP/2
	conn    *h2.Conn
	leaving sync.Once
}

var (
	_ h2.Handler = (*clients2)(nil)
	_ connection = (*clients2)(nil)
	_ client     = (*client2)(nil)
	_ h2.Watcher = (*link)(nil)
)

// serve2 answers the streams of an HTTP/2 connection until it ends.
func (f *Front) serve2(c *client1, preread []byte) {
	options := &f.engine.plain2
	if c.secure {
		options = &f.engine.secure2
	}
	t := &clients2{front: f, below: c}
	t.conn = h2.NewConn(c.conn, append([]byte(nil), preread...), t, options)
	c.in.drop()
	c.conn.SetDeadline(noTime)
	f.mu.Lock()
	f.conns[c] = t
	f.mu.Unlock()
	c.state.Store(stateActive)
	if c.cut.Load() {
		c.tcp.Close()
	}
	if err := t.conn.Serve(); err != nil {
		f.engine.debug("HTTP/2 connection ended", c.address, err)
	}
}

// closeIdle implements connection.
func (t *clients2) closeIdle() { t.leaving.Do(t.conn.GoAway) }

// kill implements connection.
func (t *clients2) kill() {
	t.below.cut.Store(true)
	t.conn.Close()
}

// ServeStream implements h2.Handler.
func (t *clients2) ServeStream(s *h2.Stream) {
	if t.front.leaving.Load() {
		t.closeIdle()
	}
	e := t.front.engine
	x := e.exchange()
	c := &x.second
	c.stream, c.front, c.exchange, c.limits, c.code = s, t.front, x, &e.limits, http2.ErrCodeInternal
	c.link.reset()
	x.begin(t.front, c, &c.link, s.Request(), t.below.remote, t.below.address, t.below.secure)
	if t.below.cut.Load() {
		c.link.ClientGone()
	}
	x.serve()
	s.Watch(nil)
	if x.abort {
		s.Reset(c.code) // no-op for a client that has gone
	}
	c.end()
	e.recycle(x)
}

// client2 is one stream of an HTTP/2 connection.
type client2 struct {
	front    *Front
	stream   *h2.Stream
	exchange *exchange
	limits   *limits
	link     link
	buf      *buffer // for the request's content
	piece    []byte  // of the answer's content, which the next call sends
	watched  bool
	closed   bool          // the answer's head was its end
	code     http2.ErrCode // of an answer that breaks off
}

func (c *client2) end() {
	if c.buf != nil {
		c.front.engine.buffers.put(c.buf)
	}
	c.front, c.stream, c.exchange, c.buf, c.piece = nil, nil, nil, nil, nil
	c.watched, c.closed, c.code = false, false, http2.ErrCodeNo
}

// waiting implements client. Once begun, the watch lasts until the stream ends: a server may be silent in the middle of its answer, and is to
// be told all the same that nobody waits for the rest.
func (c *client2) waiting(yes bool) {
	if yes && !c.watched {
		c.watched = true
		c.stream.Watch(&c.link)
	}
}

// content implements client.
func (c *client2) content() ([]byte, error) {
	if c.buf == nil {
		c.buf = c.front.engine.buffers.get()
		c.stream.SetReadTimeout(c.limits.content)
	}
	n, err := c.stream.Read(c.buf.b)
	if n > 0 {
		return c.buf.b[:n], nil
	}
	return nil, err
}

// ended implements client.
func (c *client2) ended() bool { return false }

// trailers implements client.
func (c *client2) trailers() []message.Field { return c.stream.Trailers() }

// whole implements client.
func (c *client2) whole(b []byte, _ int) ([]byte, bool) { return b, false }

// breaker implements client.
func (c *client2) breaker() interrupter { return resetter{c.stream} }

// limit implements client.
func (c *client2) limit(l *limits) { c.limits = l }

// interrupt implements client.
func (c *client2) interrupt() { c.stream.Interrupt() }

// last implements client. The end of a stream is not its connection's: a front that leaves says so with GOAWAY.
func (c *client2) last() {}

// inform implements client.
func (c *client2) inform(status int, fields []message.Field) error {
	return c.stream.Inform(status, fields)
}

// respond implements client. Without content the head ends the stream: that an answer has no other part is how gRPC tells an error from a
// stream that broke off ("Trailers-Only").
func (c *client2) respond(status int, fields []message.Field, length int64, content bool) error {
	dated := false
	for i := range fields {
		dated = dated || fields[i].Kind == message.Date
	}
	if !dated {
		fields = append(fields, message.Field{Name: "date", Value: c.front.engine.date(c.exchange.start), Kind: message.Date})
	}
	if length != message.Unknown && status != 204 {
		fields = append(fields, message.Field{Name: "content-length", Value: c.exchange.number(length), Kind: message.ContentLength})
	}
	c.closed = !content || length == 0
	return c.stream.Respond(status, fields, c.closed)
}

// write implements client. The piece is kept for the next call, so that the last one can end the stream.
func (c *client2) write(p []byte) error {
	err := c.pass()
	c.piece = p
	return err
}

// pass sends the piece that was kept.
func (c *client2) pass() error {
	if len(c.piece) == 0 {
		return nil
	}
	err := c.stream.Write(c.piece, false)
	c.piece = nil
	return err
}

// flush implements client.
func (c *client2) flush() error {
	if c.closed {
		return nil
	}
	if err := c.pass(); err != nil {
		return err
	}
	return c.stream.Flush()
}

// finish implements client.
func (c *client2) finish(trailers []message.Field) error {
	if c.closed {
		return nil
	}
	if len(trailers) > 0 {
		if err := c.pass(); err != nil {
			return err
		}
		return c.stream.End(trailers)
	}
	err := c.stream.Write(c.piece, true)
	c.piece = nil
	return err
}

// splice implements client.
func (c *client2) splice(*input, int64) (int64, bool, error) { return 0, false, nil }

// tunnel implements client: an extended CONNECT (RFC 8441).
func (c *client2) tunnel(fields []message.Field, s *serverConn) (int64, error) {
	if err := c.stream.Respond(200, fields, false); err != nil {
		return 0, &clientError{err}
	}
	early := s.in.bytes()
	if len(early) > 0 {
		if err := c.stream.Write(early, false); err != nil {
			return 0, &clientError{err}
		}
	}
	if err := c.stream.Flush(); err != nil {
		return 0, &clientError{err}
	}
	s.in.drop()
	s.tcp.SetDeadline(noTime)
	if c.link.isGone() { // the deadline that said so may have been overwritten
		return 0, errGone
	}
	c.stream.SetReadTimeout(0)
	n, err := join(c.front.engine, tunnel2{c.stream}, s.tcp)
	return n + int64(len(early)), err
}

// tunnel2 is a stream as a pair of directions.
type tunnel2 struct{ *h2.Stream }

// Write sends at once.
func (t tunnel2) Write(p []byte) (int, error) {
	if err := t.Stream.Write(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite ends our direction.
func (t tunnel2) CloseWrite() error { return t.Stream.End(nil) }

// Close ends both.
func (t tunnel2) Close() error {
	t.Stream.Reset(http2.ErrCodeCancel)
	return nil
}

// resetter ends a client's stream when its deadlines are set to the past.
type resetter struct{ *h2.Stream }

// SetDeadline implements interrupter.
func (r resetter) SetDeadline(time.Time) error {
	r.Reset(http2.ErrCodeCancel)
	return nil
}
