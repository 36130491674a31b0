package lock_test

import (
	"context"
	"net/url"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"tripod/election/lock"
)

// patience bounds a hang; it is no figure.
const patience = 30 * time.Second

// startEtcd starts a real etcd of one member in this process, with the times that nodes use. It ends with the test, or by stop.
func startEtcd(t testing.TB) (client *clientv3.Client, stop func()) {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.LogLevel = "panic"
	cfg.TickMs, cfg.ElectionMs = 50, 500
	nowhere := url.URL{Scheme: "http", Host: "127.44.0.3:0"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(server.Close)
	t.Cleanup(stop)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(patience):
		t.Fatal("etcd does not become ready")
	}
	client = v3client.New(server.Server)
	t.Cleanup(func() { _ = client.Close() })
	return client, stop
}

// newManager makes a Manager that is closed before etcd is.
func newManager(t testing.TB, cfg lock.Config) *lock.Manager {
	t.Helper()
	m, err := lock.NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return m
}

// startLocks starts an etcd and makes a Manager.
func startLocks(t testing.TB) (*lock.Manager, *clientv3.Client) {
	t.Helper()
	client, _ := startEtcd(t)
	return newManager(t, lock.Config{Store: client, Leases: client, Holder: "tester", Host: "here"}), client
}

// acquire takes a lock, or fails the test.
func acquire(t testing.TB, m *lock.Manager, name string, opts lock.Options) *lock.Lock {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l, err := m.Acquire(ctx, name, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func release(t testing.TB, l *lock.Lock) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.Release(ctx); err != nil {
		t.Fatal(err)
	}
}

// waiter is somebody who waits for a lock.
type waiter struct {
	name string
	lock chan *lock.Lock
	err  chan error
}

// wants waits for a lock in the background, and returns when there are so many in the queue.
func wants(t testing.TB, m *lock.Manager, client *clientv3.Client, name string, opts lock.Options, queue int64) *waiter {
	t.Helper()
	w := &waiter{name: name, lock: make(chan *lock.Lock, 1), err: make(chan error, 1)}
	go func() {
		l, err := m.Acquire(t.Context(), name, opts)
		if err != nil {
			w.err <- err
			return
		}
		w.lock <- l
	}()
	eventually(t, "the place in the queue", func() bool { return count(t, client, name, "queue/") == queue })
	return w
}

// granted waits until it has the lock.
func (w *waiter) granted(t testing.TB) *lock.Lock {
	t.Helper()
	select {
	case l := <-w.lock:
		return l
	case err := <-w.err:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatalf("%s is not granted", w.name)
	}
	return nil
}

// waits fails the test if it has the lock.
func (w *waiter) waits(t testing.TB) {
	t.Helper()
	select {
	case <-w.lock:
		t.Fatalf("%s is granted too early", w.name)
	case err := <-w.err:
		t.Fatal(err)
	default:
	}
}

// count is how many keys a lock has in a part of its keys.
func count(t testing.TB, client *clientv3.Client, name, part string) int64 {
	t.Helper()
	answer, err := client.Get(context.Background(), lock.Prefix+name+"/@"+part, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return answer.Count
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// takeAway ends a holder as its death does: its sign of life goes.
func takeAway(t testing.TB, client *clientv3.Client, name string, l *lock.Lock) {
	t.Helper()
	all, err := client.Get(t.Context(), lock.Prefix+name+"/@held/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range all.Kvs {
		if kv.CreateRevision != l.Token() {
			continue
		}
		// Both keys of a grant are written in one transaction.
		if kv.Lease != 0 {
			if _, err := client.Delete(t.Context(), string(kv.Key)); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("no sign of life")
}
