package upstream

import (
	"container/heap"
	"context"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"tripod/proxy/upstream/health"
)

const (
	// maxChecks is how many health checks run at a time.
	maxChecks = 256
	// crowd is the number of new checks above which the first ones are spread over time.
	crowd = 200
	// maxSpread bounds that time.
	maxSpread = time.Second
)

// check is the repeated health check of one server. Its fields are guarded by the checker's mutex.
type check struct {
	server  *Server
	config  health.Config
	target  health.Target
	due     time.Time
	index   int          // in the queue; -1 while it runs
	next    atomic.Int64 // when it is due, in nanoseconds since 1970
	removed bool
}

// kind is how the server is asked.
func (c *check) kind() health.Type {
	if c == nil {
		return health.HTTP
	}
	return c.config.Type
}

// checker runs the checks of all servers: one goroutine with a queue by time, and one short-lived goroutine
// for each check that runs, so that a server costs no stack between its checks.
type checker struct {
	mu     sync.Mutex
	queue  checkQueue
	wake   chan struct{}
	slots  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newChecker() *checker {
	c := &checker{wake: make(chan struct{}, 1), slots: make(chan struct{}, maxChecks)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

func (c *checker) start() { c.wg.Go(c.run) }

// stop ends all checks and waits for them.
func (c *checker) stop() {
	c.cancel()
	c.wg.Wait()
}

// run starts each check when it is due.
func (c *checker) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		next, wait := c.pop()
		if next == nil {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-c.wake:
			case <-c.ctx.Done():
				return
			}
			continue
		}
		select {
		case c.slots <- struct{}{}:
			c.wg.Go(func() { c.runOne(next) })
		case <-c.ctx.Done():
			return
		}
	}
}

// pop takes the check that is due, or tells how long there is none.
func (c *checker) pop() (*check, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		return nil, time.Hour
	}
	if wait := time.Until(c.queue[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&c.queue).(*check), 0
}

func (c *checker) runOne(ch *check) {
	c.mu.Lock()
	config, target, removed := ch.config, ch.target, ch.removed
	c.mu.Unlock()
	if !removed {
		verdict, err := config.Probe(c.ctx, target)
		if c.ctx.Err() == nil {
			ch.server.result(ch, config, verdict, err)
		}
	}
	<-c.slots
	changing := ch.server.changing()
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.removed {
		return
	}
	interval := ch.config.Interval
	if changing {
		interval = ch.config.Fast
	}
	// Counted from when the check was due, so that a slow answer does not make checks rarer.
	ch.due = ch.due.Add(jitter(interval))
	if now := time.Now(); ch.due.Before(now) {
		ch.due = now
	}
	c.push(ch)
	ch.next.Store(ch.due.UnixNano())
}

// jitter varies an interval by a tenth either way, so that the checks of many nodes do not fall together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// push queues a check. c.mu is held.
func (c *checker) push(ch *check) {
	heap.Push(&c.queue, ch)
	if c.queue[0] == ch {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// add starts new checks: at once, or spread over a moment if there are many.
func (c *checker) add(checks []*check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for i, ch := range checks {
		ch.due = now
		if len(checks) > crowd {
			span := min(ch.config.Interval, maxSpread)
			ch.due = now.Add(span * time.Duration(i) / time.Duration(len(checks)))
		}
		c.push(ch)
	}
}

// remove ends a check. A run that is under way is finished and its result is dropped.
func (c *checker) remove(ch *check) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.removed = true
	if ch.index >= 0 && ch.index < len(c.queue) && c.queue[ch.index] == ch {
		heap.Remove(&c.queue, ch.index)
	}
}

// change gives a check another configuration. A shorter interval holds at once.
func (c *checker) change(ch *check, h health.Config, t health.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.target = t
	if reflect.DeepEqual(ch.config, h) {
		return
	}
	ch.config = h
	if ch.index >= 0 && ch.index < len(c.queue) && c.queue[ch.index] == ch {
		if soon := time.Now().Add(h.Interval); ch.due.After(soon) {
			ch.due = soon
			heap.Fix(&c.queue, ch.index)
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// checkQueue is a heap of checks by the time they are due.
type checkQueue []*check

var _ heap.Interface = (*checkQueue)(nil)

func (q checkQueue) Len() int           { return len(q) }
func (q checkQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q checkQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push adds a *check at the end.
func (q *checkQueue) Push(x any) {
	ch := x.(*check)
	ch.index = len(*q)
	*q = append(*q, ch)
}

// Pop takes the last check off.
func (q *checkQueue) Pop() any {
	old := *q
	ch := old[len(old)-1]
	old[len(old)-1] = nil
	ch.index = -1
	*q = old[:len(old)-1]
	return ch
}
