package election_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"tripod/election"
)

const prefix = "/tripod/vips/"

var vip = netip.MustParseAddr("127.0.0.100")

// startEtcd starts a real etcd of one member in this process.
func startEtcd(t *testing.T) *clientv3.Client {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.LogLevel = "panic"
	nowhere := url.URL{Scheme: "http", Host: "127.44.0.2:0"}
	cfg.ListenPeerUrls, cfg.ListenClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.AdvertisePeerUrls, cfg.AdvertiseClientUrls = []url.URL{nowhere}, []url.URL{nowhere}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	server, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(20 * time.Second):
		t.Fatal("etcd does not become ready")
	}
	client := v3client.New(server.Server)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func read(ctx context.Context, client *clientv3.Client) (map[netip.Addr]election.Record, error) {
	response, err := client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	records := map[netip.Addr]election.Record{}
	for _, kv := range response.Kvs {
		address, err := netip.ParseAddr(path.Base(string(kv.Key)))
		if err != nil {
			continue
		}
		records[address], _ = election.ParseRecord(kv.Value, kv.ModRevision, kv.CreateRevision, kv.Version)
	}
	return records, nil
}

func put(t *testing.T, client *clientv3.Client, value string) {
	t.Helper()
	if _, err := client.Put(t.Context(), prefix+vip.String(), value); err != nil {
		t.Fatal(err)
	}
}

// The argument for safety reads one record's place after another from etcd's numbers. Here is that etcd gives them so.
func TestEtcdNumbers(t *testing.T) {
	t.Parallel()
	client := startEtcd(t)
	var before election.Record
	expect := func(what string, follows bool) {
		t.Helper()
		records, err := read(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		record := records[vip]
		if record.Revision <= before.Revision {
			t.Errorf("%s: the revision went from %d to %d", what, before.Revision, record.Revision)
		}
		if got := record.Created == before.Created && record.Version == before.Version+1; got != follows {
			t.Errorf("%s: %+v after %+v, want that it follows directly: %v", what, record, before, follows)
		}
		before = record
	}
	put(t, client, `{"holder":"a"}`)
	expect("creation", false)
	put(t, client, `{"holder":"a"}`)
	expect("the same again", true)
	put(t, client, `rubbish`)
	expect("rubbish", true)
	put(t, client, `{"holder":"b"}`)
	put(t, client, `{"holder":"a"}`)
	expect("two writes", false)
	if _, err := client.Compact(t.Context(), before.Revision); err != nil {
		t.Fatal(err)
	}
	put(t, client, `{"holder":"b"}`)
	expect("after compaction", true)
	if _, err := client.Txn(t.Context()).Then(clientv3.OpPut(prefix+vip.String(), `{}`), clientv3.OpPut("/other", "")).Commit(); err != nil {
		t.Fatal(err)
	}
	expect("a transaction", true)
	if _, err := client.Delete(t.Context(), prefix, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	put(t, client, `{"holder":"b"}`)
	expect("deleted and made again", false)
	for range before.Version + 3 {
		put(t, client, `{"holder":"b"}`)
	}
	if _, err := client.Txn(t.Context()).Then(
		clientv3.OpPut(prefix+vip.String(), `1`), clientv3.OpPut(prefix+vip.String(), `2`)).Commit(); err == nil {
		t.Error("one transaction wrote a key twice")
	}
	if _, err := client.Txn(t.Context()).Then(
		clientv3.OpDelete(prefix+vip.String()), clientv3.OpPut(prefix+vip.String(), `2`)).Commit(); err == nil {
		t.Error("one transaction deleted and wrote a key")
	}
}

// newPlacer makes a Placer for nodes a, b and c.
func newPlacer(client *clientv3.Client, suspected func(string) bool) *election.Placer {
	return election.NewPlacer(election.PlacerConfig{
		Leading: func() bool { return true },
		VIPs:    func() []election.Wish { return []election.Wish{{Address: vip}} },
		Nodes: func() []election.Candidate {
			return []election.Candidate{{Name: "a", Ready: true}, {Name: "b", Ready: true}, {Name: "c", Ready: true}}
		},
		Records: func(ctx context.Context) (map[netip.Addr]election.Record, error) { return read(ctx, client) },
		Write: func(ctx context.Context, address netip.Addr, record election.Record, ifRevision int64) error {
			key := prefix + address.String()
			bytes, _ := json.Marshal(record)
			response, err := client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", ifRevision)).
				Then(clientv3.OpPut(key, string(bytes))).Commit()
			if err == nil && !response.Succeeded {
				err = election.ErrConflict
			}
			return err
		},
		Suspected: suspected,
	})
}

// Three nodes' Holders and one Placer on a real etcd: placed, handed over, moved by hand, and moved on when the
// holder dies.
func TestHoldOnEtcd(t *testing.T) {
	t.Parallel()
	client := startEtcd(t)
	var timeline election.Timeline
	var mu sync.Mutex
	dead := map[string]bool{}
	isDead := func(name string) bool { mu.Lock(); defer mu.Unlock(); return dead[name] }
	names := []string{"a", "b", "c"}
	holders := map[string]*election.Holder{}
	for _, name := range names {
		holders[name] = election.NewHolder(election.HolderConfig{
			Self: name,
			Read: func(ctx context.Context) (map[netip.Addr]election.Record, error) { return read(ctx, client) },
			Take: func(netip.Addr, time.Duration) error { return nil },
			Drop: func(netip.Addr) {},
			Acknowledge: func(_ context.Context, to string, word election.Acknowledgement) error {
				bytes, err := json.Marshal(word)
				if err == nil {
					var arrived election.Acknowledgement
					err = json.Unmarshal(bytes, &arrived)
					holders[to].Acknowledged(arrived)
				}
				return err
			},
			Event: func(event election.Event) { timeline.Add(name, event) },
		})
	}
	for _, name := range names {
		if err := holders[name].Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer holders[name].Close(context.Background())
	}
	placer := newPlacer(client, isDead)
	watching := client.Watch(t.Context(), prefix, clientv3.WithPrefix())
	go func() {
		for range watching {
			for _, holder := range holders {
				holder.Wake()
			}
		}
	}()
	if err := placer.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer placer.Close(context.Background())

	held := func(name string) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); len(holders[name].Held()) == 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s does not hold; claims so far: %+v", name, timeline.Claims(vip))
			}
		}
		for _, other := range names {
			if other != name && len(holders[other].Held()) > 0 {
				t.Errorf("%s and %s hold", name, other)
			}
		}
	}
	held("a")
	if moved, err := placer.Move(t.Context(), vip, "c", ""); err != nil || moved.To != "c" {
		t.Fatal(moved, err)
	}
	held("c")
	for i := range 5 {
		name := names[i%2]
		put(t, client, fmt.Sprintf(`{"epoch": -1, "holder": %q}`, name)) // by hand
		held(name)
	}
	mu.Lock()
	dead["a"] = true
	mu.Unlock()
	_ = holders["a"].Close(t.Context())
	placer.Wake()
	held("b")
	if err := timeline.Check(); err != nil {
		t.Error(err)
	}
	story := ""
	for _, claim := range timeline.Claims(vip) {
		if claim.Node != story[max(len(story)-1, 0):] { // on a busy machine a right may run out in between
			story += claim.Node
		}
	}
	if story != "acababab" {
		t.Errorf("the address went %s: %+v", story, timeline.Claims(vip))
	}
}
