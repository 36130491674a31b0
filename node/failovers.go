package node

import (
	"context"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election"
	"tripod/node/api"
)

// failovers remembers the last change of each VIP's holder, as this node saw it.
type failovers struct {
	node    *Node
	changes *prometheus.CounterVec

	mu      sync.Mutex
	records map[netip.Addr]election.Record // as last seen; nil: not yet
	taken   map[netip.Addr]taking
	last    map[netip.Addr]api.Failover
}

// taking is when this node took an address by virtue of a record.
type taking struct {
	revision int64
	at       time.Time
}

func newFailovers(n *Node) *failovers {
	f := &failovers{
		node: n,
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tripod_vip_changes_total", Help: "How often this node has begun to hold the VIP.",
		}, []string{"address"}),
		taken: map[netip.Addr]taking{}, last: map[netip.Addr]api.Failover{},
	}
	n.registry.MustRegister(f.changes)
	return f
}

// seeRecords takes the records as they are now.
func (f *failovers) seeRecords(records map[netip.Addr]election.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for address := range f.records {
		if _, exists := records[address]; !exists {
			delete(f.last, address)
			delete(f.taken, address)
			f.changes.DeleteLabelValues(address.String())
		}
	}
	first := f.records == nil
	for address, record := range records {
		f.changes.WithLabelValues(address.String()) // 0 from the start, for rates
		before := f.records[address]
		if before.Revision == record.Revision {
			continue
		}
		copied := before.Revision != 0 && record.At.Equal(before.At)
		switch {
		case record.From != "" && !record.At.IsZero() && !copied:
			f.note(address, api.Failover{
				At: record.At, From: record.From, To: record.Holder, Why: record.Reason, Revision: record.Revision,
				Detection: max(0, time.Duration(record.Silence)*time.Millisecond).Seconds(),
			})
		case !first:
			// Written by hand, it tells nothing, or what its author copied. When an old one was written nobody knows.
			seen := time.Now()
			f.node.tasks.Go(func() { f.lookBack(address, record, seen) })
		}
	}
	f.records = maps.Clone(records)
}

// lookBack finds out what a record that does not tell has changed. The store knows what was there before; the watch may
// have passed over it.
func (f *failovers) lookBack(address netip.Addr, record election.Record, seen time.Time) {
	client := f.node.member.Client()
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(f.node.life, storeTimeout)
	defer cancel()
	reply, err := client.Get(ctx, VIPsPrefix+address.String(), clientv3.WithRev(record.Revision-1), clientv3.WithSerializable())
	if err != nil || len(reply.Kvs) == 0 {
		return // the first record, or one before a compaction
	}
	kv := reply.Kvs[0]
	before, err := election.ParseRecord(kv.Value, kv.ModRevision, kv.CreateRevision, kv.Version)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.records[address].Revision == record.Revision {
		f.note(address, api.Failover{At: seen, From: before.Holder, To: record.Holder, Why: "written by hand", Revision: record.Revision})
	}
}

// note keeps a change, if it is one. The caller has the lock.
func (f *failovers) note(address netip.Addr, change api.Failover) {
	if change.From != "" && change.To != "" && change.From != change.To {
		f.last[address] = change
		f.complete(address)
	}
}

// take notes that this node holds an address from now on.
func (f *failovers) take(e election.Event) {
	f.changes.WithLabelValues(e.Address.String()).Inc()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.taken[e.Address].revision == e.Revision {
		return // taken again, after a time without a majority
	}
	f.taken[e.Address] = taking{e.Revision, time.Now()}
	f.complete(e.Address)
}

// complete adds how long the change took, once both ends are known, and tells.
func (f *failovers) complete(address netip.Addr) {
	taken, last := f.taken[address], f.last[address]
	if taken.revision == 0 || taken.revision != last.Revision || last.Took != 0 {
		return
	}
	// Two nodes' clocks may differ by more than it took.
	last.Took = max(taken.at.Sub(last.At), time.Millisecond).Seconds() + last.Detection
	f.last[address] = last
	took := api.Seconds(last.Took)
	f.node.log.Info("vip has moved here", "vip", address.String(), "from", last.From, "took", took, "reason", last.Why)
	f.node.events.tell(api.Event{Kind: "vip_moved", Subject: address.String(), Text: "from " + last.From + " in " + took + ": " + last.Why})
}

func (f *failovers) snapshot() map[netip.Addr]api.Failover {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.last)
}
