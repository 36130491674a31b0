package lock

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Lock is a lock that was granted. It is safe for concurrent use.
type Lock struct {
	m     *Manager
	name  string
	keys  keys
	id    string
	lease clientv3.LeaseID
	life  *life
	hold  time.Duration
	ttl   time.Duration
	grace time.Duration

	change sync.Mutex // one Upgrade or Release at a time

	mu       sync.Mutex // guards what follows
	entry    Entry
	token    int64
	created  int64         // the create revision of the grant's key
	until    time.Duration // on the Manager's clock
	lost     chan struct{}
	why      error
	released bool

	cancel context.CancelFunc // ends the renewals
	done   sync.WaitGroup
}

// newLock is for one who has been granted the lock at a revision, as a call has shown that began at a time.
func newLock(a *attempt, revision int64, began time.Duration) *Lock {
	l := &Lock{
		m: a.m, name: a.name, keys: a.keys, id: a.id, lease: a.lease, life: a.life, hold: a.hold, ttl: a.ttl,
		grace: cmp.Or(a.opts.Grace, a.hold/4), entry: a.entry, token: revision, created: revision,
		until: began + a.hold, lost: make(chan struct{}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.done.Go(func() { l.renew(ctx) })
	l.done.Go(func() { l.guardDeadline(ctx) })
	return l
}

// Name is the lock's name.
func (l *Lock) Name() string { return l.name }

// Token is the fencing token: the store's revision at which the lock was granted. Every grant of a lock, and every upgrade, has a greater one than
// all before. A resource that keeps the greatest token that it has seen, and refuses smaller ones, is safe from late writers.
func (l *Lock) Token() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// TTL is for how long the lock stays held at most after its holder has died; it may be more than was asked for.
func (l *Lock) TTL() time.Duration { return l.ttl }

// Until is when the right to hold ends, on the clock of the Manager, unless it is renewed: nobody else is granted the lock before. Zero once the
// lock was released.
func (l *Lock) Until() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// Held tells whether the right to hold has not ended, by the clock and at this moment. One whose process was stopped, or its machine suspended,
// gets the true answer before anything else has noticed. It goes on to be true for a while after Lost: what is being done has to end by then.
func (l *Lock) Held() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m.cfg.Clock() < l.until
}

// Lost is closed when the lock is lost, or cannot be renewed and the right to hold is about to end: Options.Grace before Until, or less if the
// process did not run. It is not closed by Release.
func (l *Lock) Lost() <-chan struct{} { return l.lost }

// Err says why the lock is lost, wrapping ErrLost; nil while it is not.
func (l *Lock) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// Guard adds to the conditions of a transaction, for its If, the one that the lock is held: it is granted to this holder, and has not been taken
// away from it. The store checks that as it writes, so that a late write fails, however late it is. The guard of a lock that was
// released never holds.
func (l *Lock) Guard(conditions ...clientv3.Cmp) []clientv3.Cmp {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := clientv3.Compare(clientv3.CreateRevision(l.key()), "=", l.created)
	return append(append([]clientv3.Cmp(nil), conditions...), own)
}

// key is where the grant is; l.mu is held.
func (l *Lock) key() string {
	if l.entry.Upgrading {
		return l.keys.exclusive() + l.id
	}
	return l.keys.grant(l.entry.Mode) + l.id
}

// Release gives the lock back, to be called when what was done under it has ended, also after it was lost: then the next holder need not wait
// any longer. It tries again until ctx ends. If it fails, the lock is free after TTL. To call it again does nothing.
func (l *Lock) Release(ctx context.Context) error {
	l.change.Lock()
	defer l.change.Unlock()
	l.mu.Lock()
	released := l.released
	l.released = true
	l.until = 0
	l.mu.Unlock()
	if released {
		return nil
	}
	l.cancel()
	l.done.Wait()
	l.m.forget(l)
	var err error
	for {
		if err = l.m.forgetKeys(ctx, l.keys, l.id); err == nil || !pause(ctx, retryPause) {
			break
		}
	}
	l.farewell()
	if err != nil {
		return fmt.Errorf("release lock %s: %w: it is free in %s at most", l.name, err, l.ttl.Round(100*time.Millisecond))
	}
	return nil
}

// farewell gives the lease back, which nobody waits for.
func (l *Lock) farewell() {
	leave := func() {
		l.life.stop()
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		_, _ = l.m.cfg.Leases.Revoke(ctx, l.lease)
	}
	if l.m.begin() {
		go func() { defer l.m.work.Done(); leave() }()
		return
	}
	leave() // Close waits for this
}
