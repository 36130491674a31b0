package resolve

import (
	"container/heap"
	"context"
	"time"
)

// queue is a heap of names by the time they are due.
type queue []*name

var _ heap.Interface = (*queue)(nil)

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push adds a *name at the end.
func (q *queue) Push(x any) {
	n := x.(*name)
	n.index = len(*q)
	*q = append(*q, n)
}

// Pop takes the last name off.
func (q *queue) Pop() any {
	old := *q
	n := old[len(old)-1]
	old[len(old)-1] = nil
	n.index = -1
	*q = old[:len(old)-1]
	return n
}

// push queues a name. r.mu is held.
func (r *Resolver) push(n *name) {
	heap.Push(&r.queue, n)
	if r.queue[0] == n {
		r.stir()
	}
}

// stir makes the loop look at the queue anew.
func (r *Resolver) stir() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// drop takes a name that nobody watches out of the queue, or ends its being asked. r.mu is held.
func (r *Resolver) drop(n *name) {
	if n.index >= 0 {
		heap.Remove(&r.queue, n.index)
	}
	if n.cut != nil {
		n.cut()
	}
}

// hurry makes names due now. r.mu is held.
func (r *Resolver) hurry(which func(*name) bool) {
	now := time.Now()
	for _, n := range r.names {
		switch {
		case !which(n):
		case n.cut != nil:
			n.again = true
		case n.index >= 0 && n.due.After(now):
			n.due = now
			heap.Fix(&r.queue, n.index)
		}
	}
	r.stir()
}

// run asks each name when it is due, and looks after the system's files.
func (r *Resolver) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	surveyed := time.Now()
	for {
		if time.Since(surveyed) >= surveyTime {
			r.survey()
			surveyed = time.Now()
		}
		// The place to ask in is taken first: what is due next may be another name once there is one.
		select {
		case r.slots <- struct{}{}:
		case <-r.ctx.Done():
			return
		}
		n, ctx, wait := r.pop()
		if n != nil {
			r.wg.Go(func() { r.lookUp(ctx, n) })
			continue
		}
		<-r.slots
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
	}
}

// pop takes the name that is due, with a context that ends when it is to be asked no more, or tells how long to wait.
func (r *Resolver) pop() (*name, context.Context, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		// Names that are being asked may have to be asked again when the files change.
		return nil, nil, r.pause()
	}
	if wait := time.Until(r.queue[0].due); wait > 0 {
		return nil, nil, min(wait, r.pause())
	}
	n := heap.Pop(&r.queue).(*name)
	ctx, cut := context.WithTimeout(r.ctx, maxLookupTime)
	n.cut, n.again = cut, false
	return n, ctx, 0
}

// pause is how long the loop may sleep. r.mu is held.
func (r *Resolver) pause() time.Duration {
	if len(r.names) == 0 {
		return time.Hour
	}
	return surveyTime
}

// survey asks for names anew whose answers the system's files may have changed.
func (r *Resolver) survey() {
	hosts, resolver := r.system.changed()
	if !hosts && !resolver {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Another resolv.conf makes no good answer bad before it expires, but one that failed may go well now.
	r.hurry(func(n *name) bool { return hosts || n.answer.Err != nil })
}

// lookUp asks for a name once.
func (r *Resolver) lookUp(ctx context.Context, n *name) {
	r.mu.Lock()
	l := &lookup{servers: r.servers, former: n.answer.Targets}
	r.mu.Unlock()
	l.hosts, l.conf = r.system.read()
	if len(l.servers) == 0 {
		l.servers = l.conf.servers
	}
	o := l.do(ctx, n.question)
	<-r.slots
	r.mu.Lock()
	defer r.mu.Unlock()
	n.cut()
	n.cut = nil
	if r.ctx.Err() != nil || len(n.watches) == 0 {
		return
	}
	healthy := n.answered && n.answer.Err == nil
	news, moved := n.learn(o, time.Now())
	if n.again {
		n.due = time.Now()
	}
	r.push(n)
	switch err := n.answer.Err; {
	case err != nil && healthy, err != nil && n.failures+n.none == 1:
		r.log.Warn("name not resolved", "name", n.question.Name, "error", err)
	case moved, err == nil && !healthy:
		r.log.Info("name resolved", "name", n.question.Name, "targets", len(n.answer.Targets))
	}
	if news {
		for w := range n.watches {
			r.announce(w)
		}
	}
}
