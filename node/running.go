package node

import (
	"context"
	"slices"
	"sync"
	"time"

	"tripod/node/api"
	"tripod/proxy/upstream"
)

// ServerHere implements api.Servers.
func (n *Node) ServerHere(service, address string) api.ServerHere {
	var here api.ServerHere
	for _, s := range n.proxy.Services() {
		if s.Name != service {
			continue
		}
		for _, server := range s.Servers {
			if server.Address == address {
				here = api.ServerHere{State: server.State, Running: server.Active, Registration: server.Registration}
			}
		}
	}
	if here.State == upstream.StateDrain && n.sticky(service) {
		here.Until = n.servers.orders.Load().servers[service][address].Until
		here.Kept = here.Until.IsZero() || time.Now().Before(here.Until)
	}
	return here
}

// sticky tells whether a service keeps clients on their servers.
func (n *Node) sticky(service string) bool {
	_, document, _, _ := n.docs.snapshot()
	return document != nil && document.Services[service].Sticky != nil
}

// Running implements api.Servers: it asks every node. One that does not answer and has no key any more is taken to be dead, and
// what ran there with it.
func (n *Node) Running(ctx context.Context, service, address string) (api.Running, error) {
	reply := api.Running{Nodes: map[string]api.ServerHere{n.Name(): n.ServerHere(service, address)}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	asking, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	for name, client := range n.peers.clients {
		wg.Go(func() {
			here, err := client.ServerHere(asking, service, address)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				reply.Nodes[name] = here
			} else if n.lives(name) {
				reply.Silent = append(reply.Silent, name)
			}
		})
	}
	wg.Wait()
	for _, here := range reply.Nodes {
		reply.Running += here.Running
	}
	slices.Sort(reply.Silent)
	return reply, ctx.Err()
}

// lives tells whether a node has a key. As long as this node knows nothing of keys, all do.
func (n *Node) lives(name string) bool {
	v := n.openVIPs.Load()
	if v == nil {
		return true
	}
	nodes := v.nodes.Load()
	if nodes == nil {
		return true
	}
	_, lives := (*nodes)[name]
	return lives
}
