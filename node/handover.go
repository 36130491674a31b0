package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"tripod/election"
	"tripod/election/vip"
	"tripod/node/api"
)

// answerTimeout is for how long a former holder waits to hear that the next one answers: less than its patience
// with one acknowledgement.
const answerTimeout = 120 * time.Millisecond

// lingerLimit is for how long at most connections go on at a former holder of a VIP.
const lingerLimit = 10 * time.Minute

// prepareMove makes the holder of an address do ahead of a move what takes long with many connections, so that the move itself
// does not. A move that could not be prepared goes on without.
func (v *vips) prepareMove(ctx context.Context, address netip.Addr, from, to string) {
	request := api.PrepareRequest{Address: address, To: to}
	var err error
	if from == v.node.Name() {
		_, err = v.node.PrepareMove(ctx, request)
	} else {
		err = v.node.peers.prepareMove(ctx, from, request)
	}
	if err != nil {
		v.node.log.Debug("a vip moves unprepared", "vip", address.String(), "from", from, "to", to, "error", err)
	}
}

// PrepareMove implements api.Handovers.
func (n *Node) PrepareMove(ctx context.Context, request api.PrepareRequest) (struct{}, error) {
	if n.ground.kernel == nil || n.ground.failure != nil {
		return struct{}{}, nil
	}
	if err := n.ground.prepare(ctx, request.Address, request.To); err != nil {
		return struct{}{}, api.Fail(http.StatusConflict, err)
	}
	return struct{}{}, nil
}

// prepare lists the connections to an address that is about to move, and tells the next holder of them.
func (g *ground) prepare(ctx context.Context, address netip.Addr, to string) error {
	g.mu.Lock()
	delete(g.prepared, address)
	g.mu.Unlock()
	handover, err := g.kernel.Prepare(address, lingerLimit)
	if err != nil {
		return err
	}
	data, err := handover.MarshalBinary()
	if err == nil {
		err = g.node.peers.forward(ctx, to, api.ForwardRequest{Address: address, Handover: data})
	}
	if err != nil {
		return fmt.Errorf("tell %s of the connections to %s: %w", to, address, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.prepared[address] = to
	return nil
}

// Forward implements api.Handovers.
func (n *Node) Forward(_ context.Context, request api.ForwardRequest) (struct{}, error) {
	v := n.openVIPs.Load()
	if v == nil || n.ground.kernel == nil || n.ground.failure != nil {
		return struct{}{}, api.Fail(http.StatusConflict, fmt.Errorf("%s holds no vip now", n.Name()))
	}
	if v.holder.Holds(request.Address) { // it comes too late
		return struct{}{}, api.Fail(http.StatusConflict, fmt.Errorf("%s holds %s already", n.Name(), request.Address))
	}
	if err := n.ground.forward(request.Address, request.Handover); err != nil {
		return struct{}{}, api.Fail(http.StatusBadRequest, err)
	}
	return struct{}{}, nil
}

// release stops to answer in favour of another node; established connections go on here.
func (g *ground) release(address netip.Addr, to string) {
	if g.kernel == nil {
		g.drop(address)
		return
	}
	g.mu.Lock()
	prepared := g.prepared[address] == to
	delete(g.prepared, address)
	g.mu.Unlock()
	if !prepared {
		g.kernel.Unprepare(address) // the node that it goes to knows nothing of that
	}
	handover, err := g.kernel.Linger(address, lingerLimit)
	var data []byte
	if err == nil {
		data, err = handover.MarshalBinary()
	}
	if err != nil {
		g.node.log.Warn("established connections to a vip that moves are reset", "vip", address.String(), "error", err)
		g.drop(address)
	}
	g.mu.Lock()
	g.released[address] = data
	g.mu.Unlock()
}

// acknowledge tells the next holder that this node has let go, and of the connections that go on here.
func (g *ground) acknowledge(ctx context.Context, to string, word election.Acknowledgement) error {
	g.mu.Lock()
	handover := g.released[word.Address]
	g.mu.Unlock()
	reply, err := g.node.peers.acknowledge(ctx, to, api.Acknowledgement{Acknowledgement: word, Handover: handover})
	if err != nil {
		return err
	}
	// Clients that have not learned yet where the VIP is now have begun connections here meanwhile.
	if mac, err := net.ParseMAC(reply.MAC); err == nil && g.kernel != nil {
		if err := g.kernel.Replay(word.Address, mac); err != nil {
			g.node.log.Warn("new connections that came during the move are delayed", "vip", word.Address.String(), "error", err)
		}
	}
	return nil
}

// answering waits a moment until this node holds an address, and returns its Ethernet address; empty if it does
// not hold it by then.
func (g *ground) answering(ctx context.Context, holder *election.Holder, address netip.Addr) string {
	if g.kernel == nil || g.failure != nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for !holder.Holds(address) {
		if ctx.Err() != nil {
			return ""
		}
		pause(ctx, time.Millisecond)
	}
	mac, err := g.kernel.MAC(address)
	if err != nil {
		return ""
	}
	return mac.String()
}

// receive takes in the connections that go on at the former holder. It returns before the VIP can be taken, as
// it comes with the acknowledgement: their packets would be reset.
func (g *ground) receive(a api.Acknowledgement) {
	if g.kernel == nil || g.failure != nil || len(a.Handover) == 0 {
		return
	}
	err := g.forward(a.Address, a.Handover)
	if err != nil {
		g.node.log.Warn("established connections to a vip that moved here are reset", "vip", a.Address.String(), "from", a.From, "error", err)
	}
}

// forward makes packets of connections go on to where those are.
func (g *ground) forward(address netip.Addr, data []byte) error {
	var handover vip.Handover
	if err := handover.UnmarshalBinary(data); err != nil {
		return err
	}
	if handover.Address != address {
		return errors.New("it is about another address")
	}
	return g.kernel.Forward(handover)
}

// Acknowledged implements api.Handovers.
func (n *Node) Acknowledged(ctx context.Context, a api.Acknowledgement) api.AcknowledgementReply {
	v := n.openVIPs.Load()
	if v == nil {
		return api.AcknowledgementReply{}
	}
	n.ground.receive(a)
	v.holder.Acknowledged(a.Acknowledgement)
	return api.AcknowledgementReply{MAC: n.ground.answering(ctx, v.holder, a.Address)}
}
