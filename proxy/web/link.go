package web

import (
	"sync"
	"time"
)

// past is a deadline that ends whatever waits, noTime one that ends nothing.
var past, noTime = time.Unix(1, 0), time.Time{}

// interrupter is a connection to a server, or a request on one, as far as it can be interrupted by a deadline in the past.
type interrupter interface{ SetDeadline(time.Time) error }

// link lets others than its own goroutine end an exchange: whoever finds that the client has gone, or cuts the connection.
type link struct {
	mu     sync.Mutex
	turn   uint        // counts exchanges, for what is meant for one that is over
	server interrupter // that the exchange waits for; nil if none
	client interrupter // that gets an answer which may take too long; nil if none
	gone   bool
	late   bool // the exchange as a whole took too long
}

// attach says for which connection to a server the exchange is about to wait; false if it should not.
func (l *link) attach(c interrupter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return false
	}
	l.server = c
	return true
}

// detach ends what attach began, and tells whether the connection was left alone meanwhile: only then it can be used again.
func (l *link) detach() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = nil
	return !l.gone
}

// ClientGone ends the waiting for a server: there is nobody to tell.
func (l *link) ClientGone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave()
}

// goneIn is ClientGone for who found it out in a turn that may be over.
func (l *link) goneIn(turn uint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn == turn {
		l.leave()
	}
}

func (l *link) leave() {
	l.gone = true
	if l.server != nil {
		l.server.SetDeadline(past)
	}
}

// present is the turn of the exchange that runs.
func (l *link) present() uint {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turn
}

// expireAfter ends the exchange, if it is not over by then: as a whole it takes too long. The timer is for settle.
func (l *link) expireAfter(limit time.Duration) *time.Timer {
	l.mu.Lock()
	defer l.mu.Unlock()
	turn := l.turn
	return time.AfterFunc(limit, func() { l.expire(turn) })
}

// expire ends the waiting for a server, and that for a client which takes its answer slowly.
func (l *link) expire(turn uint) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turn != turn || l.gone {
		return
	}
	l.late = true
	l.leave()
	if l.client != nil {
		l.client.SetDeadline(past)
	}
}

// settle ends what expireAfter began: when it returns the timer does nothing more, and not to what follows either. It tells whether the client's
// deadlines were set to the past.
func (l *link) settle(t *time.Timer) (cut bool) {
	if t.Stop() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	return l.late && l.client != nil
}

// answers says that the client's answer has begun, so that there is nothing else to tell it any more: false if it should not begin.
func (l *link) answers(c interrupter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return false
	}
	l.client = c
	return true
}

// isLate tells whether that is why it ended.
func (l *link) isLate() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
}

// breaksOff tells whether its answer had begun before.
func (l *link) breaksOff() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late && l.client != nil
}

// isGone tells whether the client has gone.
func (l *link) isGone() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// reset readies the link for the next exchange.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	l.server, l.client, l.gone, l.late = nil, nil, false, false
}
