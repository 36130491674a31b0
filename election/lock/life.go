package lock

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// life is a lease that is renewed. It tells the others that somebody is there; no right rests on it.
type life struct {
	leases Leases
	id     clientv3.LeaseID
	every  time.Duration
	ended  chan struct{} // closed when the store says that there is no such lease
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// slowestRenewal is for long leases, so that a connection that has died is noticed.
const slowestRenewal = 20 * time.Second

// startLife renews a lease of so many seconds until stop. The first renewal is due after a quarter of it, three more fit in if it fails.
func startLife(leases Leases, id clientv3.LeaseID, seconds int64) *life {
	l := &life{
		leases: leases, id: id, ended: make(chan struct{}),
		every: min(time.Duration(seconds)*time.Second/4, slowestRenewal),
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.done.Go(func() { l.run(ctx) })
	return l
}

func (l *life) run(ctx context.Context) {
	for next := l.every; pause(ctx, next); {
		next = l.every
		err := l.renew(ctx)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			close(l.ended)
			return
		case err != nil:
			next = l.every / 4 // beside what the failure has taken
		}
	}
}

func (l *life) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.every)
	defer cancel()
	_, err := l.leases.KeepAliveOnce(ctx, l.id)
	return err
}

// stop ends the renewals, and returns when none is under way.
func (l *life) stop() {
	l.cancel()
	l.done.Wait()
}
