package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"tripod/election"
	"tripod/node/api"
)

// moveTimeout is how long a move waits for the new holder, which takes 420 ms even if the old one is gone.
const moveTimeout = 5 * time.Second

// MoveVIP implements api.Operators.
func (n *Node) MoveVIP(ctx context.Context, request api.MoveRequest) (api.MoveReply, error) {
	began := time.Now()
	v, err := n.operating(ctx)
	if err != nil {
		return api.MoveReply{}, err
	}
	var reply api.MoveReply
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	attempts := 0
	err = persist(call, func(ctx context.Context) error {
		attempts++
		moved, err := v.placer.Move(ctx, request.Address, request.To, request.By)
		reply.From, reply.To = moved.From, moved.To
		if attempts > 1 && moved.From == moved.To {
			reply.From = "" // an attempt that seemed to fail may have moved it from somewhere
		}
		return err
	})
	if call.Err() != nil && ctx.Err() == nil {
		return reply, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	}
	if err != nil {
		return reply, moveFailure(err)
	}
	if err := v.awaitHolder(ctx, request.Address, reply.To); err != nil {
		return reply, api.Fail(http.StatusGatewayTimeout, err)
	}
	reply.Took = time.Since(began).Seconds()
	reply.Warnings = v.moveWarnings(request.Address, reply.To)
	return reply, nil
}

// moveFailure gives an error of Placer.Move its status.
func moveFailure(err error) error {
	switch {
	case errors.Is(err, election.ErrUnknownAddress), errors.Is(err, election.ErrUnknownNode):
		return api.Fail(http.StatusNotFound, err)
	case errors.Is(err, election.ErrNotReady), errors.Is(err, election.ErrNoCandidate), errors.Is(err, election.ErrConflict):
		return api.Fail(http.StatusConflict, err)
	}
	return err
}

// awaitHolder waits until a node says that it holds an address.
func (v *vips) awaitHolder(ctx context.Context, address netip.Addr, name string) error {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	for {
		held, err := v.heldBy(ctx, name)
		if slices.ContainsFunc(held, func(h election.Held) bool { return h.Address == address }) {
			return nil
		}
		if ctx.Err() != nil {
			if err != nil {
				return fmt.Errorf("the record of %s names %s, which does not answer: %w", address, name, err)
			}
			return fmt.Errorf("the record of %s was given to %s, which does not hold it after %s: see tripod status", address, name, moveTimeout)
		}
		pause(ctx, holdsPause)
	}
}

// moveWarnings says when an address will not stay where it was moved.
func (v *vips) moveWarnings(address netip.Addr, to string) []string {
	for _, wish := range v.wishes() {
		if wish.Address != address || !wish.Preempt || wish.Zone == "" {
			continue
		}
		better := func(c election.Candidate) bool { return c.Zone == wish.Zone && c.Ready && !c.Draining }
		candidates := v.candidates()
		at := slices.IndexFunc(candidates, func(c election.Candidate) bool { return c.Name == to })
		if at >= 0 && candidates[at].Zone != wish.Zone && slices.ContainsFunc(candidates, better) {
			return []string{fmt.Sprintf("preempt moves it back to zone %s after %s", wish.Zone, wish.PreemptDelay)}
		}
	}
	return nil
}
