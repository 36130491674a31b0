package node

import (
	"sync"
	"time"

	"tripod/node/api"
)

// subscriberBuffer is how many events a subscriber may fall behind before it loses some: minutes of quiet, or
// seconds with many VIPs.
const subscriberBuffer = 1024

// maxSubscribers bounds the open event streams of a node.
const maxSubscribers = 64

// events passes what happens on to whoever watches. Telling never blocks.
type events struct {
	node string
	mu   sync.Mutex
	subs map[chan api.Event]struct{}
}

func newEvents(node string) *events {
	return &events{node: node, subs: map[chan api.Event]struct{}{}}
}

func (e *events) tell(event api.Event) {
	event.Node = e.node
	if event.Time.IsZero() {
		event.Time = time.Now()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for c := range e.subs {
		select {
		case c <- event:
		default: // lost to a subscriber that does not read
		}
	}
}

// watched says whether anybody would hear an event: those that come ten times a second are made only then.
func (e *events) watched() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.subs) > 0
}

func (e *events) subscribe() (<-chan api.Event, func()) {
	c := make(chan api.Event, subscriberBuffer)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.subs) < maxSubscribers {
		e.subs[c] = struct{}{}
	}
	return c, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, c)
	}
}
