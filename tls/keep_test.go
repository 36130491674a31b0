package tls_test

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tripod/tls"
)

// wake makes a manager look at what is due, as it does every minute by itself.
func wake(m *tls.Manager, hosts ...string) { m.SetHosts(hosts, []netip.Addr{home}) }

// A session that was opened on one node resumes on the other, and after the keys were rotated.
func TestSessionsResumeAnywhere(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.2": stdtls.VersionTLS12, "TLS 1.3": stdtls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			storage, client := store(t)
			var clock clock
			a := open(t, tls.Options{Storage: storage, Now: clock.now})
			b := open(t, tls.Options{Storage: storage, Now: clock.now})
			wake(a, "a.test")
			wake(b, "a.test")
			// net/http serves from a clone, which must follow all the same.
			at, bt := serve(t, a.Config()), serve(t, b.Config().Clone())
			session := func() *stdtls.Config {
				config := trust(t, a, "a.test")
				config.MaxVersion = version
				config.ClientSessionCache = stdtls.NewLRUClientSessionCache(0)
				return config
			}
			resumes := func(address string, config *stdtls.Config) bool {
				t.Helper()
				state, err := shake(address, config)
				if err != nil {
					t.Fatal(err)
				}
				return state.DidResume
			}
			one := session()
			if resumes(at, one) {
				t.Fatal("resumed from nothing")
			}
			if !resumes(bt, one) || !resumes(at, one) {
				t.Error("does not resume on another node")
			}
			former := func() []byte {
				answer, err := client.Get(t.Context(), tls.KeyTickets)
				if err != nil || answer.Count != 1 {
					t.Fatalf("%v", err)
				}
				return answer.Kvs[0].Value
			}
			before := former()
			rotate := func() {
				t.Helper()
				clock.move(12*time.Hour + time.Minute)
				wake(a, "a.test")
				wake(b, "a.test")
				waitFor(t, "rotation", func() bool { return !bytes.Equal(former(), before) })
				before = former()
				// The new key is in use when both nodes surely have it.
				clock.move(2 * time.Minute)
				wake(a, "a.test")
				wake(b, "a.test")
			}
			stale := session()
			if resumes(at, stale) {
				t.Fatal("resumed from nothing")
			}
			rotate()
			if !resumes(bt, one) {
				t.Error("does not resume after a rotation")
			}
			waitFor(t, "resumption under the new key", func() bool {
				fresh := session()
				return !resumes(at, fresh) && resumes(bt, fresh)
			})
			rotate()
			rotate()
			waitFor(t, "end of old sessions", func() bool {
				gone := session()
				gone.ClientSessionCache = stale.ClientSessionCache
				return !resumes(bt, gone)
			})
		})
	}
}

// A certificate is renewed at two thirds of its life, once, by whichever node.
func TestRenewal(t *testing.T) {
	storage, client := store(t)
	var clock clock
	a := open(t, tls.Options{Storage: storage, Now: clock.now})
	b := open(t, tls.Options{Storage: storage, Now: clock.now})
	look := func() { wake(a, "a.test"); wake(b, "a.test") }
	look()
	waitFor(t, "certificates", complete(a, 2))
	waitFor(t, "certificates", complete(b, 2))
	at, bt := serve(t, a.Config()), serve(t, b.Config())
	first := leaf(t, at, "a.test")
	if life := first.NotAfter.Sub(first.NotBefore); life != 91*24*time.Hour {
		t.Errorf("good for %v", life)
	}
	clock.move(58 * 24 * time.Hour)
	look()
	waitFor(t, "rotated tickets", func() bool { // a sign that the keepers have looked
		answer, err := client.Get(t.Context(), tls.KeyTickets)
		return err == nil && answer.Count == 1 && answer.Kvs[0].Version >= 2
	})
	if !leaf(t, at, "a.test").Equal(first) {
		t.Error("renewed too early")
	}
	clock.move(4 * 24 * time.Hour)
	look()
	waitFor(t, "renewal on both nodes", func() bool {
		x, y := leaf(t, at, "a.test"), leaf(t, bt, "a.test")
		return x.Equal(y) && !x.Equal(first)
	})
	answer, err := client.Get(t.Context(), tls.KeyInternal+"a.test")
	if err != nil || answer.Kvs[0].Version != 2 {
		t.Errorf("written %d times: %v", answer.Kvs[0].Version, err)
	}
	// When nobody wants the host any more, its certificate goes when it ends.
	wake(a, "b.test")
	wake(b, "b.test")
	clock.move(100 * 24 * time.Hour)
	wake(a, "b.test")
	waitFor(t, "removal", func() bool { return count(t, client, tls.KeyInternal+"a.test") == 0 })
}

