package web

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

// client1 is a client's connection that speaks HTTP/1. Its own goroutine reads requests and answers them, one after the other.
type client1 struct {
	front   *Front
	conn    net.Conn
	tcp     *net.TCPConn // what conn is, or what is below its TLS
	remote  netip.Addr   // the client's, after a PROXY header that proxy's client's
	address string       // the same as text
	secure  bool
	in      input
	readBy  deadline
	writeBy deadline
	state   atomic.Int32 // connState
	link    link
	cut     atomic.Bool // the front has cut the connection
	halfs   int         // how often the watcher has found the client's side closed in this turn; the watcher's own
	seen    uint        // the link's turn that the watcher saw last; the watcher's own

	// Of the present request.
	limits  *limits
	began   time.Time // when its head had come
	req     message.Request
	head    *buffer // where its strings are
	left    int64   // of its content
	chunked bool
	chunks  h1.Chunked
	halted  atomic.Bool // content is not wanted any more
	// Of the present answer.
	out    *buffer // what has not been sent yet: b[:w]
	framed bool    // the content is chunked
	close  bool    // the connection ends after it
	until  bool    // its content ends with the connection
	vector [2][]byte
	pieces net.Buffers
}

// connState is what a connection is doing, for those who want to close it.
type connState = int32

const (
	stateNew     connState = iota // handshake, or waiting for the first byte
	stateIdle                     // waiting for the next request
	stateActive                   // reading a head, or answering
	stateWaiting                  // waiting for a server's answer
	stateClosed
)

var _ client = (*client1)(nil)

// serve answers requests until the connection ends.
func (c *client1) serve() {
	defer c.front.leave(c)
	defer c.front.engine.survive(c.address)
	if !c.introduce() {
		return
	}
	if config, ok := c.conn.(*tls.Conn); ok {
		if !c.handshake(config) {
			return
		}
		if config.ConnectionState().NegotiatedProtocol == "h2" {
			c.front.serve2(c, nil)
			return
		}
	}
	for first := true; c.next(first); first = false {
	}
}

// handshake agrees on TLS, in time.
func (c *client1) handshake(t *tls.Conn) bool {
	c.conn.SetDeadline(time.Now().Add(headTimeout))
	if err := t.HandshakeContext(c.front.life); err != nil {
		c.front.engine.debug("TLS handshake failed", c.address, err)
		return false
	}
	c.conn.SetDeadline(time.Time{})
	c.readBy.forget()
	return true
}

// next answers one request. It tells whether the connection goes on.
func (c *client1) next(first bool) bool {
	n, err := c.readHead(first)
	if err != nil {
		if refused, ok := err.(*h1.Error); ok {
			c.refuse(refused)
		}
		return false
	}
	if n == 0 { // another protocol has taken over
		return false
	}
	c.keepHead(n)
	c.begin()
	x := c.front.engine.exchange()
	x.begin(c.front, c, &c.link, &c.req, c.remote, c.address, c.secure)
	c.began = x.start
	x.serve()
	goes := !x.abort && !c.close && !c.cut.Load() && c.ended()
	abort, end := x.abort, x.now
	c.front.engine.recycle(x)
	if !goes {
		if !abort {
			c.linger()
		} else if c.until { // a close would look like the content's end, and the end of TLS even more so
			c.tcp.SetLinger(0)
			c.tcp.Close()
		}
		c.dropBuffers()
		return false
	}
	if c.halted.Load() {
		c.readBy.forget() // its deadline was used to interrupt the reading
	}
	c.readBy.read(c.conn, end, idleTimeout)
	c.dropHead()
	return true
}

// begin readies what belongs to one request.
func (c *client1) begin() {
	c.link.reset()
	if c.cut.Load() { // reset may have forgotten it
		c.link.ClientGone()
	}
	c.chunked, c.left = c.req.Length == message.Unknown, max(c.req.Length, 0)
	if c.chunked {
		c.chunks = h1.Chunked{}
	}
	c.framed, c.until = false, false
	c.close = c.req.Close
	c.limits = &c.front.engine.limits
	c.halted.Store(false)
	c.state.Store(stateActive)
}

