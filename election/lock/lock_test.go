package lock_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election"
	"tripod/election/lock"
)

// One at a time, in the order in which they came, with growing tokens, and nothing is left behind.
func TestExclusive(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	first := acquire(t, m, "jobs/nightly", lock.Options{Command: "report"})
	if !first.Held() || first.Err() != nil || first.Name() != "jobs/nightly" {
		t.Errorf("held %v, error %v, name %q", first.Held(), first.Err(), first.Name())
	}
	var reason atomic.Value
	second := wants(t, m, client, "jobs/nightly", lock.Options{Waiting: func(text string) { reason.Store(text) }}, 1)
	third := wants(t, m, client, "jobs/nightly", lock.Options{}, 2)
	other := acquire(t, m, "jobs", lock.Options{}) // a name before a slash is another lock
	eventually(t, "the reason to wait", func() bool {
		text, _ := reason.Load().(string)
		return strings.HasPrefix(text, "the lock is not free: it is held by tester on here since ") && strings.HasSuffix(text, "(report)")
	})
	second.waits(t)
	release(t, first)
	if first.Held() || first.Err() != nil {
		t.Errorf("after its release: held %v, error %v", first.Held(), first.Err())
	}
	next := second.granted(t)
	third.waits(t)
	if next.Token() <= first.Token() {
		t.Errorf("the token went from %d to %d", first.Token(), next.Token())
	}
	release(t, next)
	last := third.granted(t)
	if last.Token() <= next.Token() {
		t.Errorf("the token went from %d to %d", next.Token(), last.Token())
	}
	release(t, last)
	release(t, last) // twice is as good as once
	release(t, other)
	answer, err := client.Get(t.Context(), lock.Prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range answer.Kvs {
		t.Errorf("left behind: %s", kv.Key)
	}
	eventually(t, "the end of the leases", func() bool {
		leases, err := client.Leases(t.Context())
		return err == nil && len(leases.Leases) == 0
	})
}

// Who shares holds together, but not while, or once, somebody waits to be alone.
func TestSharedIsFair(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	shared := lock.Options{Shared: true}
	one, two := acquire(t, m, "data", shared), acquire(t, m, "data", shared)
	if one.Token() == two.Token() {
		t.Error("two grants have one token")
	}
	writer := wants(t, m, client, "data", lock.Options{}, 1)
	three := wants(t, m, client, "data", shared, 2)
	four := wants(t, m, client, "data", shared, 3)
	release(t, one)
	eventually(t, "the grant gone", func() bool { return count(t, client, "data", "held/s/") == 1 })
	writer.waits(t)
	three.waits(t)
	release(t, two)
	w := writer.granted(t)
	three.waits(t)
	four.waits(t)
	release(t, w)
	a, b := three.granted(t), four.granted(t)
	if !a.Held() || !b.Held() {
		t.Error("the two who share do not hold together")
	}
	release(t, a)
	release(t, b)
}

func TestPermits(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	three := lock.Options{Permits: 3}
	var held []*lock.Lock
	for range 3 {
		held = append(held, acquire(t, m, "slots", three))
	}
	fourth := wants(t, m, client, "slots", three, 1)
	fifth := wants(t, m, client, "slots", three, 2)
	for _, wrong := range []lock.Options{{Permits: 4}, {Shared: true}, {}} {
		_, err := m.Acquire(t.Context(), "slots", wrong)
		if !errors.Is(err, lock.ErrKind) || !strings.Contains(err.Error(), "used as a semaphore of 3 permits by tester on here") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	fourth.waits(t)
	release(t, held[1]) // whichever goes
	held[1] = fourth.granted(t)
	fifth.waits(t)
	release(t, held[0])
	held[0] = fifth.granted(t)
	for _, l := range held {
		if err := l.Upgrade(t.Context()); err == nil {
			t.Error("a permit was upgraded")
		}
		release(t, l)
	}
	single := acquire(t, m, "slots", lock.Options{Shared: true}) // nobody has it: any use is good
	if _, err := m.Acquire(t.Context(), "slots", three); !errors.Is(err, lock.ErrKind) {
		t.Errorf("permits beside a shared lock: %v", err)
	}
	release(t, single)
}

func TestTry(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	try := lock.Options{Try: true}
	l := acquire(t, m, "once", try)
	if _, err := m.Acquire(t.Context(), "once", try); !errors.Is(err, lock.ErrHeld) || !strings.Contains(err.Error(), "held by tester") {
		t.Errorf("of a lock that is held: %v", err)
	}
	w := wants(t, m, client, "once", lock.Options{}, 1)
	if _, err := m.Acquire(t.Context(), "once", try); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("of a lock that is waited for: %v", err)
	}
	release(t, l)
	release(t, w.granted(t))
	eventually(t, "the places given up", func() bool { return count(t, client, "once", "") == 0 })
	slots := lock.Options{Permits: 2, Try: true}
	one, two := acquire(t, m, "slots", slots), acquire(t, m, "slots", slots)
	if _, err := m.Acquire(t.Context(), "slots", slots); !errors.Is(err, lock.ErrHeld) {
		t.Errorf("of a third permit: %v", err)
	}
	release(t, one)
	release(t, two)
}

// Who gives up waiting leaves no trace, and those behind go on.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	l := acquire(t, m, "x", lock.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() { _, err := m.Acquire(ctx, "x", lock.Options{}); gone <- err }()
	eventually(t, "the place", func() bool { return count(t, client, "x", "queue/") == 1 })
	behind := wants(t, m, client, "x", lock.Options{}, 2)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "held by tester") {
		t.Errorf("given up with %v", err)
	}
	eventually(t, "the place given up", func() bool { return count(t, client, "x", "queue/") == 1 })
	release(t, l)
	release(t, behind.granted(t))
}

