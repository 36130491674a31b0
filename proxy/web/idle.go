package web

import (
	"context"
	"sync"
	"time"
)

// idle ends an answer in which nothing comes for a time, nor of the request.
type idle struct {
	mu      sync.Mutex
	timer   *time.Timer // nil without a limit, and at the end
	cancel  context.CancelFunc
	limit   time.Duration
	request *sending
}

func newIdle(cancel context.CancelFunc, limit time.Duration, request *sending) *idle {
	i := &idle{cancel: cancel, limit: limit, request: request}
	if limit > 0 {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.timer = time.AfterFunc(limit, i.ring)
	}
	return i
}

// ring comes when the answer has been silent for so long.
func (i *idle) ring() {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.timer == nil:
	case i.request.hasMoved(i.limit):
		i.timer.Reset(i.limit)
	default:
		i.cancel()
	}
}

func (i *idle) restart() {
	if i.limit > 0 {
		i.timer.Reset(i.limit) // by the exchange's own goroutine, which also stops it
	}
}

// stop returns when ring does nothing any more.
func (i *idle) stop() {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.timer != nil {
		i.timer.Stop()
		i.timer = nil
	}
}
