package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	tendInterval = 100 * time.Millisecond
	// learnerPatience is how long a learner that does not answer keeps the one place that etcd has for learners.
	learnerPatience = 30 * time.Second
	admitTimeout    = 5 * time.Second
)

// JoinRequest is a blank node's request to be admitted.
type JoinRequest struct {
	Voter
	Incarnation string `json:"incarnation"`
}

// JoinReply tells an admitted node who the members are, in the form of etcd's initial-cluster.
type JoinReply struct {
	InitialCluster string `json:"initial_cluster"`
}

// ErrNotLeader is Admit's answer on a member that does not lead; ask the leader.
var ErrNotLeader = errors.New("not the raft leader")

// askAdmission asks the members one after the other.
func (m *Member) askAdmission(ctx context.Context, peers []Voter) (JoinReply, error) {
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	var errs []error
	for _, peer := range peers {
		if peer == m.cfg.Self {
			continue // the others still believe that this node leads
		}
		reply, err := m.cfg.Peers.Join(ctx, peer, JoinRequest{Voter: m.cfg.Self, Incarnation: m.disk.state.Incarnation})
		if err == nil {
			return reply, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", peer, err))
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return JoinReply{}, errors.New(strings.Join(texts, "; "))
}

// Admit takes a blank node in as a learner; the leader promotes it when it has caught up. A former member
// with the same name or address is removed first: the node has just said that it has lost that one's log.
// The node is asked back at its address, so that a stray process cannot have a living member removed.
func (m *Member) Admit(ctx context.Context, request JoinRequest) (JoinReply, error) {
	run := m.running.Load()
	if run == nil || !run.ready.Load() || !m.Leading() {
		return JoinReply{}, ErrNotLeader
	}
	joiner, ok := findVoter(m.cfg.Voters, request.Name)
	switch {
	case !ok || joiner.Addr != request.Addr:
		return JoinReply{}, fmt.Errorf("%s is not in this node's --nodes %s: restart all nodes with the same list", request.Voter, FormatVoters(m.cfg.Voters))
	case joiner == m.cfg.Self:
		return JoinReply{}, fmt.Errorf("%s is this node: two nodes claim one address", joiner)
	}
	report, err := m.cfg.Peers.Ask(ctx, joiner)
	switch {
	case err != nil:
		return JoinReply{}, fmt.Errorf("ask %s back: %w", joiner, err)
	case report.Phase == Joined || report.Incarnation != request.Incarnation:
		return JoinReply{}, fmt.Errorf("%s answers as %s, in another life than the one that asks: two nodes claim one address", joiner, report.Phase)
	}
	m.admits.Lock()
	defer m.admits.Unlock()
	return m.admit(ctx, run.client, joiner)
}

func (m *Member) admit(ctx context.Context, client *clientv3.Client, joiner Voter) (JoinReply, error) {
	list, err := client.MemberList(ctx)
	if err != nil {
		return JoinReply{}, fmt.Errorf("list members: %w", err)
	}
	for _, member := range list.Members {
		if member.Name != joiner.Name && !slices.Contains(member.PeerURLs, joiner.peerURL()) {
			continue
		}
		if _, err := client.MemberRemove(ctx, member.ID); err != nil {
			return JoinReply{}, fmt.Errorf("remove the former member of %s: %w", joiner, err)
		}
		m.log.Info("removed a member that lost its log", "node", joiner.Name, "member", fmt.Sprintf("%x", member.ID))
	}
	added, err := client.MemberAddAsLearner(ctx, []string{joiner.peerURL()})
	if errors.Is(err, rpctypes.ErrTooManyLearners) {
		return JoinReply{}, errors.New("another node is joining; one at a time")
	}
	if err != nil {
		return JoinReply{}, fmt.Errorf("add %s as a learner: %w", joiner, err)
	}
	m.log.Info("admitted a node as a learner", "node", joiner.Name)
	var entries []string
	for i, member := range added.Members {
		name := member.Name
		switch {
		case member.ID == added.Member.ID:
			name = joiner.Name
		case name == "":
			name = fmt.Sprintf("unstarted-%d", i) // has not published its name yet; etcd matches by address
		}
		for _, u := range member.PeerURLs {
			entries = append(entries, name+"="+u)
		}
	}
	return JoinReply{InitialCluster: strings.Join(entries, ",")}, nil
}

// alive asks a voter whether it runs; a learner that never told its name does not.
func (m *Member) alive(ctx context.Context, name string) bool {
	v, ok := findVoter(m.cfg.Voters, name)
	if !ok {
		return false
	}
	_, err := m.cfg.Peers.Ask(ctx, v)
	return err == nil
}

// promote gives learners that have caught up their vote, and frees the place of one that never came.
func (m *Member) promote(ctx context.Context, seen map[uint64]time.Time) {
	run := m.running.Load()
	if run == nil {
		return
	}
	for _, member := range run.etcd.Server.Cluster().Members() {
		id := uint64(member.ID)
		if !member.IsLearner {
			delete(seen, id)
			continue
		}
		if _, ok := seen[id]; !ok {
			seen[id] = time.Now()
		}
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		_, err := run.client.MemberPromote(ctx, id)
		if err == nil {
			m.log.Info("promoted a learner to voter", "node", member.Name)
		} else if time.Since(seen[id]) > learnerPatience && !m.alive(ctx, member.Name) {
			m.log.Warn("removing a learner that does not answer", "member", member.ID.String(), "address", strings.Join(member.PeerURLs, ","))
			if _, err := run.client.MemberRemove(ctx, id); err != nil {
				m.log.Warn("cannot remove the learner", "error", err)
			}
		}
		cancel()
	}
}