// What somebody breaks in the store is repaired, and serving does not suffer.
func TestTampering(t *testing.T) {
	storage, client := store(t)
	m := open(t, tls.Options{Storage: storage})
	wake(m, "a.test", "b.test")
	waitFor(t, "certificates", complete(m, 3))
	pair := selfSigned(t, "added.test")
	info, _, err := m.Add(t.Context(), "mine", pair.cert, pair.key)
	if err != nil {
		t.Fatal(err)
	}
	address := serve(t, m.Config())
	first, authority := leaf(t, address, "a.test"), m.CAPEM()
	put := func(key, value string) {
		t.Helper()
		if _, err := client.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}

	put(tls.KeyInternal+"a.test", "rubbish")
	waitFor(t, "repair", func() bool { return !leaf(t, address, "a.test").Equal(first) && complete(m, 4)() })
	if _, err := shake(address, trust(t, m, "a.test")); err != nil {
		t.Error(err)
	}
	// Another host's value is as bad as rubbish.
	second := leaf(t, address, "a.test")
	stolen, err := client.Get(t.Context(), tls.KeyInternal+"b.test")
	if err != nil {
		t.Fatal(err)
	}
	put(tls.KeyInternal+"a.test", string(stolen.Kvs[0].Value))
	waitFor(t, "repair", func() bool { return !leaf(t, address, "a.test").Equal(second) && complete(m, 4)() })
	if _, err := shake(address, trust(t, m, "a.test")); err != nil {
		t.Error(err)
	}

	// An added one can not be made again: its last good version is served, and the list says so.
	put(tls.KeyAdded+"mine", "rubbish")
	waitFor(t, "error in the list", func() bool { return m.List()[0].Error != "" })
	if !leaf(t, address, "added.test").Equal(pair.parsed) {
		t.Error("an added certificate is lost")
	}
	if got := m.List()[0]; got.Name != "mine" || !got.NotAfter.Equal(info.NotAfter) || !strings.Contains(got.Error, "damaged") {
		t.Errorf("%+v", got)
	}

	put(tls.KeyCA, "rubbish")
	put(tls.KeyTickets, "rubbish")
	waitFor(t, "new ticket keys", func() bool {
		answer, err := client.Get(t.Context(), tls.KeyTickets)
		return err == nil && string(answer.Kvs[0].Value) != "rubbish"
	})
	if !bytes.Equal(m.CAPEM(), authority) {
		t.Error("another authority")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	late := tls.New(tls.Options{Storage: storage, Sealer: sealer(t, testSecret)})
	defer closeManager(t, late)
	if err := late.Open(ctx); !errors.Is(err, tls.ErrSealed) || !strings.Contains(err.Error(), "delete the key "+tls.KeyCA) {
		t.Errorf("opened with a broken authority: %v", err)
	}

	// Deleting it is the way to a new one.
	if _, err := client.Delete(t.Context(), tls.KeyCA); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "new authority", func() bool { return !bytes.Equal(m.CAPEM(), authority) })
	waitFor(t, "certificates by it", func() bool {
		_, a := shake(address, trust(t, m, "a.test"))
		_, b := shake(address, trust(t, m, "b.test"))
		return a == nil && b == nil
	})
	if err := late.Open(ctx); err != nil {
		t.Error(err)
	}
}

func TestOtherSecret(t *testing.T) {
	storage, _ := store(t)
	open(t, tls.Options{Storage: storage})
	m := tls.New(tls.Options{Storage: storage, Sealer: sealer(t, "an entirely different secret")})
	defer closeManager(t, m)
	if err := m.Open(t.Context()); !errors.Is(err, tls.ErrWrongKey) {
		t.Errorf("%v", err)
	}
}

// faulty is a storage that a test cuts off: it does not answer, as etcd without a quorum, or refuses.
type faulty struct {
	tls.Storage
	cut    atomic.Bool
	silent chan struct{} // closed: refuses at once
	single atomic.Int32  // requests for one host while cut off: those of handshakes
}

func (f *faulty) fail(ctx context.Context) error {
	if !f.cut.Load() {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.silent:
		return errors.New("no leader")
	}
}

func (f *faulty) List(ctx context.Context, prefix string) ([]tls.Item, int64, error) {
	if err := f.fail(ctx); err != nil {
		return nil, 0, err
	}
	return f.Storage.List(ctx, prefix)
}

func (f *faulty) Put(ctx context.Context, key string, value []byte, ifRevision int64) (int64, error) {
	if err := f.fail(ctx); err != nil {
		return 0, err
	}
	return f.Storage.Put(ctx, key, value, ifRevision)
}

func (f *faulty) PutNew(ctx context.Context, items []tls.Item) ([]tls.Item, error) {
	if f.cut.Load() && len(items) == 1 {
		f.single.Add(1)
	}
	if err := f.fail(ctx); err != nil {
		return nil, err
	}
	return f.Storage.PutNew(ctx, items)
}

