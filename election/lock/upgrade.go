package lock

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Upgrade makes a shared lock exclusive without giving it up in between: nobody else has held it alone since it was acquired. It waits for
// the other holders, and goes before those in the queue. The token is a greater one afterwards. If another holder is at it
// already it fails at once with ErrUpgrade, since each would wait for the other; when ctx ends, with the error of ctx. After an error the lock is
// held as before, unless it is lost.
func (l *Lock) Upgrade(ctx context.Context) error {
	l.change.Lock()
	defer l.change.Unlock()
	l.mu.Lock()
	entry, released := l.entry, l.released
	l.mu.Unlock()
	switch {
	case released:
		return fmt.Errorf("upgrade lock %s: it was released", l.name)
	case entry.Mode == Exclusive:
		return nil
	case entry.Permits > 0:
		return fmt.Errorf("upgrade lock %s: a semaphore's permit cannot be upgraded", l.name)
	}
	err := l.announce(ctx)
	if err == nil {
		if err = l.alone(ctx); err != nil && l.Err() == nil {
			err = errors.Join(err, l.share(ctx))
		}
	}
	if err != nil {
		return fmt.Errorf("upgrade lock %s: %w", l.name, err)
	}
	return nil
}

// move writes the grant at another place or in another form. It returns the revision; 0 means that a condition did not hold. If the store does
// not answer, nobody knows which form the grant has or will have, and the lock is lost; so the end of ctx does not stop it.
func (l *Lock) move(ctx context.Context, to Entry, conditions ...clientv3.Cmp) (int64, error) {
	l.mu.Lock()
	from := l.key()
	l.mu.Unlock()
	key := l.keys.grant(to.Mode) + l.id
	if to.Upgrading {
		key = l.keys.exclusive() + l.id
	}
	to.Since = time.Now().UTC()
	ops := []clientv3.Op{clientv3.OpPut(key, to.text())}
	if key != from {
		ops = append(ops, clientv3.OpDelete(from))
	}
	answer, err := l.m.txn(context.WithoutCancel(ctx), callTimeout, l.Guard(conditions...), ops, nil)
	if err != nil {
		l.lose(fmt.Sprintf("what became of an upgrade is not known: %v", err))
		return 0, l.Err()
	}
	if !answer.Succeeded {
		return 0, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entry = to
	if key != from {
		l.created = answer.Header.Revision
	}
	if to.Mode == Exclusive {
		l.token = answer.Header.Revision
	}
	return answer.Header.Revision, nil
}

// announce takes the place of an exclusive holder, so that nobody is granted a share any more.
func (l *Lock) announce(ctx context.Context) error {
	for {
		s, err := l.state(ctx)
		if err != nil {
			return err
		}
		if len(s.exclusive) > 0 || s.moreExclusive {
			return ErrUpgrade // nobody but one who shares as well can be there
		}
		to := l.entry
		to.Upgrading = true
		revision, err := l.move(ctx, to, since(l.keys.exclusive(), s.revision))
		if err != nil || revision != 0 {
			return err
		}
	}
}

// alone waits for the others to go.
func (l *Lock) alone(ctx context.Context) error {
	dead := orphans{}
	var holders *watch
	defer func() { holders.close() }()
	for {
		s, err := l.state(ctx)
		if err != nil {
			return err
		}
		to := l.entry
		to.Mode, to.Upgrading = Exclusive, false
		if s.free(l.id, to) {
			revision, err := l.move(ctx, to, since(l.keys.shared(), s.revision))
			if err != nil || revision != 0 {
				return err
			}
			continue
		}
		if holders.over() {
			holders.close()
			holders = l.m.watchNow(ctx, l.keys.held())
			continue
		}
		l.m.await(ctx, l.keys, s.blockers(l.id, to), s, dead, holders, l.lost)
	}
}

// share goes back to sharing, which takes the way of others free.
func (l *Lock) share(ctx context.Context) error {
	to := l.entry
	to.Upgrading = false
	_, err := l.move(ctx, to)
	return err
}

// state reads who holds the lock, and tries until that works, ctx ends or the lock is lost.
func (l *Lock) state(ctx context.Context) (state, error) {
	for {
		if err := errors.Join(l.Err(), ctx.Err()); err != nil {
			return state{}, err
		}
		answer, err := l.m.txn(ctx, callTimeout, nil, stateOps(l.keys), nil)
		if err == nil {
			return parseState(answer), nil
		}
		pause(ctx, retryPause)
	}
}
