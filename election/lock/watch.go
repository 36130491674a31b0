package lock

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// watch tells that keys have been deleted. Whatever goes wrong with it is told likewise: who waits looks again.
type watch struct {
	events clientv3.WatchChan
	cancel context.CancelFunc
	ctx    context.Context
	broken bool
}

// watchFrom tells of deletions after a revision: of a key, or with a final slash of those below it. It starts with what was seen at that revision.
func (m *Manager) watchFrom(ctx context.Context, key string, revision int64) *watch {
	return m.watch(ctx, key, clientv3.WithRev(revision+1))
}

// watchNow tells of deletions from before it returns, to be opened before one looks. A watch from a revision that has passed already when it comes
// to etcd is served a tenth of a second late (mvcc, syncWatchersLoop); one without a revision is not.
func (m *Manager) watchNow(ctx context.Context, key string) *watch {
	w := m.watch(ctx, key, clientv3.WithCreatedNotify())
	if !w.wait(callTimeout, nil) {
		w.broken = true
	}
	return w
}

func (m *Manager) watch(ctx context.Context, key string, opts ...clientv3.OpOption) *watch {
	opts = append(opts, clientv3.WithFilterPut())
	if strings.HasSuffix(key, "/") {
		opts = append(opts, clientv3.WithPrefix())
	}
	w := &watch{}
	w.ctx, w.cancel = context.WithCancel(clientv3.WithRequireLeader(ctx))
	w.events = m.cfg.Store.Watch(w.ctx, key, opts...)
	return w
}

// over tells that a watch is of no use any more; so is none.
func (w *watch) over() bool { return w == nil || w.broken }

// wait returns true when the watch has told anything, and false after a time, when ctx has ended, or when ended is closed; that may be nil.
func (w *watch) wait(limit time.Duration, ended <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case answer, open := <-w.events:
		if err := answer.Err(); err != nil || !open {
			w.broken = true
			pause(w.ctx, retryPause) // no leader, maybe
		}
		return true
	case <-w.ctx.Done():
	case <-ended:
	case <-timer.C:
	}
	return false
}

// close ends the watch, if there is one.
func (w *watch) close() {
	if w == nil {
		return
	}
	w.broken = true
	w.cancel()
}
