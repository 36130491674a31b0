package h2

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/message"
)

const (
	// lingerTime is how long a client that broke the rules has to take our last words, and pingTime how long one has to show that it has
	// seen GOAWAY.
	lingerTime, pingTime = time.Second, time.Second
	// leaveTime is how long the client has to hang up when all has been said: answers may still be on the way.
	leaveTime = 5 * time.Second
)

// Conn is a connection from a client.
type Conn struct {
	nc      net.Conn
	secure  bool // nc is TLS
	handler Handler
	o       *Options
	wg      sync.WaitGroup // workers, and the output's drain

	// What only the reader touches.
	in        *input // nil while the connection is idle
	r, w      int    // what in holds and was not looked at yet
	little    [frameHead]byte
	preread   []byte
	armed     time.Time // the read deadline that is set
	heard     time.Time // when something was last read
	headSince time.Time // when the field section or the piece of it that we wait for began; zero for none
	pinged    time.Time // when the PING that we wait for was sent; zero for none
	dec       decoder
	head      head
	block     block
	extra     message.Request // what no stream has use for is decoded here
	settled   bool            // the client's SETTINGS have come

	ending atomic.Bool // the reader is not to wait any more

	mu       sync.Mutex
	err      error // why the connection takes and sends nothing any more
	streams  map[uint32]*Stream
	lastID   uint32 // the last stream that the client began
	open     uint32 // streams that count for MaxStreams
	running  int    // handlers
	idle     time.Time
	frames   budget
	resets   budget
	resetIDs [64]uint32 // streams that we reset last: the client may not know yet
	resetAt  int

	parked int          // workers that wait for work
	work   chan *Stream // where they wait

	started  bool
	away     uint8  // how far GoAway has come
	awayID   uint32 // the last stream that we said we would answer
	awayPing *time.Timer

	enc        *encoder // nil while nothing was answered
	peerWindow int64    // what a stream may send at first
	dataFrame  int      // the client's SETTINGS_MAX_FRAME_SIZE, at most what we send
	sendWindow int64
	recvWindow int64 // what the client may send
	recvMost   int64 // and what it may after we gave back all
	recvBack   int64 // read, and not given back yet

	out        *output // gathers frames; nil for none
	writing    bool    // somebody is writing
	failed     bool    // writing has failed, and is not tried again
	flushed    sync.Cond
	waitOut    queue     // streams that wait for out to drain
	waitWindow queue     // streams that wait for sendWindow
	writeBy    time.Time // the write deadline that is set
}

// How far GoAway has come.
const (
	stays   = iota
	warned  // GOAWAY with the highest id, and a PING
	leaving // GOAWAY with the last stream's id
)

// NewConn returns a connection over c, which has been read as far as preread, the client's preface perhaps among it. c is a
// *net.TCPConn, or a *tls.Conn after its handshake; o may be nil.
func NewConn(c net.Conn, preread []byte, h Handler, o *Options) *Conn {
	if o == nil {
		o = &Options{}
	}
	o.resolve()
	now := time.Now()
	conn := &Conn{
		nc: c, handler: h, o: o, preread: preread,
		heard: now, idle: now,
		frames:     newBudget(frameBudget, frameRefill, now),
		resets:     newBudget(max(200, 2*int(o.MaxStreams)), resetRefill, now),
		peerWindow: firstWindow, dataFrame: maxFrame,
		sendWindow: firstWindow, recvWindow: connWindow, recvMost: connWindow,
	}
	if _, ok := c.(*tls.Conn); ok || o.TLS {
		conn.secure, conn.dataFrame = true, recordFrame
	}
	conn.dec.max = tableSize
	conn.head.max = o.MaxHead
	conn.flushed.L = &conn.mu
	return conn
}

// Serve runs the connection until it has ended and every handler has returned, and closes it. The error says why it ended: nil if the
// client left, was idle, or GoAway was called; a *ConnError if it broke the rules.
func (c *Conn) Serve() error {
	c.mu.Lock()
	c.started = true
	c.room(len(c.o.hello))
	c.out.b = append(c.out.b, c.o.hello...)
	if c.away == warned {
		c.sayWarned()
	}
	c.mu.Unlock()
	err := c.read()
	c.finish(err)
	c.wg.Wait()
	c.r, c.w = 0, 0
	c.releaseInput()
	c.mu.Lock()
	err = c.err // if writing failed, that is why reading did
	c.mu.Unlock()
	var ended *endError
	if errors.As(err, &ended) && (ended.err == nil || errors.Is(ended.err, io.EOF) || errors.Is(ended.err, net.ErrClosed)) {
		return nil
	}
	return err
}

