package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// testAddress is this package's own, so that tests of other packages never meet it.
const testAddress = "127.77.12.1"

// server is the etcd of the test binary, started by the first test that needs it.
var server = sync.OnceValues(startEtcd)

// serverDir is its data folder.
var serverDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if serverDir != "" {
		if e, err := server(); err == nil {
			e.Close()
		}
		os.RemoveAll(serverDir)
	}
	os.Exit(code)
}

func startEtcd() (*embed.Etcd, error) {
	dir, err := os.MkdirTemp("", "tripod-config-*")
	if err != nil {
		return nil, err
	}
	serverDir = dir
	for range 5 {
		cfg := embed.NewConfig()
		cfg.Dir, cfg.Name = dir, "config-test"
		cfg.LogLevel, cfg.LogOutputs = "panic", []string{"/dev/null"}
		cfg.UnsafeNoFsync = true
		cfg.MaxRequestBytes = 8 << 20
		cfg.TickMs, cfg.ElectionMs = 50, 500
		client, peer := freeURL(), freeURL()
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
		var e *embed.Etcd
		if e, err = embed.StartEtcd(cfg); err != nil {
			continue // another process took the port in between
		}
		select {
		case <-e.Server.ReadyNotify():
			return e, nil
		case <-time.After(20 * time.Second):
			e.Close()
			return nil, errors.New("etcd is not ready after 20s")
		}
	}
	return nil, err
}

