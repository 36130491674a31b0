package api

import (
	"context"
	"net/netip"

	"tripod/election"
)

// Handovers is what nodes say to each other about a VIP that moves.
type Handovers interface {
	// PrepareMove makes the holder of a VIP do what it can ahead of a move.
	PrepareMove(ctx context.Context, request PrepareRequest) (struct{}, error)
	// Forward tells the next holder, ahead of a move, of the connections that will go on at this one.
	Forward(ctx context.Context, request ForwardRequest) (struct{}, error)
	// Acknowledged passes a former holder's acknowledgement on.
	Acknowledged(ctx context.Context, a Acknowledgement) AcknowledgementReply
}

// PrepareRequest is about a move that is going to be.
type PrepareRequest struct {
	Address netip.Addr `json:"address"`
	To      string     `json:"to"`
}

// ForwardRequest has connections, as vip.Handover has them.
type ForwardRequest struct {
	Address  netip.Addr `json:"address"`
	Handover []byte     `json:"handover"`
}

// Acknowledgement is a former holder's word that it has dropped a VIP.
type Acknowledgement struct {
	election.Acknowledgement
	// Handover are the established connections that go on at the former holder, as vip.Handover has it; empty if there
	// are none.
	Handover []byte `json:"handover,omitempty"`
}

// AcknowledgementReply is the new holder's answer.
type AcknowledgementReply struct {
	// MAC is the Ethernet address at which the VIP is answered for now; empty if that is not so yet, or if there is no
	// network between the nodes.
	MAC string `json:"mac,omitempty"`
}

// PrepareMove makes the holder of a VIP prepare a move.
func (c *Client) PrepareMove(ctx context.Context, request PrepareRequest) error {
	_, err := call[struct{}](ctx, c, "POST", "/v1/prepare", request)
	return err
}

// Forward tells the next holder of connections that will go on at this node.
func (c *Client) Forward(ctx context.Context, request ForwardRequest) error {
	_, err := call[struct{}](ctx, c, "POST", "/v1/forward", request)
	return err
}

// Acknowledge tells a new holder that this node has dropped a VIP.
func (c *Client) Acknowledge(ctx context.Context, a Acknowledgement) (AcknowledgementReply, error) {
	return call[AcknowledgementReply](ctx, c, "POST", "/v1/acknowledge", a)
}
