package web

import (
	"errors"
	"net"
	"testing"
	"time"
)

// full is a client's connection that takes nothing more.
type full struct{ net.Conn }

func (full) Write([]byte) (int, error)        { return 0, errors.New("full") }
func (full) SetWriteDeadline(time.Time) error { return nil }

// A client that does not take the head of an upgrade has no connection that could go on with another request.
func TestUpgradeThatIsNotTakenEndsTheConnection(t *testing.T) {
	e := New(Options{})
	c := &client1{front: &Front{engine: e}, conn: full{}, limits: &e.limits}
	c.in = newInput(c.conn, &e.buffers)
	c.req.Upgrade = "x"
	var client *clientError
	s := &serverConn{in: input{pool: &e.buffers, buf: e.buffers.get()}}
	if _, err := c.tunnel(nil, s); !errors.As(err, &client) || !c.close {
		t.Errorf("%v, close %v", err, c.close)
	}
}
