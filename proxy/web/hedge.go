package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"tripod/proxy/upstream"
)

// errHedged: a second server has begun to answer before the first one did.
var errHedged = errors.New("another server answered first")

// hedge is a second server that is asked the same, since the first one takes long. Whoever begins to answer first is the one that answers; the other is
// let go. (Dean and Barroso, The Tail at Scale, 2013.)
type hedge struct {
	server *upstream.Server
	pool   *serverPool
	wire   []byte
	limit  time.Duration // from the request's end to the answer
	first  *serverConn   // whose waiting ends when the second begins to answer
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	conn    *serverConn
	stopped bool
	began   bool  // it has begun to answer
	fault   error // why it will not, unless it was let go before
}

// mayHedge tells whether a second server may be asked, and after which time: a GET of a client that is free to choose its server.
func (x *exchange) mayHedge() (after time.Duration, ok bool) {
	after = x.route.service.Retries().Hedge
	return after, after > 0 && !x.hedged && x.req.Method == "GET" && x.req.Upgrade == "" && x.choice.Cookie == "" && x.elsewhere()
}

// startHedge asks a second server, if there is one to be had at once, and the budget of retries has room.
func (x *exchange) startHedge(s *serverConn) {
	x.choice.Try(x.server)
	server, err := x.route.service.AcquireSpare(&x.choice)
	x.choice.Untry()
	if err != nil {
		return
	}
	if !x.retrying {
		if !x.route.service.RetryNow() {
			server.Release()
			return
		}
		x.retrying = true
	}
	ctx, cancel := context.WithCancel(x.front.life)
	h := &hedge{
		server: server, pool: x.engine.poolOf(server), wire: x.send.wire, limit: x.limits.firstByte, first: s, cancel: cancel, done: make(chan struct{}),
	}
	x.hedge, x.hedged = h, true
	x.tries++
	go h.run(ctx, x.connectLimit(), x.engine, x.address)
}

// run asks, and waits for the first bytes of the answer. They end the waiting for the first server.
func (h *hedge) run(ctx context.Context, connect time.Duration, e *Engine, client string) {
	defer close(h.done)
	defer e.survive(client)
	err := h.ask(ctx, connect)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stopped {
		return
	}
	if h.began, h.fault = err == nil, err; h.began {
		h.first.tcp.SetReadDeadline(past)
	}
}

func (h *hedge) ask(ctx context.Context, connect time.Duration) error {
	s := h.pool.get(true)
	if s == nil {
		var err error
		if s, err = h.pool.dial(ctx, h.server, connect); err != nil {
			return err
		}
	}
	h.mu.Lock()
	h.conn = s
	stopped := h.stopped
	s.readBy.forget()
	s.writeBy.forget()
	var end time.Time
	if h.limit > 0 {
		end = time.Now().Add(h.limit)
	}
	s.tcp.SetDeadline(end)
	h.mu.Unlock()
	if stopped {
		return errGone
	}
	if _, err := s.tcp.Write(h.wire); err != nil {
		return err
	}
	return s.in.read()
}

// ready tells whether the second server has begun to answer.
func (h *hedge) ready() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.began
}

// SetDeadline implements interrupter.
func (h *hedge) SetDeadline(t time.Time) error {
	h.cancel()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn == nil {
		return nil
	}
	return h.conn.tcp.SetDeadline(t)
}

// hedgeWins waits for the second server, since the first one has failed, or has been overtaken. It tells whether that has begun to answer.
func (x *exchange) hedgeWins() bool {
	if !x.link.attach(x.hedge) {
		return false
	}
	<-x.hedge.done // it has a limit of its own
	return x.hedge.ready() && !x.link.isGone()
}

// orHedge is why the first server gives no answer, or errHedged if there is a second one that does. Unless it was just overtaken the first one has failed.
func (x *exchange) orHedge(fault error) error {
	if x.hedge == nil {
		return fault
	}
	overtaken := isTimeout(fault) && x.hedge.ready()
	if !x.hedgeWins() {
		return fault
	}
	if !overtaken {
		x.server.Failed(fault)
	}
	return errHedged
}

// stop lets the second server go. When it returns nobody touches the first one's connection any more.
func (h *hedge) stop(now time.Time) {
	h.mu.Lock()
	h.stopped = true
	if h.conn != nil {
		h.conn.tcp.SetDeadline(past)
	}
	h.mu.Unlock()
	h.cancel()
	<-h.done
	if h.conn != nil {
		h.conn.done(false, now)
	}
	h.server.Release()
}

// endHedge lets the second server go, if one was asked.
func (x *exchange) endHedge() {
	h := x.hedge
	if h == nil {
		return
	}
	x.hedge = nil
	h.stop(x.now)
	h.first.readBy.forget() // it may have been set to the past
	if h.fault != nil && x.serversFault(h.fault) {
		h.server.Failed(h.fault)
		x.choice.Try(h.server)
	}
}

// followHedge goes on with the second server, which has begun to answer.
func (x *exchange) followHedge() error {
	h := x.hedge
	x.hedge = nil
	h.cancel()
	defer h.server.Release()
	x.server = h.server
	return x.converse(h.conn, true)
}
