package testcluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"tripod/election"
	"tripod/node/api"
)

// recorder keeps every claim of every node to hold a VIP, by the machine's clock, which is one for all processes.
type recorder struct {
	timeline election.Timeline
	ctx      context.Context
	stop     context.CancelFunc
	done     sync.WaitGroup
	clock    func() time.Duration

	mu   sync.Mutex
	vips map[netip.Addr]bool
	open map[holding]bool // claims that have begun and not ended
}

// holding is a node's claim to a VIP.
type holding struct {
	node string
	vip  netip.Addr
}

func newRecorder() *recorder {
	r := &recorder{vips: map[netip.Addr]bool{}, open: map[holding]bool{}, clock: election.Clock()}
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r
}

func (r *recorder) close() {
	r.stop()
	r.done.Wait()
}

// follow records a node's events until its process ends.
func (r *recorder) follow(n *Node) {
	n.cluster.t.Helper()
	exited, name, client := n.exited, n.Name(), n.client
	r.done.Go(func() {
		for r.ctx.Err() == nil {
			err := client.Events(r.ctx, nil, func(e api.Event) { r.take(name, e) })
			if err == nil {
				return // the node closed the stream
			}
			select {
			case <-exited:
				return
			case <-r.ctx.Done():
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
}

func (r *recorder) take(node string, e api.Event) {
	name, isVIP := strings.CutPrefix(e.Kind, "vip_")
	vip, err := netip.ParseAddr(e.Subject)
	if !isVIP || err != nil {
		return
	}
	event := election.Event{Kind: election.Kind(name), Address: vip, At: time.Duration(e.At), Until: time.Duration(e.Until)}
	h := holding{node, vip}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch event.Kind {
	case election.Renewed:
		if !r.open[h] {
			event.Kind = election.Taken // its beginning was before this recorder listened
		}
		r.open[h] = true
	case election.Taken:
		r.open[h] = true
	case election.Dropped:
		delete(r.open, h)
	default:
		return
	}
	r.vips[vip] = true
	r.timeline.Add(node, event)
}

// ended cuts the claims of a killed process: it holds nothing from now on.
func (r *recorder) ended(node string) {
	now := r.clock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for h := range r.open {
		if h.node == node {
			r.timeline.Add(node, election.Event{Kind: election.Dropped, Address: h.vip, At: now})
			delete(r.open, h)
		}
	}
}

// check looks for two claims of different nodes that overlap.
func (r *recorder) check() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.vips) == 0 {
		return errors.New("no node ever held a VIP: nothing is proved")
	}
	return r.timeline.Check()
}

func (r *recorder) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var lines []string
	for _, vip := range slices.SortedFunc(maps.Keys(r.vips), netip.Addr.Compare) {
		for _, c := range r.timeline.Claims(vip) {
			lines = append(lines, fmt.Sprintf("%s: %s from %.3fs to %.3fs", vip, c.Node, c.From.Seconds(), c.To.Seconds()))
		}
	}
	return strings.Join(lines, "\n")
}
