package lock_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election/lock"
)

// counted counts what is asked of the store.
type counted struct {
	lock.Store
	gets, txns, watches atomic.Int64
}

func (c *counted) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	c.gets.Add(1)
	return c.Store.Get(ctx, key, opts...)
}

func (c *counted) Txn(ctx context.Context) clientv3.Txn {
	c.txns.Add(1)
	return c.Store.Txn(ctx)
}

func (c *counted) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	c.watches.Add(1)
	return c.Store.Watch(ctx, key, opts...)
}

func (c *counted) all() int64 { return c.gets.Load() + c.txns.Load() + c.watches.Load() }

// With 1,000 in the queue a lock goes from hand to hand for as few calls as with two: each release wakes one, which takes the lock, and that
// wakes the next, which waits at the head. A long TTL keeps renewals out of the count.
func TestNoHerd(t *testing.T) { // not in parallel: it keeps the machine busy
	client, _ := startEtcd(t)
	store := &counted{Store: client}
	m := newManager(t, lock.Config{Store: store, Leases: client})
	opts := lock.Options{TTL: time.Hour}
	current := acquire(t, m, "x", opts)
	const waiters, group = 1000, 50
	granted := make(chan *lock.Lock)
	for n := range waiters {
		go func() {
			if l, err := m.Acquire(t.Context(), "x", opts); err == nil {
				granted <- l
			}
		}()
		if came := int64(n + 1); came%group == 0 {
			eventually(t, "the queue", func() bool { return count(t, client, "x", "queue/") == came })
		}
	}
	settled := func() int64 { // when all have looked for whom they watch
		last := store.all()
		for quiet := 0; quiet < 200; quiet++ {
			time.Sleep(time.Millisecond)
			if now := store.all(); now != last {
				last, quiet = now, 0
			}
		}
		return last
	}
	before := settled()
	// The release, the look of the first in the queue, its claim, and the watch and the look of the next one, which is the first now. A few more where
	// something takes longer than it may, or two events come.
	const perHand, hands = 5, 100
	for range hands {
		release(t, current)
		select {
		case current = <-granted:
		case <-time.After(patience):
			t.Fatal("nobody is granted")
		}
	}
	calls := settled() - before
	t.Logf("%d calls for %d hand-overs with %d waiting: %d gets, %d transactions, %d watches in all", calls, hands, waiters, store.gets.Load(), store.txns.Load(), store.watches.Load())
	if calls > (perHand+1)*hands {
		t.Errorf("%d calls for %d hand-overs", calls, hands)
	}
	if entered := store.txns.Load() + store.watches.Load() + store.gets.Load(); entered > 5*waiters {
		t.Errorf("%d calls for %d who came and waited", entered, waiters)
	}
}