// finish ends the streams, says GOAWAY if there is something to say, and closes the connection.
func (c *Conn) finish(err error) {
	var broken *ConnError
	polite := errors.As(err, &broken)
	if !polite && c.ending.Load() {
		polite = true // there may still be a GOAWAY in the output
	}
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	} else {
		polite = false
	}
	if broken != nil {
		c.appendAway(c.lastID, broken.Code, broken.Reason)
	}
	if c.awayPing != nil {
		c.awayPing.Stop()
	}
	watchers := c.failAll(err)
	c.dismiss()
	c.mu.Unlock()
	for _, s := range watchers {
		s.callWatcher()
	}
	switch {
	case broken != nil && polite:
		c.linger(lingerTime)
		c.cut()
	case polite:
		c.linger(leaveTime)
		_ = c.tcp().Close()
	case errors.Is(err, io.EOF):
		_ = c.tcp().Close()
	default:
		c.cut()
	}
}

// failAll ends all streams for their handlers, and returns those whose watchers are to be called.
func (c *Conn) failAll(err error) (watched []*Stream) {
	for id, s := range c.streams {
		delete(c.streams, id)
		if s.fail(err) {
			watched = append(watched, s)
		}
	}
	return watched
}

// linger sends what is left to send, and reads on for a moment: a connection that is closed with unread bytes is reset, and with it
// goes what the client has not read.
func (c *Conn) linger(d time.Duration) {
	end := time.Now().Add(d)
	_ = c.nc.SetDeadline(end)
	c.mu.Lock()
	c.kick()
	for c.writing {
		c.flushed.Wait()
	}
	failed := c.failed
	c.mu.Unlock()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if failed || !ok || half.CloseWrite() != nil {
		return
	}
	if c.in == nil {
		c.in = c.o.inputs.Get().(*input)
	}
	for left := maxConnWindow; left > 0; {
		n, err := c.nc.Read(c.in.b[:])
		if err != nil {
			return
		}
		left -= n
	}
}

// cut closes the network connection, with what is on its way and without a word: the system is not to keep it either.
func (c *Conn) cut() {
	nc := c.tcp()
	if t, ok := nc.(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = nc.Close()
}

// tcp is what is to be closed: a *tls.Conn would wait for the client to take its last alert.
func (c *Conn) tcp() net.Conn {
	if t, ok := c.nc.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c.nc
}

// Close cuts the connection off, now: handlers that wait in Read or Write get an error. It does not wait for Serve to return.
func (c *Conn) Close() {
	c.mu.Lock()
	if c.err == nil {
		c.err = &endError{net.ErrClosed}
	}
	watched := c.failAll(c.err)
	c.mu.Unlock()
	c.cut()
	for _, s := range watched {
		s.callWatcher()
	}
}

// Streams is how many handlers are running.
func (c *Conn) Streams() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
}

// GoAway ends the connection gracefully (RFC 9113 §6.8): it tells the client to begin no more streams, after a round trip those that
// were begun are known and run to their end, and then the connection closes. It does not wait for that.
func (c *Conn) GoAway() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.away != stays || c.err != nil {
		return
	}
	c.away = warned
	if c.started { // else Serve says it, after our settings
		c.sayWarned()
		c.kick()
	}
}

// awayData marks the PING whose answer shows that the client has seen our GOAWAY.
const awayData, livePing = 0x676f2061776179, 0x616c697665

func (c *Conn) sayWarned() {
	c.appendAway(maxStreamID, http2.ErrCodeNo, "")
	c.room(frameHead + 8)
	c.out.b = appendPing(c.out.b, 0, awayData)
	c.awayPing = time.AfterFunc(pingTime, c.leave)
}

// leave says which streams will be answered, and ends the connection as soon as they are.
func (c *Conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if c.away != leaving {
		c.away, c.awayID = leaving, c.lastID
		c.appendAway(c.lastID, http2.ErrCodeNo, "")
		c.kick()
	}
	c.endIfDone()
}

// endIfDone wakes the reader to end the connection, if nothing is left to do on it.
func (c *Conn) endIfDone() {
	if c.away == leaving && c.running == 0 && len(c.streams) == 0 && c.ending.CompareAndSwap(false, true) {
		_ = c.nc.SetReadDeadline(longAgo)
	}
}

var longAgo = time.Unix(1, 0)

func (c *Conn) appendAway(last uint32, code http2.ErrCode, reason string) {
	c.room(frameHead + 8 + len(reason))
	c.out.b = appendGoAway(c.out.b, last, code, reason)
}
