package upstream

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// errUnchecked means that servers are waited for that were never checked yet.
var errUnchecked = errors.New("no server has been checked yet")

// passedOver is how many of those who wait again are tried each time. They wait for fewer servers than the others do, and must not keep them from what is
// free elsewhere; but as all that wait may be such, no more of them are looked at than this.
const passedOver = 4

// queue is the requests that wait for their turn, first come first served. Those that a server has failed have been waiting for longer than all others.
type queue struct {
	mu      sync.Mutex
	again   list.List // of *waiter, that have tried a server
	waiting list.List // of *waiter
	n       atomic.Int64
	gaveUp  atomic.Uint64 // requests that waited too long
	refused atomic.Uint64 // requests that came when as many waited as may
}

// waiter is a request that waits.
type waiter struct {
	in     *list.List
	ask    *Ask
	answer chan grant // has room for one
}

type grant struct {
	server *Server
	err    error
}

func (q *queue) length() int64 { return q.n.Load() }

// enter puts a request at the end of the queue, nil if it is full.
func (q *queue) enter(ask *Ask, most int) *list.Element {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n.Load() >= int64(most) {
		q.refused.Add(1)
		return nil
	}
	q.n.Add(1)
	in := &q.waiting
	if len(ask.Tried) > 0 {
		in = &q.again
	}
	return in.PushBack(&waiter{in: in, ask: ask, answer: make(chan grant, 1)})
}

// leave takes a request out that waits no longer. It may have been granted a server just now.
func (q *queue) leave(e *list.Element) (grant, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w := e.Value.(*waiter)
	select {
	case g := <-w.answer:
		return g, true
	default:
	}
	w.in.Remove(e)
	q.n.Add(-1)
	return grant{}, false
}

// Wait queues a request until it gets a server. fault is why AcquireNow did not give it one; what waiting does not mend is returned at once.
func (s *Service) Wait(ctx context.Context, ask *Ask, fault error) (*Server, error) {
	if fault != ErrFull && fault != errUnchecked {
		return nil, fault
	}
	limits := s.view.Load().limits
	limit := limits.wait
	if fault == errUnchecked {
		limit = firstCheckWait
	}
	e := s.queue.enter(ask, limits.pending)
	if e == nil {
		return nil, fullError(fault)
	}
	began := time.Now()
	defer func() { ask.Waited += time.Since(began) }()
	s.serveQueue() // a place may have become free meanwhile
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var err error
	select {
	case g := <-e.Value.(*waiter).answer:
		return g.server, g.err
	case <-timer.C:
		err = fullError(fault)
	case <-ctx.Done():
		err = ctx.Err()
	}
	if g, ok := s.queue.leave(e); ok {
		return g.server, g.err
	}
	if ctx.Err() == nil {
		s.queue.gaveUp.Add(1)
	}
	return nil, err
}

// fullError is what a request is told that got no turn.
func fullError(fault error) error {
	if fault == errUnchecked {
		return ErrNoneUp
	}
	return fault
}

// serveQueue gives servers to those who wait, in their order, as far as there is room.
func (s *Service) serveQueue() {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	s.serveList(&q.again, passedOver)
	s.serveList(&q.waiting, 1)
}

// serveList serves one of the queue's lists until so many have found no room. The queue is locked.
func (s *Service) serveList(l *list.List, most int) {
	for e := l.Front(); e != nil && most > 0; {
		this, w := e, e.Value.(*waiter)
		e = e.Next()
		server, err := s.take(w.ask)
		if err == ErrFull || err == errUnchecked {
			most--
			continue
		}
		l.Remove(this)
		s.queue.n.Add(-1)
		w.answer <- grant{server, err}
	}
}
