package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election"
	"tripod/node/api"
	"tripod/node/etcd"
)

const expirySoon = 7 * 24 * time.Hour

// Local implements api.Observer.
func (n *Node) Local() api.Local {
	served, document, newest, refused := n.docs.snapshot()
	local := api.Local{
		Name: n.Name(), Started: n.started, RaftLeader: n.member.Leader(), Waiting: n.member.Waiting(),
		Voters: etcd.FormatVoters(n.voters), Proxy: n.proxy.Status(), Revision: newest, Secret: n.secret.Fingerprint(),
		NodeKey: api.NodeKey{Address: n.claim.self.Addr, Zone: n.cfg.Zone, Version: n.cfg.Version, State: api.Starting, Applied: served.Revision},
	}
	if refused != nil {
		local.Error, local.Refused = refused.Error(), newest
	}
	if document != nil {
		local.Warnings = document.Warnings()
	}
	local.Lingering, local.Clashes = n.ground.lingering(), n.ground.clashes()
	if v := n.openVIPs.Load(); v != nil {
		local.Held = v.holder.Held()
		key := n.reg.current()
		local.State, local.Unfit = key.State, key.Unfit
		local.Failovers, local.Hooks = v.failovers.snapshot(), v.hooks.failures()
	}
	return local
}

// Status implements api.Observer: it asks every node, and says what is wrong.
func (n *Node) Status(ctx context.Context) api.Status {
	// A node that hangs must not use up the time for what comes after, and a change of raft leadership is no lost quorum.
	var led sync.WaitGroup
	led.Go(func() { n.awaitLeader(ctx) })
	asking, cancel := context.WithTimeout(ctx, peerTimeout)
	locals, failures := n.peers.locals(asking)
	cancel()
	led.Wait()
	ctx, cancel = context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	locals[n.Name()] = n.Local()
	s := &survey{node: n, locals: locals, failures: failures, status: api.Status{
		AskedOf: n.Name(), Quorum: n.member.Leader() != "" && n.member.Client() != nil, Certificates: n.certs.List(),
		Problems: []string{}, Warnings: []string{},
	}}
	s.quorum()
	s.nodes(ctx)
	s.vips(ctx)
	s.placement()
	s.kernels()
	s.listeners()
	s.services()
	s.certificates()
	return s.status
}

// survey makes one status.
type survey struct {
	node     *Node
	locals   map[string]api.Local
	failures map[string]error
	status   api.Status
}

func (s *survey) problem(format string, args ...any) {
	s.status.Problems = append(s.status.Problems, fmt.Sprintf(format, args...))
}

// names are the nodes that answered, in order.
func (s *survey) names() []string { return slices.Sorted(maps.Keys(s.locals)) }

func (s *survey) quorum() {
	if s.status.Quorum {
		return
	}
	why := s.locals[s.node.Name()].Waiting
	if why == "" {
		why = fmt.Sprintf("%d of %d voters answer, %d are needed", len(s.locals), len(s.node.voters), len(s.node.voters)/2+1)
	}
	s.problem("no quorum: %s. Traffic goes on with the last document; nobody holds a VIP, and nothing can be changed", why)
}

func (s *survey) nodes(ctx context.Context) {
	var keys map[string]api.NodeKey
	if client := s.node.member.Client(); client != nil {
		// Without an answer the nodes' own words have to do.
		keys, _ = ask(ctx, func(ctx context.Context) (map[string]api.NodeKey, error) {
			read, _, err := readNodes(ctx, client, clientv3.WithSerializable())
			return read, err
		})
	}
	for _, local := range s.locals {
		s.status.Revision = max(s.status.Revision, local.Revision, local.Applied)
	}
	for _, v := range s.node.voters {
		s.voter(v, keys[v.Name])
	}
	slices.SortFunc(s.status.Nodes, func(a, b api.NodeStatus) int { return cmp.Compare(a.Name, b.Name) })
	if n := len(s.node.voters); n%2 == 0 {
		s.status.Warnings = append(s.status.Warnings, fmt.Sprintf("%d voters bear the loss of no more nodes than %d would: list an odd number in --nodes", n, n-1))
	}
	for _, w := range s.locals[s.node.Name()].Warnings {
		s.status.Warnings = append(s.status.Warnings, w.String())
	}
}

