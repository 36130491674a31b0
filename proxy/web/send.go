package web

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

// inHand is up to how many bytes of a request's content go out with its head, if they have come whole.
const inHand = 8 << 10

// sending is the request on its way to the server: its head, made once for all servers that are tried, and its content, which goes on
// while the answer comes.
type sending struct {
	wire    []byte          // the head, and the content if that was in hand
	body    []byte          // the content, if that was in hand
	taken   bool            // it was
	fields  []message.Field // of the request as the server gets it
	content contentState
	most    int64 // bytes of content that the route takes; 0 is no limit

	// What follows is for content that streams. It is carried by a goroutine of its own, so that an answer may begin, or come whole, before
	// the request has ended.
	started bool
	chunked bool
	limit   time.Duration // from the end of the request to the answer
	done    chan struct{}
	moved   atomic.Int64 // when the last of it came, in nanoseconds

	mu       sync.Mutex
	server   *serverConn
	answered bool
	read     bool  // the client has sent all
	ended    bool  // all of it has gone to the server
	stopped  bool  // it is not wanted any more
	fault    error // why reading the client failed
}

type contentState uint8

const (
	noContent contentState = iota
	wholeContent
	streamContent
)

func (s *sending) reset() {
	clear(s.fields)
	s.wire, s.body, s.fields, s.taken = s.wire[:0], s.body[:0], s.fields[:0], false
	s.content, s.most, s.started, s.chunked, s.limit, s.done = noContent, 0, false, false, 0, nil
	s.moved.Store(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.answered, s.read, s.ended, s.stopped, s.fault = nil, false, false, false, false, nil
}

// openContent decides how the content travels, and makes the head with its framing.
func (x *exchange) openContent() {
	s := &x.send
	s.fields = s.fields[:0]
	s.wire = s.wire[:0]
	x.appendHead()
	switch n := x.req.Length; {
	case x.connects():
		s.content = noContent
	case n == 0:
		s.content = noContent
		if expectsLength(x.req.Method) {
			s.wire = h1.AppendLength(s.wire, 0)
		}
	case n == message.Unknown:
		s.content, s.chunked = streamContent, true
		s.wire = append(s.wire, "Transfer-Encoding: chunked\r\n"...)
	default:
		s.content = streamContent
		s.wire = h1.AppendLength(s.wire, n)
	}
	if x.req.Expect {
		s.wire = append(s.wire, "Expect: 100-continue\r\n"...)
	}
	s.wire = append(s.wire, "\r\n"...)
	if s.content == streamContent && !s.chunked && !s.taken {
		s.body, s.taken = x.client.whole(s.body[:0], inHand)
	}
	if s.taken {
		s.content = wholeContent
		s.wire = append(s.wire, s.body...)
	}
}

// expectsLength: these methods have content in general, so that none is said (RFC 9110 §8.6).
func expectsLength(method string) bool {
	return method == "POST" || method == "PUT" || method == "PATCH"
}

// startSending begins to carry the content to the server.
func (x *exchange) startSending(s *serverConn) {
	send := &x.send
	if send.content != streamContent || send.started {
		return
	}
	send.started, send.done = true, make(chan struct{})
	send.server, send.limit = s, x.limits.firstByte
	s.readBy.forget()
	s.tcp.SetReadDeadline(noTime)
	if x.link.isGone() { // the deadline that said so may have been overwritten
		s.tcp.SetReadDeadline(past)
	}
	go x.carryContent()
}

// carryContent is the goroutine that startSending starts.
func (x *exchange) carryContent() {
	send := &x.send
	defer close(send.done)
	defer send.survive(x)
	s := send.server
	var head []byte
	var sent int64
	for {
		if x.spliceContent(sent) {
			return
		}
		p, err := x.client.content()
		send.limitWrite(x.limits.content)
		if len(p) > 0 {
			send.moves()
			if sent += int64(len(p)); send.most > 0 && sent > send.most {
				send.fail(errTooMuch)
				return
			}
			if x.client.ended() { // before the server has it all, and may answer
				send.have()
			}
			if werr := send.part(s, &head, p); werr != nil {
				x.expectAnswer(false)
				return
			}
			continue
		}
		if err != io.EOF {
			if isTimeout(err) && send.isAnswered() {
				continue // the exchange is idle only if the answer is too, and that has a limit of its own
			}
			send.fail(err)
			return
		}
		send.have()
		if send.chunked {
			head = h1.AppendLast(head[:0], trailing(x.client.trailers()))
			if _, werr := s.tcp.Write(head); werr != nil {
				x.expectAnswer(false)
				return
			}
		}
		x.expectAnswer(true)
		return
	}
}

// expectAnswer begins the waiting for an answer: the request has ended, or the server takes no more of it, and if it answers, that says
// why.
func (x *exchange) expectAnswer(sent bool) {
	x.send.complete(sent)
	if x.link.isGone() { // the deadline that said so may have been overwritten
		x.send.server.tcp.SetReadDeadline(past)
	}
}

// isStopped tells whether no more content is wanted.
func (send *sending) isStopped() bool {
	send.mu.Lock()
	defer send.mu.Unlock()
	return send.stopped
}

// moves notes that content has come.
func (send *sending) moves() { send.moved.Store(time.Now().UnixNano()) }

// hasMoved tells whether content has come within a time.
func (send *sending) hasMoved(within time.Duration) bool {
	last := send.moved.Load()
	return last > 0 && time.Since(time.Unix(0, last)) < within
}

// isAnswered tells whether the answer has begun.
func (send *sending) isAnswered() bool {
	send.mu.Lock()
	defer send.mu.Unlock()
	return send.answered
}

// limitWrite gives up on a server that does not take the content.
func (send *sending) limitWrite(limit time.Duration) {
	s := send.server
	if !s.writeBy.write(s.tcp, time.Now(), limit) {
		return
	}
	send.mu.Lock()
	defer send.mu.Unlock()
	if send.stopped { // the deadline that said so may have been overwritten
		s.tcp.SetWriteDeadline(past)
	}
}

// part sends one piece of content.
func (send *sending) part(s *serverConn, head *[]byte, p []byte) error {
	if !send.chunked {
		_, err := s.tcp.Write(p)
		return err
	}
	*head = h1.AppendChunk((*head)[:0], len(p))
	*head = append(append(*head, p...), "\r\n"...)
	_, err := s.tcp.Write(*head)
	return err
}

// trailing keeps the trailers that may be passed on.
func trailing(fields []message.Field) []message.Field {
	kept := fields[:0]
	for _, f := range fields {
		if message.MayTrail(f) {
			kept = append(kept, f)
		}
	}
	return kept
}

// have notes that all of the content has come from the client, so that its connection can go on with another request.
func (send *sending) have() {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.read = true
}

// complete notes that nothing more of the request goes to the server, and whether it has got all.
func (send *sending) complete(sent bool) {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.ended = sent
	if !send.answered && send.limit > 0 {
		send.server.tcp.SetReadDeadline(time.Now().Add(send.limit))
	}
}

// fail notes that the client did not send what it announced, and ends the waiting for an answer. A server that answers already is told that
// there will be no more, since it may wait for that with the rest of its answer.
func (send *sending) fail(err error) {
	send.mu.Lock()
	defer send.mu.Unlock()
	if send.stopped { // what failed was interrupted by ourselves
		return
	}
	send.fault = err
	if send.answered {
		send.server.tcp.CloseWrite()
	} else {
		send.server.tcp.SetDeadline(past)
	}
}

// answer notes that the answer has begun: the request's end does not matter to it any more.
func (send *sending) answer() {
	if !send.started {
		return
	}
	send.mu.Lock()
	defer send.mu.Unlock()
	send.answered = true
}

// unfinished tells whether the client may have content to send yet.
func (send *sending) unfinished() bool {
	switch {
	case send.content != streamContent:
		return false
	case !send.started:
		return true
	}
	send.mu.Lock()
	defer send.mu.Unlock()
	return !send.read
}

// stop says that no more content is wanted. It tells whether there may be some.
func (send *sending) stop() bool {
	send.mu.Lock()
	defer send.mu.Unlock()
	send.stopped = true
	return !send.read
}

// sent tells whether the server has got all.
func (send *sending) sent() bool {
	send.mu.Lock()
	defer send.mu.Unlock()
	return send.ended
}

// wrong is why reading the client failed, nil if it did not.
func (send *sending) wrong() error {
	if !send.started {
		return nil
	}
	send.mu.Lock()
	defer send.mu.Unlock()
	return send.fault
}

// stopSending ends the goroutine that carries the content, and tells whether everything was sent.
func (x *exchange) stopSending(s *serverConn) bool {
	send := &x.send
	if !send.started {
		return send.content != streamContent
	}
	if send.stop() {
		x.client.interrupt()
	}
	if !send.sent() { // and the server does not want it any more
		s.tcp.SetWriteDeadline(past)
		<-send.done
		s.writeBy.forget()
	}
	<-send.done
	return send.sent()
}
