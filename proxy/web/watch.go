package web

import "time"

// watchTick is how often connections whose client waits for a server are looked at. A request that is answered within
// that time is never looked at.
const watchTick = 500 * time.Millisecond

// watch finds clients that have gone while a server is waited for. Reading the connection would tell too, but a goroutine
// for each request is dear, and there is nothing to be read.
func (f *Front) watch() {
	tick := time.NewTicker(watchTick)
	defer tick.Stop()
	var waiting []*client1
	for {
		select {
		case <-tick.C:
		case <-f.life.Done():
			return
		}
		waiting = waiting[:0]
		f.mu.Lock()
		for c := range f.conns {
			if c.state.Load() == stateWaiting {
				waiting = append(waiting, c)
			}
		}
		f.mu.Unlock()
		for _, c := range waiting {
			c.look(f.engine.opts.Timeouts.HalfClosed)
		}
		clear(waiting)
	}
}

// look ends the exchange of a client that has gone. One that has only closed its side gets its answer, if that comes soon.
func (c *client1) look(patience time.Duration) {
	turn := c.link.present()
	if turn != c.seen {
		c.seen, c.halfs = turn, 0
		return // it has not been waiting for a whole tick
	}
	gone, half := peerState(c.tcp)
	if half {
		c.halfs++
	}
	if (gone || time.Duration(c.halfs)*watchTick > patience) && c.state.Load() == stateWaiting {
		c.link.goneIn(turn)
	}
}
