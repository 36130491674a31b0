package h2

import "time"

// What a client may do that brings nobody forward. A budget is a number of such frames that may come at once; it fills again with time
// and with useful work. Nobody who uses HTTP/2 for requests comes near.
const (
	frameBudget = 2000 // frames that ask for work and do none: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones, late ones
	frameRefill = 100  // a second
	resetRefill = 10   // streams a second that come to nothing; Conn says how many at once
	// quickReset is the age below which a stream that the client resets counts as one of those: deadlines that pass by the hundred when a server is
	// slow are no attack.
	quickReset = 500 * time.Millisecond

	// An answer, and each DATA frame that we send, may cause the client to update two windows, and to measure the way with a PING.
	perSent = 3
	// One that is only as short as the client's window made it earns its length's share, so that a client which opens its windows octet by
	// octet pays for it.
	octetsPerUnit = 64
)

// budget is an account of what a client may do, and what it has done. It counts down.
type budget struct {
	left, most, refill int
	at                 time.Time // when it was last filled
}

func newBudget(most, refill int, now time.Time) budget {
	return budget{left: most, most: most, refill: refill, at: now}
}

// spend takes n off, and tells whether that much was left.
func (b *budget) spend(n int) bool {
	b.left -= n
	if b.left >= 0 {
		return true
	}
	// Only now is the clock worth asking.
	now := time.Now()
	if seconds := now.Sub(b.at).Seconds(); seconds*float64(b.refill) >= 1 {
		b.left, b.at = min(b.most, b.left+int(min(seconds, 3600)*float64(b.refill))), now
	}
	return b.left >= 0
}

// earn adds n.
func (b *budget) earn(n int) { b.left = min(b.most, b.left+n) }
