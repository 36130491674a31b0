package web

import "time"

// refresh is the part of its time after which a deadline is set anew. Setting it for each message costs more than its precision is
// worth; a deadline is early by this part at most.
const refresh = 16

// deadline remembers what a connection's deadline for one direction was set to.
type deadline struct {
	at    time.Time // when it was set; zero if it is not known
	limit time.Duration
}

// deadliner is a connection, as far as its deadlines go.
type deadliner interface {
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// read bounds what is read from now on; a limit of 0 is none. It tells whether the connection's deadline was changed, and with it perhaps one that
// somebody else had set to end the waiting.
func (d *deadline) read(c deadliner, now time.Time, limit time.Duration) bool {
	if !d.due(now, limit) {
		return false
	}
	c.SetReadDeadline(d.end())
	return true
}

// write is read for what is written.
func (d *deadline) write(c deadliner, now time.Time, limit time.Duration) bool {
	if !d.due(now, limit) {
		return false
	}
	c.SetWriteDeadline(d.end())
	return true
}

func (d *deadline) due(now time.Time, limit time.Duration) bool {
	if d.limit == limit && !d.at.IsZero() && (limit == 0 || now.Sub(d.at) < limit/refresh) {
		return false
	}
	d.at, d.limit = now, limit
	return true
}

func (d *deadline) end() time.Time {
	if d.limit == 0 {
		return time.Time{}
	}
	return d.at.Add(d.limit)
}

// forget makes the next set count: somebody else changed the connection's deadline.
func (d *deadline) forget() { d.at = time.Time{} }