// ended implements client: the request's content was read to its end, and what follows is the next request.
func (c *client1) ended() bool { return c.left == 0 && (!c.chunked || c.chunks.Done()) }

// readHead reads the head of the next request, and returns its length, which is 0 if another protocol took over. Only an *h1.Error is to
// be told to the client.
func (c *client1) readHead(first bool) (int, error) {
	if len(c.in.bytes()) == 0 {
		if err := c.awaitRequest(first); err != nil {
			return 0, err
		}
		if c.in.wait == nil { // a single byte is there
			c.readBy.forget()
			c.conn.SetReadDeadline(time.Now().Add(headTimeout))
			if err := c.in.read(); err != nil {
				return 0, c.headless(err)
			}
		}
	}
	for timed := c.in.wait == nil; ; {
		b := c.in.bytes()
		if first && c.front.listener.Load().H2C && h1.IsPreface(b) {
			c.front.serve2(c, b)
			return 0, nil
		}
		n, err := h1.ParseRequest(&c.req, b)
		if err != h1.ErrIncomplete {
			return n, err
		}
		if len(b) >= maxHead {
			return 0, tooLarge(b)
		}
		if !timed { // from the head's beginning, however slowly it comes
			timed = true
			c.readBy.forget()
			c.conn.SetReadDeadline(time.Now().Add(headTimeout))
		}
		if err := c.readLine(); err != nil {
			return 0, err
		}
	}
}

// awaitRequest waits for the first byte of a request.
func (c *client1) awaitRequest(first bool) error {
	if first {
		c.readBy.forget()
		c.conn.SetReadDeadline(time.Now().Add(headTimeout))
		if c.state.Load() == stateClosed { // and the deadline that said so was overwritten
			return errClosed
		}
	} else if !c.state.CompareAndSwap(stateActive, stateIdle) {
		return errClosed
	}
	err := c.in.await()
	for state := c.state.Load(); state != stateActive; state = c.state.Load() {
		if state == stateClosed || c.cut.Load() {
			return errClosed
		}
		c.state.CompareAndSwap(state, stateActive)
	}
	return err
}

// readLine reads until at least one more line has come: before that there is nothing new to say about the head.
func (c *client1) readLine() error {
	for {
		had := len(c.in.bytes())
		if len(c.in.buf.space()) == 0 && !c.in.buf.grow(maxHead) {
			return nil // the caller says so
		}
		if err := c.in.read(); err != nil {
			return c.headless(err)
		}
		for _, b := range c.in.bytes()[had:] {
			if b == '\n' {
				return nil
			}
		}
	}
}

// headless says why the rest of a head did not come.
func (c *client1) headless(err error) error {
	if isTimeout(err) && !c.cut.Load() {
		return &h1.Error{Status: 408, Reason: "the request's head did not come in time", Rule: "RFC 9110 §15.5.9"}
	}
	return errGone
}

// tooLarge says what of a head is too large.
func tooLarge(b []byte) error {
	for _, c := range b {
		if c == '\n' {
			return &h1.Error{Status: 431, Reason: "the request's fields are too large", Rule: "RFC 6585 §5"}
		}
	}
	return &h1.Error{Status: 414, Reason: "the request target is too long", Rule: "RFC 9110 §15.5.15"}
}

// keepHead sets the buffer apart that the request's strings are in, and leaves what follows the head to be read.
func (c *client1) keepHead(n int) {
	c.in.take(n)
	c.head = c.in.buf
	c.in.buf = nil
	if rest := c.head.bytes(); len(rest) > 0 {
		c.in.buf = c.in.pool.get()
		for len(rest) > len(c.in.buf.b) { // behind a head that had grown
			c.in.buf.grow(2 * len(c.in.buf.b))
		}
		c.in.buf.w = copy(c.in.buf.b, rest)
		c.head.r = c.head.w
	}
}