// Without an answer from the storage a new host still gets a certificate, with a bounded wait that is not
// repeated, and what was about to end is replaced. Afterwards the cluster agrees again.
func TestStorageCutOff(t *testing.T) {
	real, client := store(t)
	storage := &faulty{Storage: real, silent: make(chan struct{})}
	var clock clock
	m := open(t, tls.Options{Storage: storage, Now: clock.now})
	wake(m, "a.test")
	waitFor(t, "certificates", complete(m, 2))
	address := serve(t, m.Config())
	first := leaf(t, address, "a.test")

	storage.cut.Store(true)
	wake(m, "a.test", "b.test", "c.test")
	leaf(t, address, "b.test")
	leaf(t, address, "c.test")
	if got := storage.single.Load(); got != 1 {
		t.Errorf("%d handshakes waited for the storage, want the first only", got)
	}
	if _, err := shake(address, trust(t, m, "b.test")); err != nil {
		t.Error(err)
	}
	close(storage.silent)
	clock.move(91 * 24 * time.Hour)
	wake(m, "a.test", "b.test", "c.test")
	waitFor(t, "stand-in", func() bool { return clock.now().Before(leaf(t, address, "a.test").NotAfter) })
	if leaf(t, address, "a.test").Equal(first) {
		t.Error("still the expired certificate")
	}

	storage.cut.Store(false)
	wake(m, "a.test", "b.test", "c.test")
	waitFor(t, "certificates in the store", func() bool { return count(t, client, tls.KeyInternal) == 4 })
	other := open(t, tls.Options{Storage: real, Now: clock.now})
	wake(other, "a.test", "b.test", "c.test")
	otherAddress := serve(t, other.Config())
	for _, host := range []string{"a.test", "b.test", "c.test", ""} {
		waitFor(t, "agreement about "+host, func() bool {
			got := leaf(t, otherAddress, host)
			return leaf(t, address, host).Equal(got) && clock.now().Before(got.NotAfter)
		})
	}
}

// A storage that lost everything gets back the authority that clients trust.
func TestAuthorityComesBackFromCache(t *testing.T) {
	storage, _ := store(t)
	cache := filepath.Join(t.TempDir(), "certs")
	first := open(t, tls.Options{Storage: storage, Cache: cache})
	authority := first.CAPEM()
	closeManager(t, first)
	storage, client := store(t)
	if got := count(t, client, "/tripod/"); got != 0 {
		t.Fatalf("%d keys left", got)
	}
	second := tls.New(tls.Options{Storage: storage, Sealer: sealer(t, testSecret), Cache: cache})
	defer closeManager(t, second)
	if err := second.OpenCached(); err != nil {
		t.Fatal(err)
	}
	if err := second.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := open(t, tls.Options{Storage: storage})
	if !bytes.Equal(second.CAPEM(), authority) || !bytes.Equal(third.CAPEM(), authority) {
		t.Error("another authority")
	}
}

// Thousands of hosts hold up nothing: clients are served at once, and soon all is made.
func TestFiveThousandHosts(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	storage, client := store(t)
	cache := filepath.Join(t.TempDir(), "certs")
	m := tls.New(tls.Options{Storage: storage, Sealer: sealer(t, testSecret), Cache: cache})
	start := time.Now()
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer closeManager(t, m)
	t.Logf("open: %v", time.Since(start))
	hosts := make([]string, 5000)
	for i := range hosts {
		hosts[i] = fmt.Sprintf("host%d.test", i)
	}
	address := serve(t, m.Config())
	start = time.Now()
	m.SetHosts(hosts, []netip.Addr{home})
	t.Logf("SetHosts: %v", time.Since(start))
	var slowest time.Duration
	for i := range 50 {
		start := time.Now()
		leaf(t, address, hosts[i*100])
		slowest = max(slowest, time.Since(start))
	}
	t.Logf("slowest of 50 handshakes meanwhile: %v", slowest)
	waitFor(t, "complete set", func() bool { return count(t, client, tls.KeyInternal) == 5001 })
	t.Logf("all made: %v", time.Since(start))
	waitFor(t, "complete list", complete(m, 5001))
	closeManager(t, m)

	again := tls.New(tls.Options{Sealer: sealer(t, testSecret), Cache: cache})
	defer closeManager(t, again)
	start = time.Now()
	if err := again.OpenCached(); err != nil {
		t.Fatal(err)
	}
	t.Logf("from the cache: %v", time.Since(start))
	again.SetHosts(hosts, []netip.Addr{home})
	if !complete(again, 5001)() {
		t.Error("the cache is not complete")
	}
	start = time.Now()
	open(t, tls.Options{Storage: storage})
	t.Logf("from the store: %v", time.Since(start))
}
