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

// queue is the requests that wait for their turn, first come first served.
type queue struct {
	mu      sync.Mutex
	waiting list.List // of *waiter
	n       atomic.Int64
	gaveUp  atomic.Uint64 // requests that waited too long
	refused atomic.Uint64 // requests that came when as many waited as may
}

// waiter is a request that waits.
type waiter struct {
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
	if q.waiting.Len() >= most {
		q.refused.Add(1)
		return nil
	}
	q.n.Add(1)
	return q.waiting.PushBack(&waiter{ask: ask, answer: make(chan grant, 1)})
}

// leave takes a request out that waits no longer. It may have been granted a server just now.
func (q *queue) leave(e *list.Element) (grant, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case g := <-e.Value.(*waiter).answer:
		return g, true
	default:
	}
	q.waiting.Remove(e)
	q.n.Add(-1)
	return grant{}, false
}

// wait queues a request until it gets a server. fault is why it did not get one at once.
func (s *Service) wait(ctx context.Context, ask *Ask, fault error) (*Server, error) {
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
	for e := q.waiting.Front(); e != nil; e = q.waiting.Front() {
		w := e.Value.(*waiter)
		server, err := s.take(w.ask)
		if err == ErrFull || err == errUnchecked {
			return
		}
		q.waiting.Remove(e)
		q.n.Add(-1)
		w.answer <- grant{server, err}
	}
}
