package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
)

const (
	// NodesPrefix is where the nodes' keys are.
	NodesPrefix = "/tripod/nodes/"

	leaseTTL   = 3 // seconds; a node that is silent for so long is gone from listings and placement
	renewEvery = time.Second
	retryEvery = 200 * time.Millisecond
	checkEvery = 5 // renewals between two looks at the key
)

// registration keeps this node's key under its lease.
type registration struct {
	client *clientv3.Client
	node   *Node
	key    string

	mu    sync.Mutex
	value api.NodeKey
	dirty chan struct{}

	stop context.CancelFunc
	done chan struct{}
}

func newRegistration(n *Node, client *clientv3.Client) *registration {
	return &registration{
		client: client, node: n, key: NodesPrefix + n.claim.self.Name,
		value: api.NodeKey{Address: n.claim.self.Addr, Zone: n.cfg.Zone, Version: n.cfg.Version, State: api.Starting},
		dirty: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// open writes the key for the first time and keeps it until close.
func (r *registration) open(ctx context.Context) error {
	lease, err := r.register(ctx)
	for err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("register node: %w", err)
		}
		r.node.log.Warn("node not registered, trying again", "error", err)
		pause(ctx, retryEvery)
		lease, err = r.register(ctx)
	}
	life, stop := context.WithCancel(r.node.life)
	r.stop = stop
	go r.keep(life, lease)
	return nil
}

// update changes the key's value; the store follows at once.
func (r *registration) update(change func(*api.NodeKey)) {
	r.mu.Lock()
	before := r.value
	change(&r.value)
	changed := !r.value.Same(before)
	r.mu.Unlock()
	if !changed {
		return
	}
	select {
	case r.dirty <- struct{}{}:
	default: // a write is due anyway, and takes the newest value
	}
}

// current is the value as this node means it.
func (r *registration) current() api.NodeKey {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.value
}

// register takes a new lease and writes the key under it.
func (r *registration) register(ctx context.Context) (clientv3.LeaseID, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	grant, err := r.client.Grant(ctx, leaseTTL)
	if err != nil {
		return 0, fmt.Errorf("take lease: %w", err)
	}
	return grant.ID, r.write(ctx, grant.ID)
}

func (r *registration) write(ctx context.Context, lease clientv3.LeaseID) error {
	value, err := json.Marshal(r.current())
	if err != nil {
		return fmt.Errorf("encode node key: %w", err)
	}
	if _, err := r.client.Put(ctx, r.key, string(value), clientv3.WithLease(lease)); err != nil {
		return fmt.Errorf("write node key: %w", err)
	}
	return nil
}

// keep renews the lease and writes the value when it changed, or when somebody else touched the key. After an
// outage it takes a new lease.
func (r *registration) keep(ctx context.Context, lease clientv3.LeaseID) {
	defer close(r.done)
	// Renewals have a ticker of their own: a put under a lease does not renew it, so a key that changes more than
	// once a second must not keep them from their turn.
	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	retry := time.NewTimer(0)
	<-retry.C
	pending, due, renewals := false, false, 0
	for {
		select {
		case <-ctx.Done():
			r.revoke(lease)
			return
		case <-r.dirty:
			pending = true
		case <-renew.C:
			due = true
			renewals++
			pending = pending || renewals%checkEvery == 0 && !r.intact(ctx)
		case <-retry.C:
		}
		var err error
		if due {
			err = r.bounded(ctx, func(ctx context.Context) error { _, err := r.client.KeepAliveOnce(ctx, lease); return err })
			due = err != nil
		}
		if err == nil && pending {
			err = r.bounded(ctx, func(ctx context.Context) error { return r.write(ctx, lease) })
			pending = err != nil
		}
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			var fresh clientv3.LeaseID
			if fresh, err = r.register(ctx); err == nil {
				lease, pending, due = fresh, false, false
			}
		}
		if err != nil && ctx.Err() == nil {
			r.node.log.Debug("node key not renewed, trying again", "error", err)
			pause(ctx, retryEvery) // a store that refuses at once is not asked without rest
			retry.Reset(0)
		}
	}
}

// bounded gives one call to the store as long as a renewal may take.
func (r *registration) bounded(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	return call(ctx)
}

// intact tells whether the key holds what this node wrote. An error counts as yes: the next turn asks again.
func (r *registration) intact(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, renewEvery)
	defer cancel()
	reply, err := r.client.Get(ctx, r.key, clientv3.WithSerializable())
	if err != nil {
		return true
	}
	var stored api.NodeKey
	return len(reply.Kvs) == 1 && json.Unmarshal(reply.Kvs[0].Value, &stored) == nil && stored.Same(r.current())
}

// revoke takes the key away at once, so that the others need not wait for the lease to end.
func (r *registration) revoke(lease clientv3.LeaseID) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := r.client.Revoke(ctx, lease); err != nil {
		r.node.log.Debug("node key left to its lease", "error", err)
	}
}

func (r *registration) close(context.Context) error {
	r.stop()
	<-r.done
	return nil
}

// readNodes returns the keys of all live nodes.
func readNodes(ctx context.Context, client *clientv3.Client, options ...clientv3.OpOption) (map[string]api.NodeKey, int64, error) {
	reply, err := client.Get(ctx, NodesPrefix, append(options, clientv3.WithPrefix())...)
	if err != nil {
		return nil, 0, fmt.Errorf("read nodes: %w", err)
	}
	nodes := make(map[string]api.NodeKey, len(reply.Kvs))
	for _, kv := range reply.Kvs {
		var key api.NodeKey
		if kv.Lease != 0 && json.Unmarshal(kv.Value, &key) == nil { // a key that somebody else wrote is no node
			nodes[string(kv.Key)[len(NodesPrefix):]] = key
		}
	}
	return nodes, reply.Header.Revision, nil
}
