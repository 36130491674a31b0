package h2

import (
	"sync"
	"time"
)

// waiter is a place where one goroutine of a stream waits, at the longest until a deadline. Its timer is made when it is first needed, and runs
// only while somebody waits.
type waiter struct {
	cond    sync.Cond // on the connection's mutex
	timer   *time.Timer
	until   time.Time // zero while nobody waits with a deadline
	spoiled bool      // a timer's call may still be on its way, so that the waiter must not move to another connection
}

// wait waits for a signal or the deadline, which may be zero; it tells whether the deadline has passed. The mutex is held.
func (w *waiter) wait(until time.Time) (expired bool) {
	if until.IsZero() {
		w.cond.Wait()
		return false
	}
	left := time.Until(until)
	if left <= 0 {
		return true
	}
	w.until = until
	if w.timer == nil {
		w.timer = time.AfterFunc(left, w.ring)
	} else {
		w.timer.Reset(left)
	}
	w.cond.Wait()
	if !w.timer.Stop() {
		w.spoiled = true
	}
	w.until = time.Time{}
	return !time.Now().Before(until)
}

// ring wakes who waits, if its time has come: a timer's call may be late, and for an earlier wait.
func (w *waiter) ring() {
	w.cond.L.Lock()
	defer w.cond.L.Unlock()
	if !w.until.IsZero() && !time.Now().Before(w.until) {
		w.cond.Broadcast()
	}
}

// deadline is when something that takes at most d has to be over; zero for no d.
func deadline(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