func freeURL() url.URL {
	l, err := net.Listen("tcp", testAddress+":0")
	if err != nil {
		return url.URL{}
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}

// stores are the two ways to reach etcd: in its own process, and over the network.
func stores(t *testing.T, test func(t *testing.T, s *Store)) {
	e, err := server()
	if err != nil {
		t.Fatal(err)
	}
	t.Run("in process", func(t *testing.T) {
		client := v3client.New(e.Server)
		defer client.Close()
		wipe(t, client)
		test(t, NewStore(client, nil))
	})
	t.Run("remote", func(t *testing.T) {
		client := remote(t)
		wipe(t, client)
		test(t, NewStore(client, nil))
	})
}

func remote(t *testing.T) *clientv3.Client {
	t.Helper()
	e, err := server()
	if err != nil {
		t.Fatal(err)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{e.Config().AdvertiseClientUrls[0].String()},
		DialTimeout: 5 * time.Second, MaxCallSendMsgSize: 8 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func wipe(t *testing.T, client *clientv3.Client) {
	t.Helper()
	if _, err := client.Delete(t.Context(), "/tripod/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s *Store, text string, c Change) int64 {
	t.Helper()
	revision, err := s.Put(t.Context(), []byte(text), c)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// direct writes as etcdctl does.
func direct(t *testing.T, s *Store, text string) int64 {
	t.Helper()
	r, err := s.client.Put(t.Context(), Key, text)
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

func TestPutAndGet(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		if _, err := s.Get(t.Context()); !errors.Is(err, ErrNone) {
			t.Fatalf("got %v, want ErrNone", err)
		}
		text := "# caf\u00e9 <&>\naccess_log: off\n"
		before := time.Now()
		revision := put(t, s, text, Change{Author: "ann@web1", Message: "quiet", IfRevision: 0})
		v, err := s.Get(t.Context())
		if err != nil || v.Revision != revision || v.Author != "ann@web1" || v.Message != "quiet" || v.Text != text {
			t.Fatalf("got %+v, %v", v, err)
		}
		if v.Time.Before(before.Add(-time.Second)) || v.Time.After(time.Now().Add(time.Second)) {
			t.Errorf("time %s", v.Time)
		}
		// The document is stored as it was written.
		r, err := s.client.Get(t.Context(), Key)
		if err != nil || string(r.Kvs[0].Value) != text {
			t.Errorf("stored %q, %v", r.Kvs, err)
		}
		// The change and its record are what a person with etcdctl expects.
		var change map[string]any
		r, err = s.client.Get(t.Context(), ChangeKey)
		if err != nil || json.Unmarshal(r.Kvs[0].Value, &change) != nil || len(change) != 3 || change["author"] != "ann@web1" {
			t.Errorf("change %v, %v", change, err)
		}
		r, err = s.client.Get(t.Context(), fmt.Sprintf("/tripod/history/%d", revision))
		if err != nil || len(r.Kvs) != 1 || !strings.Contains(string(r.Kvs[0].Value), `<&>`) {
			t.Errorf("record %v, %v", r.Kvs, err)
		}
		// Another change of the same text is a change.
		if next := put(t, s, text, Change{Author: "bob", IfRevision: revision}); next <= revision {
			t.Errorf("revision %d after %d", next, revision)
		}
	})
}

func TestAStaleChangeIsRefusedAndSaysBecauseOfWhom(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		first := put(t, s, "", Change{Author: "ann@web1", Message: "new shop host", IfRevision: -1})
		_, err := s.Put(t.Context(), []byte("x"), Change{Author: "bob", IfRevision: first - 1})
		var stale *StaleError
		if !errors.As(err, &stale) || stale.Want != first-1 || stale.Current.Revision != first || stale.Current.Author != "ann@web1" {
			t.Fatalf("got %+v", err)
		}
		stale.Current.Time = time.Now().Add(-3*time.Minute - time.Second)
		want := fmt.Sprintf(`the document changed: revision %d by ann@web1, 3 minutes ago ("new shop host"); you based yours on %d: get it again and apply your change to that`, first, first-1)
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		if _, err = s.Put(t.Context(), nil, Change{IfRevision: 0}); !errors.As(err, &stale) ||
			!strings.HasPrefix(err.Error(), fmt.Sprintf("there is a document already: revision %d by ann@web1, ", first)) {
			t.Errorf("got %v", err)
		}
		second := direct(t, s, "z")
		if _, err = s.Put(t.Context(), nil, Change{IfRevision: first}); !errors.As(err, &stale) ||
			!strings.HasPrefix(err.Error(), fmt.Sprintf("the document changed: revision %d by unknown (direct write); you", second)) {
			t.Errorf("got %v", err)
		}
		wipe(t, s.client)
		if _, err = s.Put(t.Context(), nil, Change{IfRevision: first}); !errors.As(err, &stale) ||
			!strings.HasPrefix(err.Error(), "the document was deleted; ") {
			t.Errorf("got %v", err)
		}
		if _, err := s.Get(t.Context()); !errors.Is(err, ErrNone) {
			t.Errorf("a refused change was written: %v", err)
		}
	})
}

func TestOfTwoWritersWithOneBasisOneWins(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		base := put(t, s, "", Change{IfRevision: -1})
		const writers = 8
		for round := range 5 {
			won := make(chan int64, writers)
			var all sync.WaitGroup
			for i := range writers {
				all.Go(func() {
					revision, err := s.Put(t.Context(), fmt.Appendf(nil, "# %d %d\n", round, i), Change{Author: fmt.Sprint(i), IfRevision: base})
					var stale *StaleError
					switch {
					case err == nil:
						won <- revision
					case !errors.As(err, &stale):
						t.Errorf("writer %d: %v", i, err)
					}
				})
			}
			all.Wait()
			close(won)
			if len(won) != 1 {
				t.Fatalf("%d writers won", len(won))
			}
			base = <-won
			v, err := s.Get(t.Context())
			if err != nil || v.Revision != base || v.Text != fmt.Sprintf("# %d %s\n", round, v.Author) {
				t.Fatalf("got %+v, %v", v, err)
			}
		}
	})
}

