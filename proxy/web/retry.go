package web

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/message"
)

const (
	// maxTries bounds how many servers are tried for one request, and triesTime for how long new tries begin.
	maxTries  = 32
	triesTime = 10 * time.Second
	// look is how often a request that waits for its answer looks whether the server has been found to be down: what could be asked elsewhere is
	// not to wait for a dead server until its own time is over.
	look = time.Second
	// maxHeld is up to how many bytes an answer is held back until it is whole, and holdTime for how long: while nothing of it has gone to the client,
	// a server that breaks off in the middle can be made good for by another one.
	maxHeld  = 8 << 10
	holdTime = time.Second
)

var (
	errDown   = errors.New("the server was found to be down before it answered")
	errStatus = errors.New("the server answered with a status that is tried elsewhere")
)

// again tells whether the request is to be given to another server after one has failed it: in any case if that never saw it, and else if it may be sent
// again (RFC 9110 §9.2.2) and the service's budget allows.
func (x *exchange) again(fault error) bool {
	server := x.server
	if !x.serversFault(fault) {
		return false
	}
	server.Failed(fault)
	x.choice.Try(server)
	x.engine.log.LogAttrs(context.Background(), slog.LevelDebug, "server failed a request",
		slog.String("id", x.id), slog.String("server", server.Address()), slog.Any("error", fault))
	if len(x.choice.Tried) >= maxTries || x.link.isGone() {
		return false
	}
	if errors.As(fault, new(*dialError)) || fault == errUsed { // nothing was sent
		return time.Since(x.start) <= triesTime
	}
	return x.resend()
}

// serversFault tells whether a failure is the server's: not the client's, nor ours.
func (x *exchange) serversFault(fault error) bool {
	switch {
	case errors.Is(fault, errGone), errors.Is(fault, errFault), errors.Is(fault, errRoom), errors.Is(fault, errLate), errors.Is(fault, upstream.ErrFull):
		return false
	case x.send.wrong() != nil, x.front.life.Err() != nil:
		return false
	}
	return !x.link.isGone()
}

// resend tells whether the request, which a server may have seen, may be sent once more, and counts it among those that are.
func (x *exchange) resend() bool {
	retries := x.route.service.Retries()
	if !x.repeatable() || x.resent >= retries.Most || !x.route.service.HasAnother(&x.choice, nil) {
		return false
	}
	x.retrying = x.retrying || x.route.service.RetryNow() || x.awaitRetry()
	if !x.retrying {
		return false
	}
	x.resent++
	return true
}

// awaitRetry waits until the service's budget has room.
func (x *exchange) awaitRetry() bool {
	ctx, resume := x.pause()
	defer resume()
	return x.route.service.Retry(ctx)
}

// endRetry gives the budget back.
func (x *exchange) endRetry() {
	if x.retrying {
		x.route.service.EndRetry()
		x.retrying = false
	}
}

// repeatable tells whether a request may be sent again that a server may have seen (RFC 9110 §9.2.2): its method is idempotent, all of it is in hand,
// and the client has got nothing yet.
func (x *exchange) repeatable() bool {
	if x.send.started || x.send.content == streamContent || x.infos > 0 {
		return false
	}
	switch x.req.Method {
	case "GET", "HEAD", "OPTIONS", "PUT", "DELETE":
		return true
	}
	return false
}

// elsewhere tells whether another server could be asked in the place of this one.
func (x *exchange) elsewhere() bool {
	return x.repeatable() && x.resent < x.route.service.Retries().Most && x.route.service.HasAnother(&x.choice, x.server)
}

// answerLimit is how long the answer may take to begin.
func (x *exchange) answerLimit() time.Duration {
	limit := x.limits.firstByte
	if try := x.route.service.Retries().Try; try > 0 && (limit == 0 || try < limit) && x.elsewhere() {
		return try
	}
	return limit
}

// patience is how long the answer is waited for at a stretch.
func (x *exchange) patience(now time.Time) time.Duration {
	limit := x.answerLimit()
	if limit > 0 {
		if limit -= now.Sub(x.askedAt); limit <= 0 {
			limit = time.Nanosecond
		}
	}
	if (limit == 0 || limit > look) && x.repeatable() {
		limit = look
	}
	if after, ok := x.mayHedge(); ok {
		after = max(after-now.Sub(x.askedAt), time.Nanosecond)
		if limit == 0 || after < limit {
			limit = after
		}
	}
	return limit
}

// waitsOn tells whether a read that ended in time is to go on: the answer's time is not over, and the server is not down.
func (x *exchange) waitsOn(s *serverConn, err error) bool {
	if !isTimeout(err) || x.link.isGone() || x.send.started {
		return false
	}
	if x.hedge != nil && x.hedge.ready() {
		return false
	}
	now := time.Now()
	if limit := x.answerLimit(); limit > 0 && now.Sub(x.askedAt) >= limit-limit/refresh || x.server.Down() && x.elsewhere() {
		return false
	}
	if after, ok := x.mayHedge(); ok && now.Sub(x.askedAt) >= after-after/refresh {
		x.startHedge(s)
	}
	s.readBy.forget()
	s.readBy.read(s.tcp, now, x.patience(now))
	return !x.link.isGone() && (x.hedge == nil || !x.hedge.ready()) // the deadline that said so may have been overwritten
}

// refuseAnswer tells whether the answer's status makes it one that is tried elsewhere. It is passed on where that is not possible.
func (x *exchange) refuseAnswer() error {
	retries := x.route.service.Retries()
	if len(retries.Status) == 0 || !slices.Contains(retries.Status, x.res.Status) || !x.elsewhere() {
		return nil
	}
	return errStatus
}

// holdAnswer waits until a short answer is whole. Its head stays in the buffer meanwhile, where its fields are.
func (x *exchange) holdAnswer(s *serverConn) error {
	n := int(x.res.Length)
	if x.res.Length <= 0 || x.res.Length > maxHeld || len(s.in.bytes()) >= n || x.res.Status < 200 ||
		!message.HasContent(x.req.Method, x.res.Status) || !x.elsewhere() {
		return nil
	}
	end := time.Now().Add(holdTime)
	for len(s.in.bytes()) < n {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		s.readBy.forget()
		s.tcp.SetReadDeadline(time.Now().Add(left))
		if x.link.isGone() { // the deadline that said so may have been overwritten
			return errGone
		}
		switch err := s.in.readBehind(); {
		case err == nil:
		case x.link.isGone():
			return errGone
		case isTimeout(err):
			return nil
		default:
			return early(err)
		}
	}
	return nil
}
