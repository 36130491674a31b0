package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election"
	"tripod/node/api"
)

const (
	// VIPsPrefix is where the records are that say who holds which VIP.
	VIPsPrefix = "/tripod/vips/"
)

// vips connects the hold protocol and the placement to the store, to the other nodes and to the proxy.
type vips struct {
	node     *Node
	client   *clientv3.Client
	holder   *election.Holder
	placer   *election.Placer
	detector *election.Detector

	mu      sync.Mutex
	silence map[string]time.Duration // of every node ever seen

	nodes   atomic.Pointer[map[string]api.NodeKey]
	records atomic.Pointer[map[netip.Addr]election.Record]
	drains  atomic.Pointer[drains]

	failovers *failovers
	hooks     *hooks

	stop context.CancelFunc
	done sync.WaitGroup
}

func newVIPs(n *Node, client *clientv3.Client) *vips {
	v := &vips{node: n, client: client, silence: map[string]time.Duration{}, failovers: newFailovers(n), hooks: newHooks(n)}
	v.holder = election.NewHolder(election.HolderConfig{
		Self: n.Name(), Read: v.read, Clock: n.ground.clock,
		Take: n.ground.take, Renew: n.ground.renew, Drop: n.ground.drop, Release: n.ground.release,
		Lag: v.lag, Acknowledge: n.ground.acknowledge, Event: v.tell, Log: n.log,
	})
	v.detector = election.NewDetector(election.DetectorConfig{
		Dial:    func(ctx context.Context, name string) (io.ReadCloser, error) { return n.peers.beat(ctx, name) },
		Changed: func() { v.placer.Wake() },
		Log:     n.log,
	})
	var prepare func(context.Context, netip.Addr, string, string)
	if n.ground.kernel != nil {
		prepare = v.prepareMove
	}
	v.placer = election.NewPlacer(election.PlacerConfig{
		Leading: n.member.Leading, VIPs: v.wishes, Nodes: v.candidates,
		Records: v.read, Write: v.write, Remove: v.remove, Prepare: prepare,
		Suspected: v.detector.Suspected, Why: v.detector.Verdict, Event: v.tell, Log: n.log,
	})
	return v
}

func (v *vips) open(ctx context.Context) error {
	life, stop := context.WithCancel(v.node.life)
	v.stop = stop
	if err := v.holder.Open(ctx); err != nil {
		stop()
		return err
	}
	if err := v.placer.Open(ctx); err != nil {
		stop()
		return errors.Join(err, v.holder.Close(ctx))
	}
	v.done.Go(func() { follow(life, v.client, NodesPrefix, v.seeNodes) })
	v.done.Go(func() { follow(life, v.client, AdminNodesPrefix, v.seeDrains) })
	v.done.Go(func() { follow(life, v.client, VIPsPrefix, v.seeRecords) })
	v.done.Go(func() { v.steer(life) })
	return nil
}

func (v *vips) close(ctx context.Context) error {
	v.stop()
	v.done.Wait()
	return errors.Join(v.placer.Close(ctx), v.detector.Close(ctx), v.holder.Close(ctx), v.hooks.close(ctx))
}

// wake makes the placement look again: the document has changed.
func (v *vips) wake() {
	v.placer.Wake()
	if records := v.records.Load(); records != nil {
		v.hooks.look(*records)
	}
}

// seeNodes takes the keys of the living nodes.
func (v *vips) seeNodes(kvs []*mvccpb.KeyValue) {
	nodes := make(map[string]api.NodeKey, len(kvs))
	var others []string
	for _, kv := range kvs {
		var key api.NodeKey
		name := strings.TrimPrefix(string(kv.Key), NodesPrefix)
		if kv.Lease == 0 || json.Unmarshal(kv.Value, &key) != nil {
			continue // a key that somebody else wrote is no node
		}
		nodes[name] = key
		if name != v.node.Name() {
			others = append(others, name)
		}
	}
	v.mu.Lock()
	for name, key := range nodes {
		v.silence[name] = time.Duration(key.SilenceMS) * time.Millisecond
	}
	v.mu.Unlock()
	v.nodes.Store(&nodes)
	v.detector.Watch(others)
	v.placer.Wake()
}

// seeRecords takes the records, and makes the holder read them again for itself: what it does rests on reads
// whose beginning it knows.
func (v *vips) seeRecords(kvs []*mvccpb.KeyValue) {
	records := v.parse(kvs)
	v.records.Store(&records)
	v.holder.Wake()
	v.placer.Wake()
	v.failovers.seeRecords(records)
	v.hooks.look(records)
}

func (v *vips) parse(kvs []*mvccpb.KeyValue) map[netip.Addr]election.Record {
	records := make(map[netip.Addr]election.Record, len(kvs))
	for _, kv := range kvs {
		address, err := netip.ParseAddr(strings.TrimPrefix(string(kv.Key), VIPsPrefix))
		if err != nil {
			continue // not a record
		}
		record, err := election.ParseRecord(kv.Value, kv.ModRevision, kv.CreateRevision, kv.Version)
		if err != nil {
			v.node.log.Debug("a vip's record is rubbish and is replaced", "vip", address.String(), "error", err)
		}
		records[address] = record
	}
	return records
}

// read is one linearizable read of all records: etcd asks a majority (ReadIndex) before it answers.
func (v *vips) read(ctx context.Context) (map[netip.Addr]election.Record, error) {
	reply, err := v.client.Get(ctx, VIPsPrefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read vip records: %w", err)
	}
	return v.parse(reply.Kvs), nil
}

func (v *vips) write(ctx context.Context, address netip.Addr, record election.Record, ifRevision int64) error {
	value, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encode vip record: %w", err)
	}
	key := VIPsPrefix + address.String()
	return v.swap(ctx, key, ifRevision, clientv3.OpPut(key, string(value)))
}

func (v *vips) remove(ctx context.Context, address netip.Addr, ifRevision int64) error {
	key := VIPsPrefix + address.String()
	return v.swap(ctx, key, ifRevision, clientv3.OpDelete(key))
}

func (v *vips) swap(ctx context.Context, key string, ifRevision int64, op clientv3.Op) error {
	reply, err := v.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", ifRevision)).Then(op).Commit()
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if !reply.Succeeded {
		return election.ErrConflict
	}
	return nil
}

// lag is for how long some node's kernel may go on answering after its right has ended: 0 where all have a
// guard. Of a node that was never seen we know nothing, and take it to be like this one.
func (v *vips) lag() time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	most := v.node.ground.silence()
	for _, silence := range v.silence {
		most = max(most, silence)
	}
	return most
}

// tell passes on what happens to VIPs to whoever watches; the holder and the placer log it themselves.
func (v *vips) tell(e election.Event) {
	if e.Kind == election.Renewed && !v.node.events.watched() {
		return // ten of these a second
	}
	v.hooks.see(e)
	if e.Kind == election.Taken {
		v.failovers.take(e)
	}
	v.node.events.tell(api.Event{
		Kind: "vip_" + string(e.Kind), Subject: e.Address.String(), Text: strings.TrimSpace(e.Holder + " " + e.Reason),
		At: int64(e.At), Until: int64(e.Until),
	})
}
