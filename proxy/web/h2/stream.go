package h2

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/message"
)

// What is kept of memory for strings and fields to be used again.
const (
	mostArena  = 8 << 10
	mostFields = 128
)

// Stream is a request and its answer. One goroutine may read while another writes; otherwise its methods are for one goroutine.
type Stream struct {
	c     *Conn
	id    uint32
	req   message.Request
	arena []byte // what strings of req share
	began time.Time

	// Guarded by the connection's mutex.
	err      error // why there is no client any more, or nothing more to say to it
	ended    bool  // the client has sent END_STREAM
	closed   bool  // we have
	answered bool  // a final head was sent
	settled  bool  // counts for MaxStreams no more
	halted   bool  // Interrupt was called
	trailers []message.Field

	content    content
	got        int64 // content, in octets
	recvWindow int64
	recvMost   int64
	recvBack   int64
	receive    waiter
	patience   time.Duration // SetReadTimeout

	sendWindow    int64
	send          waiter
	queue         *queue // where it stands, between the two
	before, after *Stream

	watcher  Watcher
	calling  int // calls that run, or are about to
	watching sync.Cond
}

func newStream() *Stream { return &Stream{} }

// begin makes a stream ready for use.
func (s *Stream) begin(c *Conn, id uint32) {
	s.c, s.id, s.began = c, id, c.heard
	s.sendWindow = c.peerWindow
	s.recvWindow, s.recvMost = streamWindow, streamWindow
	s.receive.cond.L, s.send.cond.L, s.watching.L = &c.mu, &c.mu, &c.mu
}

// recycle gives a stream back that nobody knows any more.
func (s *Stream) recycle() {
	if s.receive.spoiled || s.send.spoiled {
		return
	}
	o := s.c.o
	s.req.Reset()
	clear(s.trailers)
	s.c, s.id, s.trailers = nil, 0, s.trailers[:0]
	s.arena = s.arena[:0]
	if cap(s.arena) > mostArena {
		s.arena = nil
	}
	if cap(s.req.Fields) > mostFields {
		s.req.Fields = nil
	}
	if cap(s.trailers) > mostFields {
		s.trailers = nil
	}
	s.err, s.ended, s.closed, s.answered, s.settled, s.halted = nil, false, false, false, false, false
	s.got, s.recvBack, s.patience = 0, 0, 0
	o.streams.Put(s)
}

// Request is what the client asks for: its head, without Host and pseudo-fields, several Cookie fields joined. It is good until ServeStream
// returns.
func (s *Stream) Request() *message.Request { return &s.req }

// ID is the stream's identifier.
func (s *Stream) ID() uint32 { return s.id }

// SetReadTimeout bounds how long Read waits for the next part of the content; 0 is no bound. Its error then is an
// os.ErrDeadlineExceeded.
func (s *Stream) SetReadTimeout(d time.Duration) {
	s.c.mu.Lock()
	s.patience = d
	s.c.mu.Unlock()
}

// Read reads the request's content, to io.EOF, when it was as long as the head said. Errors are ErrGone, or a timeout.
func (s *Stream) Read(p []byte) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.halted {
		return 0, errHalted
	}
	if s.content.size == 0 && !s.ended && s.err == nil && len(p) > 0 {
		c.flush() // an answer's head, or 100 (Continue), that the client may be waiting for
		if err := s.awaitContent(); err != nil {
			return 0, err
		}
	}
	switch {
	case s.err != nil:
		return 0, s.err
	case s.content.size == 0 && s.ended:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	n := s.content.read(c.o, p)
	s.giveBack(n)
	c.flush()
	return n, nil
}

// awaitContent waits until there is something for Read to say.
func (s *Stream) awaitContent() error {
	until := deadline(s.patience)
	for s.content.size == 0 && !s.ended && s.err == nil {
		if s.halted {
			return errHalted
		}
		if s.receive.wait(until) {
			return fmt.Errorf("wait for content: %w", os.ErrDeadlineExceeded)
		}
	}
	return nil
}

// Interrupt makes Read return, now and later, with an error of its own. Any goroutine may call it while the handler runs; the answer
// is not touched by it.
func (s *Stream) Interrupt() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.halted = true
	s.receive.cond.Broadcast()
}

var errHalted = errors.New("reading the content was interrupted")

// Trailers are the fields after the content, once Read has returned io.EOF.
func (s *Stream) Trailers() []message.Field {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.trailers
}

// end notes that the client has sent END_STREAM.
func (s *Stream) end() {
	s.ended = true
	s.receive.cond.Broadcast()
	s.settle()
}

// settle forgets a stream that both sides have ended (RFC 9113 §5.1): from now on the client may begin another one instead, though
// our handler may take another moment.
func (s *Stream) settle() {
	if s.ended && s.closed && s.err == nil && !s.settled {
		s.settled = true
		s.c.open--
		delete(s.c.streams, s.id)
	}
}

// fail ends the stream for its handler, and tells whether its watcher is to be called.
func (s *Stream) fail(err error) bool {
	if s.err != nil {
		return false
	}
	s.err = err
	n := s.content.size
	s.content.clear(s.c.o)
	s.c.giveBack(n)
	s.interrupt()
	if s.watcher == nil {
		return false
	}
	s.calling++
	return true
}

// interrupt wakes who waits in Read or Write.
func (s *Stream) interrupt() {
	s.receive.cond.Broadcast()
	s.send.cond.Broadcast()
}

// Reset ends the stream at once, with an error code (RFC 9113 §6.4).
func (s *Stream) Reset(code http2.ErrCode) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.reset(code)
	s.c.flush()
}

func (s *Stream) reset(code http2.ErrCode) {
	if s.err != nil || s.settled || s.c.err != nil {
		return
	}
	s.watcher = nil
	delete(s.c.streams, s.id)
	s.c.sayReset(s.id, code)
	s.fail(&ResetError{Code: code})
}

// over ends what the handler has not ended, and gives the stream back.
func (s *Stream) over() {
	c := s.c
	c.mu.Lock()
	s.unwatch()
	switch {
	case !s.closed:
		s.reset(http2.ErrCodeInternal)
	case !s.ended:
		s.reset(http2.ErrCodeNo) // RFC 9113 §8.1
	case s.err == nil:
		c.resets.earn(1)
	}
	if !s.settled {
		s.settled = true
		c.open--
	}
	n := s.content.size
	s.content.clear(c.o)
	c.giveBack(n)
	delete(c.streams, s.id)
	c.done()
	c.flush()
	c.mu.Unlock()
	s.recycle()
}
