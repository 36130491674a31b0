package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"tripod/election"
	"tripod/node/config"
)

const (
	// leaderPatience is how long a request waits for a raft leader: an election takes up to 0.72 s, and a planned change
	// of leadership, which steer makes, a moment.
	leaderPatience = 1500 * time.Millisecond
	// attemptTimeout bounds one attempt of a request to the store. While raft leadership is being handed over the leader
	// drops what followers forward to it, and whoever asked would wait for an answer that never comes
	// (go.etcd.io/raft, stepLeader: leadTransferee).
	attemptTimeout = time.Second
)

// persist tries again until it works, the time is up, or the answer is final: etcd may refuse or lose a request
// while its leadership changes hands. An attempt that seemed to fail may have been done.
func persist(ctx context.Context, attempt func(context.Context) error) error {
	for {
		call, cancel := context.WithTimeout(ctx, attemptTimeout)
		err := attempt(call)
		cancel()
		if err == nil || ctx.Err() != nil || final(err) {
			return err
		}
		pause(ctx, followRetry)
	}
}

// ask is persist for what has a result.
func ask[A any](ctx context.Context, attempt func(context.Context) (A, error)) (answer A, err error) {
	err = persist(ctx, func(ctx context.Context) (err error) { answer, err = attempt(ctx); return err })
	return answer, err
}

// final tells errors that trying again does not change.
func final(err error) bool {
	var stale *config.StaleError
	return errors.As(err, &stale) || slices.ContainsFunc([]error{
		config.ErrNone, config.ErrNotKept,
		election.ErrUnknownAddress, election.ErrUnknownNode, election.ErrNotReady, election.ErrNoCandidate, election.ErrConflict,
	}, func(answer error) bool { return errors.Is(err, answer) })
}

// awaitLeader gives a change of raft leadership a moment.
func (n *Node) awaitLeader(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaderPatience)
	defer cancel()
	for n.member.Client() != nil && n.member.Leader() == "" && ctx.Err() == nil {
		pause(ctx, holdsPause)
	}
}