// A lock that is taken away by hand ends at once for its holder, and is nobody else's before the right is over, whatever the holder does.
func TestTakenAway(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	clock := election.Clock()
	for what, take := range map[string]func(alive string, lease clientv3.LeaseID) error{
		"key": func(alive string, _ clientv3.LeaseID) error {
			_, err := client.Delete(t.Context(), alive)
			return err
		},
		"lease": func(_ string, lease clientv3.LeaseID) error {
			_, err := client.Revoke(t.Context(), lease)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := acquire(t, m, what, lock.Options{TTL: 3 * time.Second})
			next := wants(t, m, client, what, lock.Options{}, 1)
			answer, err := client.Get(t.Context(), lock.Prefix+what+"/@held/alive/", clientv3.WithPrefix())
			if err != nil || len(answer.Kvs) != 1 {
				t.Fatal(answer, err)
			}
			if err := take(string(answer.Kvs[0].Key), clientv3.LeaseID(answer.Kvs[0].Lease)); err != nil {
				t.Fatal(err)
			}
			select {
			case <-l.Lost():
			case <-time.After(patience):
				t.Fatal("its loss is not told")
			}
			if err := l.Err(); !errors.Is(err, lock.ErrLost) {
				t.Errorf("lost with %v", err)
			}
			until := l.Until()
			after := next.granted(t)
			if now := clock(); now < until {
				t.Errorf("granted %s before the right was over", until-now)
			}
			if l.Held() {
				t.Error("both hold")
			}
			if after.Token() <= l.Token() {
				t.Errorf("the token went from %d to %d", l.Token(), after.Token())
			}
			release(t, l) // late, and no harm to the next
			if !after.Held() || after.Err() != nil || count(t, client, what, "held/") != 2 {
				t.Error("the release of a lost lock took the next one's away")
			}
			release(t, after)
		})
	}
}

// A holder that stops its work and releases the lock when it has lost it spares the others the rest of the wait.
func TestReleaseAfterLoss(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	l := acquire(t, m, "x", lock.Options{TTL: 50 * time.Minute})
	next := wants(t, m, client, "x", lock.Options{}, 1)
	if _, err := client.Delete(t.Context(), lock.Prefix+"x/@held/alive/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	<-l.Lost()
	if !l.Held() {
		t.Error("the right is over before its time")
	}
	release(t, l)
	release(t, next.granted(t)) // in less than the half hour that the right had
}

// Writes land only while the lock is held.
func TestGuard(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	put := func(l *lock.Lock, value string, conditions ...clientv3.Cmp) bool {
		t.Helper()
		answer, err := client.Txn(t.Context()).If(l.Guard(conditions...)...).Then(clientv3.OpPut("/app", value)).Commit()
		if err != nil {
			t.Fatal(err)
		}
		return answer.Succeeded
	}
	first := acquire(t, m, "x", lock.Options{})
	if !put(first, "1") {
		t.Error("refused while held")
	}
	if !put(first, "2", clientv3.Compare(clientv3.Value("/app"), "=", "1")) {
		t.Error("refused with a condition that holds")
	}
	if put(first, "3", clientv3.Compare(clientv3.Value("/app"), "=", "1")) {
		t.Error("the guard has replaced the other condition")
	}
	late := first.Guard()
	release(t, first)
	if put(first, "4") {
		t.Error("allowed after the release")
	}
	second := acquire(t, m, "x", lock.Options{Shared: true})
	answer, err := client.Txn(t.Context()).If(late...).Then(clientv3.OpPut("/app", "5")).Commit()
	if err != nil || answer.Succeeded {
		t.Errorf("a late write: %v, %v", answer, err)
	}
	if !put(second, "6") {
		t.Error("refused while shared")
	}
	if err := second.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !put(second, "7") {
		t.Error("refused after an upgrade")
	}
	release(t, second)
}

// The clock of a machine that was suspended has gone on: the right is over before anything has noticed.
func TestSuspended(t *testing.T) {
	t.Parallel()
	client, _ := startEtcd(t)
	var slept atomic.Int64
	clock := election.Clock()
	m := newManager(t, lock.Config{Store: client, Leases: client, Clock: func() time.Duration { return clock() + time.Duration(slept.Load()) }})
	l := acquire(t, m, "x", lock.Options{TTL: 10 * time.Minute})
	if !l.Held() {
		t.Error("not held")
	}
	slept.Store(int64(10 * time.Minute))
	if l.Held() {
		t.Error("held at once after a long sleep")
	}
	select {
	case <-l.Lost():
	case <-time.After(patience):
		t.Error("the loss is not told")
	}
	release(t, l)
}

func TestClosed(t *testing.T) {
	t.Parallel()
	client, _ := startEtcd(t)
	m := newManager(t, lock.Config{Store: client, Leases: client})
	acquire(t, m, "x", lock.Options{})
	acquire(t, m, "y", lock.Options{Shared: true})
	for range 2 {
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, client, "x", "") + count(t, client, "y", ""); n != 0 {
		t.Errorf("%d keys are left", n)
	}
	if _, err := m.Acquire(t.Context(), "x", lock.Options{}); !errors.Is(err, lock.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
