package node

import (
	"context"
	"slices"
	"time"

	"tripod/election"
	"tripod/node/api"
)

const (
	steerInterval = time.Second
	// steerTimeout bounds one hand-over of raft leadership. It takes a round trip, or etcd abandons it after an election timeout.
	steerTimeout = time.Second
)

// wishes are the VIPs of the served document and where it wants them; nil while there is none.
func (v *vips) wishes() []election.Wish {
	_, document, _, _ := v.node.docs.snapshot()
	if document == nil {
		return nil
	}
	wishes := []election.Wish{}
	for i, p := range document.Addresses() {
		wishes = append(wishes, document.VIPs[i].Wish(p.Addr()))
	}
	return wishes
}

// candidates are the living nodes as the placement sees them; none until it is known which of them operators drain.
func (v *vips) candidates() []election.Candidate { return v.candidatesBut(v.drains.Load()) }

// candidatesBut are the candidates if operators drained these nodes.
func (v *vips) candidatesBut(drains *drains) []election.Candidate {
	nodes := v.nodes.Load()
	if nodes == nil || drains == nil {
		return nil
	}
	var candidates []election.Candidate
	var newest int64 // that some node serves
	for _, key := range *nodes {
		newest = max(newest, key.Applied)
	}
	for name, key := range *nodes {
		// A node that refuses what others serve would serve the VIP's clients an old document.
		refuses := key.Refused > key.Applied && newest >= key.Refused || key.Applied == 0 && key.Refused > 0
		_, draining := drains.nodes[name]
		candidates = append(candidates, election.Candidate{
			Name: name, Zone: key.Zone, Draining: draining, Unfit: key.Unfit,
			// A node shows its draining a moment after the operator's key, which is what counts.
			Ready: (key.State == api.Ready || key.State == api.Draining) && !refuses,
		})
	}
	return candidates
}

// steer keeps raft leadership off a node that holds a VIP while another voter holds none: losing the holder
// then costs no raft election on top. A voter that seems well and does not take leadership, because it lags behind or cannot be
// reached by etcd, does not keep the next one from being asked.
func (v *vips) steer(ctx context.Context) {
	for ctx.Err() == nil {
		pause(ctx, steerInterval)
		for _, to := range v.freeVoters() {
			if !v.node.member.Leading() || len(v.holder.Held()) == 0 {
				break
			}
			call, cancel := context.WithTimeout(ctx, steerTimeout)
			err := v.node.member.MoveLeader(call, to)
			cancel()
			if err == nil || ctx.Err() != nil {
				break
			}
			v.node.log.Info("raft leadership stays on a vip holder", "refused_by", to, "error", err)
		}
	}
}

// freeVoters are the other voters that are well and hold nothing. One that drains is about to be taken away, and its
// leadership with it.
func (v *vips) freeVoters() []string {
	nodes, records := v.nodes.Load(), v.records.Load()
	if nodes == nil || records == nil {
		return nil
	}
	busy := map[string]bool{v.node.Name(): true}
	for _, r := range *records {
		busy[r.Holder] = true
	}
	var free []string
	for _, voter := range v.node.voters {
		key, ok := (*nodes)[voter.Name]
		if ok && key.State == api.Ready && !busy[voter.Name] && !v.detector.Suspected(voter.Name) {
			free = append(free, voter.Name)
		}
	}
	return free
}

// awaitNone waits until this node holds nothing, or nobody else could, or ctx ends.
func (v *vips) awaitNone(ctx context.Context) {
	for ctx.Err() == nil && slices.ContainsFunc(v.holder.Held(), v.movable) {
		pause(ctx, 10*time.Millisecond)
	}
}

// movable tells whether another node could hold what this one holds.
func (v *vips) movable(held election.Held) bool {
	return v.able(v.candidates(), held.Address, v.node.Name())
}
