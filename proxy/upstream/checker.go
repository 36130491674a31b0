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
	// maxCommands is how many of these are processes, which cost the node more than connections do.
	maxCommands = 16
	// crowd is the number of new checks above which the first ones are spread over time.
	crowd = 200
	// maxSpread bounds that time.
	maxSpread = time.Second
)

// check is the repeated health check of one server. Its fields are guarded by the checker's mutex; probe and target are changed under Service.mu as well.
type check struct {
	server  *Server
	probe   *health.Probe
	target  health.Target
	due     time.Time
	index   int          // in the queue; -1 while it runs, or waits among the commands
	next    atomic.Int64 // when it is due, in nanoseconds since 1970
	removed bool
}

// kind is how the server is asked. Service.mu is held.
func (c *check) kind() health.Type {
	if c == nil {
		return health.HTTP
	}
	return c.probe.Config().Type
}

// checker runs the checks of all servers: one goroutine with a queue by time, and one short-lived goroutine
// for each check that runs, so that a server costs no stack between its checks.
type checker struct {
	mu       sync.Mutex
	queue    checkQueue
	commands int           // checks that run a command
	waiting  []*check      // that are due and run a command, when as many do as may
	compiled *health.Probe // the last that was compiled

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

// runOne carries out a check that is due, and queues it anew.
func (c *checker) runOne(ch *check) {
	defer func() { <-c.slots }()
	probe, target, ok := c.begin(ch)
	if !ok {
		return
	}
	verdict, err := probe.Ask(c.ctx, target)
	if c.ctx.Err() != nil {
		return
	}
	// What a question found out that is asked no more says nothing about the one that is.
	stale := c.changed(ch, probe, target)
	if !stale {
		ch.server.result(ch, probe.Config(), verdict, err)
	}
	c.end(ch, probe, ch.server.changing(), stale)
}

// begin says what is to be asked. It is nothing if the check was removed meanwhile, or has to wait until fewer commands run.
func (c *checker) begin(ch *check) (*health.Probe, health.Target, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch.removed {
		return nil, health.Target{}, false
	}
	if ch.probe.Config().Type == health.Exec {
		if c.commands == maxCommands {
			c.waiting = append(c.waiting, ch)
			return nil, health.Target{}, false
		}
		c.commands++
	}
	return ch.probe, ch.target, true
}

// changed tells whether something else is to be asked by now.
func (c *checker) changed(ch *check, probe *health.Probe, target health.Target) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ch.probe != probe || ch.target.HTTP2 != target.HTTP2 || (ch.target.TLS == nil) != (target.TLS == nil)
}

// end queues a check that has run: soon if the server's state is changing, and at once if it has to be asked something else.
func (c *checker) end(ch *check, ran *health.Probe, changing, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ran.Config().Type == health.Exec {
		c.commands--
		if next := c.nextCommand(); next != nil {
			c.push(next)
		}
	}
	if ch.removed {
		return
	}
	h := ch.probe.Config()
	interval := h.Interval
	if changing {
		interval = h.Fast
	}
	now := time.Now()
	// Counted from when the check was due, so that a slow answer does not make checks rarer.
	ch.due = ch.due.Add(jitter(interval))
	if again || ch.due.Before(now) {
		ch.due = now
	}
	c.push(ch)
}

// nextCommand takes the first of those out that wait until fewer commands run, and are wanted still; nil if there is none. c.mu is held.
func (c *checker) nextCommand() *check {
	for len(c.waiting) > 0 {
		next := c.waiting[0]
		c.waiting[0] = nil
		c.waiting = c.waiting[1:]
		if !next.removed {
			return next
		}
	}
	return nil
}

// jitter varies an interval by a tenth either way, so that the checks of many nodes do not fall together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// push queues a check. c.mu is held.
func (c *checker) push(ch *check) {
	ch.next.Store(ch.due.UnixNano())
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
			span := min(ch.probe.Config().Interval, maxSpread)
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

// change gives a check another configuration, or another way to its server. A shorter interval holds at once, spread over its length, for it may be that of many.
func (c *checker) change(ch *check, p *health.Probe, t health.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.target = t
	if ch.probe == p || reflect.DeepEqual(ch.probe.Config(), p.Config()) {
		return
	}
	ch.probe = p
	if ch.index >= 0 && ch.index < len(c.queue) && c.queue[ch.index] == ch {
		interval := p.Config().Interval
		if now := time.Now(); ch.due.After(now.Add(interval)) {
			ch.due = now.Add(rand.N(interval))
			ch.next.Store(ch.due.UnixNano())
			heap.Fix(&c.queue, ch.index)
		}
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// compile returns the probe of a check. The servers of a service, which come one after the other, share theirs.
func (c *checker) compile(h health.Config) *health.Probe {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.compiled == nil || !reflect.DeepEqual(c.compiled.Config(), h) {
		c.compiled = h.Compile()
	}
	return c.compiled
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
