package web

import (
	"errors"
	"sync/atomic"
)

// errRoom: a connection to a server was not made, for it would be one of too many.
var errRoom = errors.New("as many connections to servers are open as may be; raise the limit of open files (LimitNOFILE= in a systemd unit)")

// room counts the open connections to servers. A client's connection that speaks HTTP/2 asks for many of them, so that the limit of clients
// does not keep the process from running out of files.
type room struct {
	most int64 // 0 is no limit
	open atomic.Int64
}

// enter takes a place for one connection, if there is one. It has to be left.
func (r *room) enter() bool {
	if n := r.open.Add(1); r.most > 0 && n > r.most {
		r.open.Add(-1)
		return false
	}
	return true
}

func (r *room) leave() { r.open.Add(-1) }

// scarce tells whether connections should not be kept for later: what idles for one server is missing for another.
func (r *room) scarce() bool { return r.most > 0 && r.open.Load() > r.most/2 }