func TestHistoryKeepsTheNewestHundredWhoeverWroteThem(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		if h, err := s.History(t.Context()); err != nil || len(h) != 0 {
			t.Fatalf("got %v, %v", h, err)
		}
		var revisions []int64
		for i := range 105 {
			if i%10 == 0 {
				revisions = append(revisions, put(t, s, fmt.Sprintf("# %d\n", i), Change{Author: "ann", Message: fmt.Sprint(i), IfRevision: -1}))
				continue
			}
			revision := direct(t, s, fmt.Sprintf("# %d\n", i))
			revisions = append(revisions, revision)
			// Every node records what it sees; here two do, at once.
			var nodes sync.WaitGroup
			for range 2 {
				nodes.Go(func() {
					if err := s.Record(t.Context(), revision, fmt.Appendf(nil, "# %d\n", i)); err != nil {
						t.Error(err)
					}
				})
			}
			nodes.Wait()
		}
		h, err := s.History(t.Context())
		if err != nil || len(h) != 100 {
			t.Fatalf("%d versions, %v", len(h), err)
		}
		for i, v := range h {
			n := 104 - i
			author, message := "unknown (direct write)", ""
			if n%10 == 0 {
				author, message = "ann", fmt.Sprint(n)
			}
			if v.Revision != revisions[n] || v.Author != author || v.Message != message || v.Time.IsZero() || v.Text != "" {
				t.Fatalf("version %d: %+v", n, v)
			}
		}
		v, err := s.At(t.Context(), revisions[50])
		if err != nil || v.Text != "# 50\n" || v.Author != "ann" {
			t.Errorf("got %+v, %v", v, err)
		}
		_, err = s.At(t.Context(), revisions[2])
		want := fmt.Sprintf("no such revision in the history: %d; nearest are %d, %d (it has 100, from %d to %d)",
			revisions[2], revisions[5], revisions[6], revisions[5], revisions[104])
		if !errors.Is(err, ErrNotKept) || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		// The current one is there even before it is recorded.
		last := direct(t, s, "# last\n")
		if v, err := s.At(t.Context(), last); err != nil || v.Text != "# last\n" {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

func TestRecordKnowsTheAuthorWhateverHappenedSince(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		first := put(t, s, "# 1\n", Change{Author: "ann", Message: "one", IfRevision: -1})
		second := put(t, s, "# 2\n", Change{Author: "bob", Message: "two", IfRevision: -1})
		if _, err := s.client.Delete(t.Context(), HistoryPrefix, clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		// A node that was slow.
		if err := s.Record(t.Context(), first, []byte("# 1\n")); err != nil {
			t.Fatal(err)
		}
		if v, err := s.At(t.Context(), first); err != nil || v.Author != "ann" || v.Message != "one" {
			t.Errorf("got %+v, %v", v, err)
		}
		// Once recorded it does not change.
		if err := s.Record(t.Context(), first, []byte("# other\n")); err != nil {
			t.Fatal(err)
		}
		if v, err := s.At(t.Context(), first); err != nil || v.Text != "# 1\n" {
			t.Errorf("got %+v, %v", v, err)
		}
		if _, err := s.client.Compact(t.Context(), second+1); err != nil {
			t.Fatal(err)
		}
		if err := s.Record(t.Context(), second, []byte("# 2\n")); err != nil {
			t.Fatal(err)
		}
		if v, err := s.At(t.Context(), second); err != nil || v.Author != "bob" {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

func TestTheLargestDocument(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		// Quotes take twice their size in the history's JSON.
		text := strings.Repeat("# \"\"\"\"\n", MaxSize/7)
		text += strings.Repeat("#", MaxSize-len(text))
		revision := put(t, s, text, Change{Author: "ann", IfRevision: -1})
		if v, err := s.Get(t.Context()); err != nil || v.Text != text {
			t.Errorf("%d bytes, %v", len(v.Text), err)
		}
		if v, err := s.At(t.Context(), revision); err != nil || v.Text != text {
			t.Errorf("%d bytes, %v", len(v.Text), err)
		}
		_, err := s.Put(t.Context(), []byte(text+"\n"), Change{IfRevision: -1})
		if err == nil || err.Error() != "document is 2.1 MiB; the limit is 2 MiB" {
			t.Errorf("got %v", err)
		}
		// A direct write may be larger, and is recorded without its text.
		revision = direct(t, s, text+text)
		if err := s.Record(t.Context(), revision, []byte(text+text)); err != nil {
			t.Fatal(err)
		}
		if v, err := s.kept(t.Context(), revision); err != nil || v.Text != "" || v.Message != "(text not kept: 4.0 MiB)" {
			t.Errorf("got %+v, %v", v, err)
		}
	})
}

func TestCallsEndWithTheirContext(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, getErr := s.Get(ctx)
		_, putErr := s.Put(ctx, nil, Change{IfRevision: -1})
		_, historyErr := s.History(ctx)
		_, atErr := s.At(ctx, 1)
		for _, err := range []error{getErr, putErr, historyErr, atErr, s.Record(ctx, 1, nil), s.Watch(ctx, func(Version) {})} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", time.Second: "just now", 90 * time.Second: "90 seconds ago", 3 * time.Minute: "3 minutes ago",
		119 * time.Minute: "119 minutes ago", 47 * time.Hour: "47 hours ago", 72 * time.Hour: "3 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s: got %s", d, got)
		}
	}
}
