package lock_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election"
	"tripod/election/lock"
)

var errFault = errors.New("the connection was cut")

// faulty is a real store over a bad line: transactions fail before they are sent, or their answers are lost, or come late.
type faulty struct {
	lock.Store
	faults *atomic.Int64
	lost   *atomic.Int64 // answers
}

func (f faulty) Txn(ctx context.Context) clientv3.Txn { return &faultyTxn{f.Store.Txn(ctx), f} }

type faultyTxn struct {
	clientv3.Txn
	f faulty
}

func (t *faultyTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *faultyTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *faultyTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }

func (t *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	switch rand.N(20) {
	case 0, 1:
		t.f.faults.Add(1)
		return nil, errFault
	case 2, 3:
		if _, err := t.Txn.Commit(); err != nil {
			return nil, err
		}
		t.f.lost.Add(1)
		return nil, errFault
	case 4: // it is executed after its sender has given it up
		t.f.lost.Add(1)
		go func() {
			time.Sleep(rand.N(300 * time.Millisecond))
			_, _ = t.Txn.Commit()
		}()
		return nil, errFault
	}
	return t.Txn.Commit()
}

// ledger has who holds what, by the clock.
type ledger struct {
	mu     sync.Mutex
	grants []span
}

type span struct {
	exclusive  bool
	token      int64
	start, end time.Duration
}

func (l *ledger) add(s span) { l.mu.Lock(); l.grants = append(l.grants, s); l.mu.Unlock() }

// check finds two who held together and must not, and tokens that are not in the order of the exclusive grants.
func (l *ledger) check(t *testing.T) {
	t.Helper()
	for i, a := range l.grants {
		for _, b := range l.grants[i+1:] {
			if a.token == b.token {
				t.Errorf("two grants have one token: %+v, %+v", a, b)
			}
			if !a.exclusive && !b.exclusive {
				continue
			}
			if a.start < b.end && b.start < a.end {
				t.Errorf("held together: %+v, %+v", a, b)
			}
			if (a.start < b.start) != (a.token < b.token) {
				t.Errorf("tokens do not grow: %+v, %+v", a, b)
			}
		}
	}
}

// hold works while the lock is held: it notes when, as those can who ask Held before everything that they do.
func hold(l *lock.Lock, clock func() time.Duration, work time.Duration, s span) span {
	s.token, s.start = l.Token(), clock()
	for s.end = s.start; s.end-s.start < work; time.Sleep(time.Millisecond) {
		now := clock()
		if !l.Held() {
			break
		}
		s.end = now
	}
	return s
}

// Over a bad line nobody holds beside another, nothing hangs, and everything is given back.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	client, _ := startEtcd(t)
	var faults, lost atomic.Int64
	store := faulty{client, &faults, &lost}
	clock := election.Clock()
	var book ledger
	var exclusive, upgrades, sharing atomic.Int64
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var workers sync.WaitGroup
	for worker := range 6 {
		m := newManager(t, lock.Config{Store: store, Leases: client})
		workers.Go(func() {
			for round := 0; ctx.Err() == nil; round++ {
				share := (worker+round)%3 == 0
				l, err := m.Acquire(ctx, "x", lock.Options{TTL: time.Second, Shared: share})
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				book.add(hold(l, clock, rand.N(10*time.Millisecond), span{exclusive: !share}))
				if share {
					sharing.Add(1)
					wish, stop := context.WithTimeout(ctx, 2*time.Second)
					if l.Upgrade(wish) == nil {
						upgrades.Add(1)
						book.add(hold(l, clock, rand.N(10*time.Millisecond), span{exclusive: true}))
					}
					stop()
				} else {
					exclusive.Add(1)
				}
				release(t, l)
			}
		})
	}
	workers.Wait()
	book.check(t)
	t.Logf("%d exclusive, %d shared, %d upgraded; %d calls failed, %d answers lost", exclusive.Load(), sharing.Load(), upgrades.Load(), faults.Load(), lost.Load())
	if exclusive.Load() < 5 || sharing.Load() < 5 || upgrades.Load() < 1 || lost.Load() < 20 {
		t.Error("too little has happened")
	}
	m := newManager(t, lock.Config{Store: client, Leases: client})
	release(t, acquire(t, m, "x", lock.Options{}))
	eventually(t, "all keys gone", func() bool { return count(t, client, "x", "") == 0 })
}

