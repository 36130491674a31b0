package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/h1"
	"tripod/proxy/web/message"
)

const (
	// maxMoves is how often a request that waits for a server follows the document.
	maxMoves = 8
	// maxInfos is how many informational answers are passed on for one request.
	maxInfos = 16
)

var (
	// errUnanswered: a connection that had been used before ended without a word. The server closed it while it idled, most likely,
	// and never saw the request.
	errUnanswered = errors.New("the server closed the connection without an answer")
	// errUsed: a connection that should have idled was closed by the server, or has bytes in it. Nothing was sent.
	errUsed       = errors.New("the server closed the connection, or spoke, before it was asked")
	errGone       = errors.New("the client has gone")
	errFault      = errors.New("the request's content did not come")
	errEarly      = errors.New("the server closed the connection in the middle of an answer")
	errTrailers   = errors.New("the answer's trailers are too large")
	errLate       = errors.New("the request took too long")
	errUnswitched = errors.New("the server did not change the protocol")
	errTooMuch    = errors.New("the request's content is larger than the route takes")
	errSwitched   = errors.New("the server changed to a protocol that was not asked for")
)

// forward passes the request to a server and its answer to the client.
func (x *exchange) forward() {
	x.openContent()
	x.know()
	defer x.endRetry()
	var fault error
	for {
		server, err := x.acquire()
		if errors.Is(err, upstream.ErrGone) && len(x.choice.Tried) == 0 && x.moves < maxMoves {
			// The document changed while the request waited for a server.
			x.moves++
			x.table = x.engine.table.Load()
			x.send.most = 0
			if x.find(); !x.admit() {
				return
			}
			if x.route == nil || x.route.service == nil {
				x.answerSelf()
				return
			}
			x.openContent()
			waited := x.choice.Waited
			x.know()
			x.choice.Waited = waited
			continue
		}
		if err != nil {
			if fault == nil {
				fault = err
			}
			x.fail(fault)
			return
		}
		if fault = x.try(server); fault == nil {
			return
		}
		if !x.again(fault) {
			x.fail(fault)
			return
		}
	}
}

// acquire chooses a server, for which the request may have to wait its turn.
func (x *exchange) acquire() (*upstream.Server, error) {
	server, err := x.route.service.AcquireNow(&x.choice)
	if err == nil {
		return server, nil
	}
	ctx, resume := x.pause()
	defer resume()
	return x.route.service.Wait(ctx, &x.choice, err)
}

// pause begins to wait for something else than a server, until resume. The context ends when the client has gone, or the whole takes too long, or the
// front closes.
func (x *exchange) pause() (ctx context.Context, resume func()) {
	ctx, cancel := context.WithCancel(x.front.life)
	if !x.link.attach(canceller(cancel)) {
		cancel()
	}
	x.client.waiting(true)
	return ctx, func() {
		x.client.waiting(false)
		x.link.detach()
		cancel()
	}
}

// try sends the request to a server and passes its answer on, if there is one.
func (x *exchange) try(server *upstream.Server) error {
	defer server.Release()
	defer x.endHedge()
	x.server = server
	if x.tries++; x.tries > 1 || x.choice.Waited > 0 {
		x.now = time.Now() // limits for what follows begin here: neither the server before nor the waiting for a turn is this one's
	}
	p := x.engine.poolOf(server)
	if x.route.protocol == upstream.H2 || x.route.protocol == upstream.H2C {
		return x.try2(p)
	}
	for again := false; ; {
		var s *serverConn
		if !again {
			s = p.get(x.send.content == streamContent)
		}
		if s == nil {
			var err error
			began := time.Now()
			if s, err = p.dial(x.front.life, server, x.connectLimit()); err != nil {
				return err
			}
			x.now = time.Now() // limits for what follows begin here
			x.spent.connect += x.now.Sub(began)
		}
		switch err := x.converse(s, false); {
		case err == errUsed && s.reused: // with another connection, at last a new one
		case err == errUnanswered && x.repeatable():
			again = true // once, with a new connection: the server may have seen it
		case err == errHedged:
			return x.followHedge()
		default:
			return err
		}
	}
}

