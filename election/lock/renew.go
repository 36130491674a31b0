package lock

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// renewals are how many there are in the time that one gives.
	renewals = 6
	// slowestRead is for long rights, so that a lock that was taken away is noticed.
	slowestRead = 10 * time.Second
	// longestSleep is between two looks at the clock: a timer does not count the time that a machine is suspended.
	longestSleep = 100 * time.Millisecond
)

// renew reads again and again that the lock is held. One read at a time: one that takes too long is abandoned, and what it finds never used.
func (l *Lock) renew(ctx context.Context) {
	every := min(l.hold/renewals, slowestRead)
	for next := every; pause(ctx, next); {
		next = every
		began := l.m.cfg.Clock()
		held, err := l.read(ctx, every)
		switch {
		case err != nil:
			next = every / 4 // beside what the failure has taken
			continue
		case !held:
			l.lose("it was taken away")
			return
		}
		if !l.extend(began + l.hold) {
			return
		}
	}
}

// read finds out whether both the grant and the sign of life are there, at one revision.
func (l *Lock) read(ctx context.Context, limit time.Duration) (bool, error) {
	answer, err := l.m.txn(ctx, limit, nil, []clientv3.Op{
		clientv3.OpGet(l.keys.alive()+l.id, clientv3.WithKeysOnly()),
		clientv3.OpGet(l.keys.exclusive()+l.id, clientv3.WithKeysOnly()),
		clientv3.OpGet(l.keys.shared()+l.id, clientv3.WithKeysOnly()),
	}, nil)
	if err != nil {
		return false, err
	}
	found := func(i int) bool { return len(answer.Responses[i].GetResponseRange().Kvs) > 0 }
	return found(0) && (found(1) || found(2)), nil
}

// extend moves the end of the right, unless it has passed: then somebody may hold already what this process believes to be its own.
func (l *Lock) extend(until time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != nil || l.m.cfg.Clock() >= l.until {
		return false
	}
	l.until = max(l.until, until)
	return true
}

// guardDeadline ends the hold when the right is about to end.
func (l *Lock) guardDeadline(ctx context.Context) {
	for {
		l.mu.Lock()
		left, lost := l.until-l.grace-l.m.cfg.Clock(), l.why != nil
		l.mu.Unlock()
		if lost {
			return
		}
		if left <= 0 {
			l.lose("it could not be renewed in time")
			return
		}
		if !pause(ctx, min(left, longestSleep)) {
			return
		}
	}
}

// lose closes Lost, once. The right is not renewed any more.
func (l *Lock) lose(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.why != nil {
		return
	}
	l.why = fmt.Errorf("%w: %s", ErrLost, why)
	l.m.cfg.Log.Warn("a lock is lost", "lock", l.name, "reason", why)
	close(l.lost)
}