func (s *survey) voter(v etcd.Voter, key api.NodeKey) {
	raftLeader := s.locals[s.node.Name()].RaftLeader
	status := api.NodeStatus{Name: v.Name, NodeKey: key, Drain: s.drain(v.Name), Holds: []netip.Addr{}, Voter: true, Self: v.Name == s.node.Name(), RaftLeader: v.Name == raftLeader}
	status.Address = v.Addr
	local, ok := s.locals[v.Name]
	if !ok {
		status.State = "down"
		s.problem("node %s does not answer: %v", v, s.failures[v.Name])
		s.status.Nodes = append(s.status.Nodes, status)
		return
	}
	status.NodeKey = local.NodeKey
	for _, held := range local.Held {
		status.Holds = append(status.Holds, held.Address)
	}
	if own := etcd.FormatVoters(s.node.voters); local.Voters != own {
		s.problem("node %s was started with --nodes %s, and %s with %s: give all nodes the same list", v.Name, local.Voters, s.node.Name(), own)
	}
	well := local.State == api.Ready || local.State == api.Draining
	switch {
	case local.Error != "":
		s.problem("node %s serves document revision %d, for it refuses %d: %s", v.Name, local.Applied, local.Refused, firstLine(local.Error))
	case local.Applied < s.status.Revision && well:
		s.problem("node %s serves document revision %d, not %d", v.Name, local.Applied, s.status.Revision)
	case !well:
		s.problem("node %s is %s", v.Name, strings.TrimSuffix(local.State+": "+local.Waiting, ": "))
	}
	s.status.Nodes = append(s.status.Nodes, status)
}

// firstLine keeps a status to one line a problem; the node's log has the rest.
func firstLine(text string) string {
	first, rest, more := strings.Cut(text, "\n")
	if more {
		return fmt.Sprintf("%s (and %d more)", first, 1+strings.Count(rest, "\n"))
	}
	return first
}

func (s *survey) vips(ctx context.Context) {
	_, document, _, _ := s.node.docs.snapshot()
	var prefixes []netip.Prefix
	if document != nil {
		prefixes = document.Addresses()
	}
	records := s.records(ctx)
	for i, prefix := range prefixes {
		record := records[prefix.Addr()]
		v := api.VIPStatus{Address: prefix, Holder: record.Holder, Epoch: record.Epoch, Failover: s.failover(prefix.Addr(), record)}
		for _, held := range s.locals[record.Holder].Held {
			if held.Address == prefix.Addr() {
				v.Held, v.Since = true, held.Since
			}
		}
		if !v.Held && s.status.Quorum {
			s.problem("vip %s is held by nobody now (record: %s)", prefix.Addr(), cmp.Or(record.Holder, "none"))
		}
		if i == 0 && v.Held {
			s.status.Leader = v.Holder
		}
		s.status.VIPs = append(s.status.VIPs, v)
	}
	if len(prefixes) == 0 && s.status.Quorum {
		s.status.Leader = s.locals[s.node.Name()].RaftLeader
	}
	for i := range s.status.Nodes {
		s.status.Nodes[i].Leader = s.status.Leader != "" && s.status.Nodes[i].Name == s.status.Leader
	}
}

func (s *survey) records(ctx context.Context) map[netip.Addr]election.Record {
	records := map[netip.Addr]election.Record{}
	client := s.node.member.Client()
	if client == nil || !s.status.Quorum {
		return records // without a quorum nobody holds anything, whatever the local copy says
	}
	reply, err := ask(ctx, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return client.Get(ctx, VIPsPrefix, clientv3.WithPrefix(), clientv3.WithSerializable())
	})
	if err != nil {
		s.problem("the records of the VIPs cannot be read: %v", err)
		return records
	}
	for _, kv := range reply.Kvs {
		address, err := netip.ParseAddr(strings.TrimPrefix(string(kv.Key), VIPsPrefix))
		if err != nil {
			continue
		}
		if record, err := election.ParseRecord(kv.Value, kv.ModRevision, kv.CreateRevision, kv.Version); err == nil {
			records[address] = record
		}
	}
	return records
}

func (s *survey) listeners() {
	byName := map[string]*api.Listener{}
	for _, node := range s.names() {
		for _, l := range s.locals[node].Proxy.Listeners {
			merged, ok := byName[l.Name]
			if !ok {
				merged = &api.Listener{Name: l.Name, Address: l.Address, Protocol: string(l.Protocol), TLS: l.TLS, Errors: map[string]string{}}
				byName[l.Name] = merged
			}
			merged.Open += l.Connections
			if l.Error != "" {
				merged.Errors[node] = l.Error
				s.problem("listener %s on %s: %s", l.Name, node, l.Error)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		s.status.Listeners = append(s.status.Listeners, *byName[name])
	}
}

func (s *survey) certificates() {
	for _, c := range s.status.Certificates {
		switch left := time.Until(c.NotAfter); {
		case c.Error != "":
			s.problem("certificate %s: %s", c.Name, c.Error)
		case left < 0:
			s.problem("certificate %s has expired on %s", c.Name, c.NotAfter.Format(time.DateOnly))
		case left < expirySoon:
			s.problem("certificate %s expires in %s", c.Name, left.Round(time.Hour))
		}
	}
}