// Without its store a holder is told that it loses the lock in time before its right ends, and who waits is told why.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	client, stop := startEtcd(t)
	clock := election.Clock()
	m, err := lock.NewManager(lock.Config{Store: client, Leases: client})
	if err != nil {
		t.Fatal(err)
	}
	l := acquire(t, m, "x", lock.Options{TTL: 3 * time.Second})
	first := l.Until()
	eventually(t, "the right is renewed", func() bool { return l.Until() > first })
	stop()
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Fatal("the loss is not told")
	}
	if left := l.Until() - clock(); left <= 0 {
		t.Errorf("told %s after the right was over", -left)
	}
	if err := l.Err(); !errors.Is(err, lock.ErrLost) || !strings.Contains(err.Error(), "could not be renewed in time") {
		t.Error(err)
	}
	eventually(t, "the end of the right", func() bool { return !l.Held() })
	leaving, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := l.Release(leaving); err == nil || !strings.Contains(err.Error(), "it is free in") {
		t.Errorf("released without a store: %v", err)
	}
	var reason string
	trying, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err = m.Acquire(trying, "x", lock.Options{Waiting: func(text string) { reason = text }})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the store does not answer") {
		t.Errorf("acquired without a store: %v", err)
	}
	if !strings.HasPrefix(reason, "the store does not answer: ") {
		t.Errorf("it waits because of %q", reason)
	}
	closing, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.Close(closing); err != nil {
		t.Error(err)
	}
}

// slow is a real store whose answers come late. It notes when questions were sent.
type slow struct {
	lock.Store
	clock func() time.Duration
	mu    sync.Mutex
	sent  []time.Duration
}

func (s *slow) Txn(ctx context.Context) clientv3.Txn { return &slowTxn{s.Store.Txn(ctx), s} }

type slowTxn struct {
	clientv3.Txn
	s *slow
}

func (t *slowTxn) If(c ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(c...); return t }
func (t *slowTxn) Then(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Then(o...); return t }
func (t *slowTxn) Else(o ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(o...); return t }

func (t *slowTxn) Commit() (*clientv3.TxnResponse, error) {
	t.s.mu.Lock()
	t.s.sent = append(t.s.sent, t.s.clock())
	t.s.mu.Unlock()
	answer, err := t.Txn.Commit()
	time.Sleep(50 * time.Millisecond)
	return answer, err
}

// A right is counted from before the question was sent, however late the answer comes.
func TestCountedFromBefore(t *testing.T) {
	t.Parallel()
	client, _ := startEtcd(t)
	store := &slow{Store: client, clock: election.Clock()}
	m := newManager(t, lock.Config{Store: store, Leases: client, Clock: store.clock})
	l := acquire(t, m, "x", lock.Options{TTL: 3 * time.Second})
	grants, err := client.Get(t.Context(), lock.Prefix+"x/@held/x/", clientv3.WithPrefix())
	if err != nil || len(grants.Kvs) != 1 {
		t.Fatal(grants, err)
	}
	entry, err := lock.ParseEntry(grants.Kvs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	hold := time.Duration(entry.Hold) * time.Millisecond
	last := time.Duration(0)
	for range 4 { // the grant, and three renewals
		var until time.Duration
		eventually(t, "the next renewal", func() bool { until = l.Until(); return until > last })
		last = until
		store.mu.Lock()
		before := 0
		for _, sent := range store.sent {
			// Counted from after an answer there would be no question until the next renewal, 316 ms later.
			if sent >= until-hold && sent < until-hold+250*time.Millisecond {
				before++
			}
		}
		store.mu.Unlock()
		if before == 0 {
			t.Errorf("the right is not counted from just before a question was sent")
		}
	}
	release(t, l)
}
