package lock_test

import (
	"context"
	"errors"
	"testing"

	"tripod/election/lock"
)

var shared = lock.Options{Shared: true}

// From shared to exclusive without a gap, before those who wait, once the others are gone.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	one, two := acquire(t, m, "x", shared), acquire(t, m, "x", shared)
	writer := wants(t, m, client, "x", lock.Options{}, 1)
	before := one.Token()
	done := make(chan error, 1)
	go func() { done <- one.Upgrade(t.Context()) }()
	eventually(t, "the announcement", func() bool { return count(t, client, "x", "held/x/") == 1 })
	if err := two.Upgrade(t.Context()); !errors.Is(err, lock.ErrUpgrade) {
		t.Errorf("the second of two: %v", err)
	}
	if !two.Held() || count(t, client, "x", "held/s/") != 1 {
		t.Error("who was refused does not share any more")
	}
	select {
	case err := <-done:
		t.Fatalf("upgraded beside another holder: %v", err)
	default:
	}
	release(t, two)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if one.Token() <= two.Token() || one.Token() <= before {
		t.Errorf("tokens %d before, %d after the upgrade, %d of the other", before, one.Token(), two.Token())
	}
	writer.waits(t)
	if err := one.Upgrade(t.Context()); err != nil {
		t.Errorf("of an exclusive lock: %v", err)
	}
	release(t, one)
	w := writer.granted(t)
	if w.Token() <= one.Token() {
		t.Errorf("who waited before the upgrade has token %d, which is not after %d", w.Token(), one.Token())
	}
	release(t, w)
	if count(t, client, "x", "") != 0 {
		t.Error("keys are left behind")
	}
}

// Who gives up shares on, and so may others.
func TestUpgradeGivenUp(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	one, two := acquire(t, m, "x", shared), acquire(t, m, "x", shared)
	token := one.Token()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- one.Upgrade(ctx) }()
	eventually(t, "the announcement", func() bool { return count(t, client, "x", "held/x/") == 1 })
	third := wants(t, m, client, "x", shared, 1) // nobody is granted a share meanwhile
	third.waits(t)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("given up with %v", err)
	}
	l := third.granted(t)
	if !one.Held() || one.Err() != nil || one.Token() != token || count(t, client, "x", "held/s/") != 3 {
		t.Error("it is not shared as before")
	}
	answer, err := client.Txn(t.Context()).If(one.Guard()...).Commit()
	if err != nil || !answer.Succeeded {
		t.Errorf("its guard: %v, %v", answer, err)
	}
	for _, held := range []*lock.Lock{one, two, l} {
		release(t, held)
	}
}

// The right of a dead holder is waited out by one who upgrades, too.
func TestUpgradeBesideTheDead(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	other := newManager(t, lock.Config{Store: client, Leases: client})
	dead, one := acquire(t, other, "x", shared), acquire(t, m, "x", shared)
	takeAway(t, client, "x", dead)
	if err := one.Upgrade(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dead.Held() {
		t.Error("upgraded while another held")
	}
	release(t, one)
}