func (c *client1) dropHead() {
	if c.head != nil {
		c.req.Reset() // its strings would keep the buffer from being freed
		c.in.pool.put(c.head)
		c.head = nil
	}
}

// dropBuffers gives all memory back.
func (c *client1) dropBuffers() {
	c.dropHead()
	c.in.drop()
	if c.out != nil {
		c.in.pool.put(c.out)
		c.out = nil
	}
}

// refuse answers what was no request, and ends the connection.
func (c *client1) refuse(err *h1.Error) {
	c.begin()
	c.chunked, c.left, c.close = false, 0, true
	c.req.Length = 0
	if c.req.Method == "" {
		c.req.Method = "-"
	}
	if c.req.Major == 0 {
		c.req.Major, c.req.Minor = 1, 1
	}
	x := c.front.engine.exchange()
	x.begin(c.front, c, &c.link, &c.req, c.remote, c.address, c.secure)
	c.began = x.start
	x.refuse(err.Status, err.Reason)
	x.finish()
	x.engine.recycle(x)
	c.linger()
	c.dropBuffers()
}

// linger reads on for a moment after the last answer, so that the client gets to read it before the connection closes: bytes that arrive at a
// closed one make the other side's kernel throw away what it has received (RFC 9112 §9.6).
func (c *client1) linger() {
	const enough = 1 << 20 // bytes
	if half, ok := c.conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	if c.cut.Load() {
		return
	}
	c.conn.SetReadDeadline(time.Now().Add(lingerTime))
	for n := 0; n < enough && !c.cut.Load(); {
		c.in.drop()
		if c.in.read() != nil {
			return
		}
		n += len(c.in.bytes())
	}
}

// content implements client.
func (c *client1) content() ([]byte, error) {
	for {
		p, err := c.takeContent()
		if len(p) > 0 || err != nil {
			return p, err
		}
		if c.halted.Load() {
			return nil, errGone
		}
		c.readBy.read(c.conn, time.Now(), c.limits.content)
		if c.halted.Load() { // set in between: its deadline may have been overwritten
			return nil, errGone
		}
		if err := c.in.read(); err != nil {
			return nil, early1(err)
		}
	}
}

// takeContent takes what has come; nothing, if more has to be read.
func (c *client1) takeContent() ([]byte, error) {
	b := c.in.bytes()
	if !c.chunked {
		if c.left == 0 {
			return nil, io.EOF
		}
		if int64(len(b)) > c.left {
			b = b[:c.left]
		}
		if len(b) > 0 {
			c.in.take(len(b))
			c.left -= int64(len(b))
		}
		return b, nil
	}
	p, n, err := c.chunks.Decode(b)
	if n > 0 {
		c.in.take(n)
	}
	if len(p) == 0 && err == nil && c.in.buf != nil && len(c.in.buf.space()) == 0 && !c.in.buf.grow(maxHead) {
		return nil, &h1.Error{Status: 431, Reason: "the trailers are too large", Rule: "RFC 6585 §5"}
	}
	return p, err
}

// early1 turns the end of a connection in the middle of content into a failure.
func early1(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// trailers implements client.
func (c *client1) trailers() []message.Field { return c.chunks.Trailers }

// whole implements client.
func (c *client1) whole(b []byte, most int) ([]byte, bool) {
	p := c.in.bytes()
	if c.chunked || c.left > int64(most) || int64(len(p)) < c.left {
		return b, false
	}
	b = append(b, p[:c.left]...)
	c.in.take(int(c.left))
	c.left = 0
	return b, true
}

// interrupt implements client.
func (c *client1) interrupt() {
	c.halted.Store(true)
	c.conn.SetReadDeadline(past)
}
