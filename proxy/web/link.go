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
	server interrupter // that the exchange waits for; nil if none
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
	l.gone = true
	if l.server != nil {
		l.server.SetDeadline(past)
	}
}

// expire ends the waiting: the exchange as a whole takes too long.
func (l *link) expire() {
	l.mu.Lock()
	l.late = true
	l.mu.Unlock()
	l.ClientGone()
}

// isLate tells whether that is why it ended.
func (l *link) isLate() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.late
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
	l.server, l.gone, l.late = nil, false, false
}