// connectLimit is how long a connection may take, which is not longer than what is left of the whole.
func (x *exchange) connectLimit() time.Duration {
	limit := x.limits.connect
	if total := x.limits.total; total > 0 {
		left := max(total-time.Since(x.start), time.Millisecond)
		if limit == 0 || left < limit {
			return left
		}
	}
	return limit
}

// converse sends the request over a connection, unless that was done, and passes the answer on. It takes care of the connection. The error is nil if the
// client's answer has begun, whatever became of it.
func (x *exchange) converse(s *serverConn, asked bool) error {
	if !x.link.attach(s.tcp) {
		s.done(false, x.now)
		return errGone
	}
	x.client.waiting(true)
	keep := false
	defer func() { // whatever happens: a goroutine that carries content must not outlive the exchange
		x.client.waiting(false)
		sent := x.stopSending(s)
		alone := x.link.detach()
		s.done(keep && sent && alone, x.now)
	}()
	var err error
	keep, err = x.talk(s, asked)
	return err
}

// talk is converse without its ends. It tells whether the connection can be used again.
func (x *exchange) talk(s *serverConn, asked bool) (keep bool, err error) {
	if err := x.meet(s, asked); err != nil {
		return false, x.orHedge(err)
	}
	x.endHedge()
	if err := x.holdAnswer(s); err != nil {
		return false, err
	}
	if !x.mayAnswer() {
		return false, errGone
	}
	x.send.answer()
	x.client.waiting(false)
	switch {
	case x.res.Status == 101:
		return false, x.upgrade(s)
	case x.connects() && x.res.Status < 300: // would mean that the protocol has changed (RFC 8441 §5)
		return false, errUnswitched
	}
	return x.answer(s)
}

// meet sends the request, unless that was done, and gets the head of an answer that is to be passed on.
func (x *exchange) meet(s *serverConn, asked bool) error {
	if !asked {
		if err := x.ask(s); err != nil {
			return err
		}
	}
	if err := x.readHead(s); err != nil {
		return err
	}
	x.answered()
	return x.refuseAnswer()
}

// ask sends the request, and the first of its content. Where that is all, the first bytes of the answer are there when it returns.
func (x *exchange) ask(s *serverConn) error {
	wire := x.send.wire
	whole := x.send.content != streamContent
	for {
		x.askedAt = x.now
		s.writeBy.write(s.tcp, x.now, x.limits.content)
		if whole || x.req.Expect {
			x.awaitAnswer(s)
		}
		if x.link.isGone() { // the deadline that said so may have been overwritten
			return errGone
		}
		if !whole || s.in.wait == nil {
			break
		}
		n, err := s.in.wait.exchange(&s.in, wire)
		if err == errUsed {
			return err
		}
		if n == 0 && isTimeout(err) && !x.link.isGone() { // the node was held up, and the server has had no time yet
			x.now = time.Now()
			s.readBy.forget()
			s.writeBy.forget()
			continue
		}
		if err != nil && !x.waitsOn(s, err) {
			return x.unanswered(s, err)
		}
		wire = wire[n:]
		break
	}
	if len(wire) > 0 {
		if _, err := s.tcp.Write(wire); err != nil {
			return x.unanswered(s, err)
		}
	}
	if !x.req.Expect {
		x.startSending(s)
	}
	return nil
}

// readHead reads the head of the final answer, and passes informational ones on.
func (x *exchange) readHead(s *serverConn) error {
	for {
		if b := s.in.bytes(); len(b) > 0 {
			n, err := h1.ParseResponse(&x.res, b)
			if err == nil {
				s.in.take(n)
				if !message.Interim(x.res.Status) {
					return nil
				}
				if err := x.inform(s); err != nil {
					return err
				}
				continue
			}
			if err != h1.ErrIncomplete {
				return err
			}
			if len(s.in.buf.space()) == 0 && !s.in.buf.grow(maxAnswer) {
				return errors.New("the answer's head is too large")
			}
		}
		if err := s.in.read(); err != nil {
			if x.continues(s, err) || x.waitsOn(s, err) {
				continue
			}
			return x.unanswered(s, err)
		}
	}
}

