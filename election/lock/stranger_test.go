package lock_test

import (
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election/lock"
)

// What strangers put among the keys of a lock neither wedges it nor counts as holding or waiting.
func TestStrangers(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	lease, err := client.Grant(t.Context(), 3600)
	if err != nil {
		t.Fatal(err)
	}
	const entry = `{"mode":"exclusive","hold_ms":3600000}`
	put := func(key, value string, opts ...clientv3.OpOption) {
		t.Helper()
		if _, err := client.Put(t.Context(), lock.Prefix+"x/@"+key, value, opts...); err != nil {
			t.Fatal(err)
		}
	}
	leased := clientv3.WithLease(lease.ID)
	id := func(i int) string { return fmt.Sprintf("%032x", i) }
	strangers := func(from int) {
		t.Helper()
		for i := range 40 { // more than are looked at at a time
			put("queue/"+id(from+i), entry)                // without a lease
			put("queue/rubbish"+id(from+i), entry, leased) // without an ID
			put("queue/"+id(1000+from+i), "rubbish", leased)
		}
		put("held/x/me", entry)
		put("held/x/"+id(from), "rubbish")
		put("held/s/"+id(from), `{"mode":"shared"}`)
		put("held/alive/"+id(from), "", leased)
		put("held/", "")
		put("", "")
	}
	strangers(1)
	for _, opts := range []lock.Options{{Try: true}, {Shared: true, Try: true}, {Permits: 2, Try: true}} {
		release(t, acquire(t, m, "x", opts))
	}
	eventually(t, "the places given back", func() bool { return count(t, client, "x", "queue/") == 120 })
	first := acquire(t, m, "x", lock.Options{})
	strangers(100)
	second := wants(t, m, client, "x", lock.Options{}, 241)
	strangers(200)
	third := wants(t, m, client, "x", shared, 362)
	second.waits(t)
	release(t, first)
	l := second.granted(t)
	third.waits(t)
	release(t, l)
	l = third.granted(t)
	if err := l.Upgrade(t.Context()); err == nil || !l.Held() {
		// A stranger's key is where only another who upgrades can be: it is looked at, and found to be nobody.
		if err != nil {
			t.Error(err)
		}
	}
	release(t, l)
}

// A grant that somebody has made up, and that looks like one of a dead holder, holds the lock up no longer than a dead holder does.
func TestMadeUpGrant(t *testing.T) {
	t.Parallel()
	m, client := startLocks(t)
	key := lock.Prefix + "x/@held/x/" + fmt.Sprintf("%032x", 1)
	if _, err := client.Put(t.Context(), key, `{"holder":"ghost","mode":"exclusive","hold_ms":1500}`); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	l := acquire(t, m, "x", lock.Options{})
	if took := time.Since(began); took < 1575*time.Millisecond {
		t.Errorf("granted after %s, before the right of a dead holder is over for sure", took)
	}
	release(t, l)
}