// awaitAnswer bounds the waiting for an answer. It begins with the request's end; until then the request's content has its own limit.
func (x *exchange) awaitAnswer(s *serverConn) {
	if x.req.Expect && x.send.content == streamContent {
		s.readBy.forget()
		s.tcp.SetReadDeadline(time.Now().Add(continueWait))
		return
	}
	s.readBy.read(s.tcp, x.now, x.patience(x.now))
}

// continues tells whether a failed read was just the time that a server is given to ask for the content. The client is then asked in its
// stead (RFC 9110 §10.1.1).
func (x *exchange) continues(s *serverConn, err error) bool {
	if !x.req.Expect || x.send.started || x.send.content != streamContent || !isTimeout(err) || x.link.isGone() {
		return false
	}
	if x.client.inform(100, nil) != nil {
		return false
	}
	x.startSending(s)
	return true
}

// unanswered says why there is no answer.
func (x *exchange) unanswered(s *serverConn, err error) error {
	switch {
	case x.link.isGone():
		return errGone
	case x.send.wrong() != nil:
		return errFault
	case isTimeout(err) && x.server.Down():
		return errDown
	case isTimeout(err):
		return err
	case s.reused && len(s.in.bytes()) == 0:
		return errUnanswered
	case err == io.EOF:
		return errors.New("the server closed the connection before it answered")
	}
	return err
}

// inform passes an informational answer on.
func (x *exchange) inform(s *serverConn) error {
	if x.infos++; x.infos > maxInfos {
		return errors.New("too many informational answers")
	}
	if x.res.Status == 100 {
		if x.req.Expect && !x.send.started && x.send.content == streamContent {
			if err := x.client.inform(100, nil); err != nil {
				return errGone
			}
			x.startSending(s)
		}
		return nil // else the client did not ask for it
	}
	if x.req.Major == 1 && x.req.Minor == 0 { // HTTP/1.0 has none (RFC 9110 §15.2)
		return nil
	}
	if err := x.client.inform(x.res.Status, x.passed()); err != nil {
		return errGone
	}
	return nil
}

// fail answers a request that no server answered.
func (x *exchange) fail(err error) {
	x.fields = x.fields[:0] // of an informational answer
	if fault := x.send.wrong(); fault != nil && (errors.Is(err, errFault) || !x.link.isGone()) {
		x.failContent(fault)
		return
	}
	if x.link.isLate() {
		x.page(504, "the request took too long")
		return
	}
	if x.link.isGone() {
		x.status, x.abort = statusClientGone, true
		return
	}
	status, text := 502, "the server gave no valid answer"
	switch {
	case errors.Is(err, upstream.ErrNoneUp), errors.Is(err, upstream.ErrGone):
		status, text = 503, "no server is up"
	case errors.Is(err, upstream.ErrFull):
		status, text = 503, "every server is busy"
	case errors.Is(err, errRoom):
		status, text = 503, "too many requests are under way"
	case len(x.choice.Tried) > 1: // and there is none left that might do better
		status, text = 503, "no server could answer"
	case errors.As(err, new(*dialError)):
		text = "the server cannot be reached"
		if isTimeout(err) {
			status, text = 504, "the server did not answer in time"
		}
	case isTimeout(err):
		status, text = 504, "the server did not answer in time"
	}
	server := ""
	if x.server != nil {
		server = x.server.Address()
	}
	x.engine.log.LogAttrs(context.Background(), slog.LevelInfo, "request failed",
		slog.Int("status", status), slog.String("id", x.id), slog.String("service", x.route.service.Name()),
		slog.String("server", server), slog.Int("tries", x.tries), slog.Any("error", err))
	x.fault = err
	x.page(status, text)
}

// failContent answers a request whose content did not come as it was announced.
func (x *exchange) failContent(fault error) {
	var wrong *h1.Error
	switch {
	case errors.Is(fault, errTooMuch):
		x.refuse(413, "the request's content is too large")
	case isTimeout(fault):
		x.refuse(408, "the request's content did not come in time")
	case errors.As(fault, &wrong):
		x.refuse(wrong.Status, wrong.Reason)
	default:
		x.status, x.abort = statusClientGone, true
	}
}

// isTimeout tells whether an error means that somebody took too long.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
}
