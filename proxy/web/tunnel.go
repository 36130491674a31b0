package web

import (
	"errors"
	"io"
	"net"
	"sync"

	"tripod/proxy/web/message"
)

// halfCloser is a connection that can end one direction.
type halfCloser interface {
	io.ReadWriter
	CloseWrite() error
}

// tunnel implements client: it carries both directions until both have ended, or one has failed, or the front is cut. There is no time limit.
func (c *client1) tunnel(fields []message.Field, s *serverConn) (int64, error) {
	c.close = true // whatever becomes of it, no request follows
	out := c.output()
	err := c.respond(101, append(fields, message.Field{Name: "Upgrade", Value: c.req.Upgrade}), 0, false)
	if err == nil {
		early := s.in.bytes()
		out.set(append(out.b[:out.w], early...))
		s.in.take(len(early))
		err = c.finish(nil)
	}
	if err != nil {
		return 0, &clientError{err}
	}
	c.readBy.forget()
	c.writeBy.forget()
	c.conn.SetDeadline(noTime)
	s.tcp.SetDeadline(noTime)
	if c.link.isGone() || c.cut.Load() { // a deadline that said so was overwritten
		return 0, errGone
	}
	if early := c.in.bytes(); len(early) > 0 {
		if _, err := s.tcp.Write(early); err != nil {
			return 0, err
		}
	}
	c.in.drop()
	s.in.drop()
	half, ok := c.conn.(halfCloser)
	if !ok {
		return 0, errors.New("a connection that cannot be tunnelled")
	}
	return join(c.front.engine, half, s.tcp)
}

// join carries both directions. The end of one is passed on; a failure of one ends both.
func join(e *Engine, client halfCloser, server *net.TCPConn) (sent int64, err error) {
	var up sync.WaitGroup
	var upErr error
	up.Go(func() {
		if upErr = e.carryTo(server, client, nil); upErr == nil {
			upErr = server.CloseWrite()
		}
		if upErr != nil {
			server.SetDeadline(past)
		}
	})
	if err = e.carryTo(client, server, &sent); err == nil {
		err = client.CloseWrite()
	}
	if err != nil {
		server.Close()
		if c, ok := client.(io.Closer); ok {
			c.Close()
		}
	}
	up.Wait()
	return sent, errors.Join(err, upErr)
}

// carryTo copies one direction to its end. Not by splice(2): a pipe would be held for as long as the connection lives, which is two more files.
func (e *Engine) carryTo(dst io.Writer, src io.Reader, count *int64) error {
	b := e.tunnels.Get().(*tunnelBuffer)
	defer e.tunnels.Put(b)
	n, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, b[:])
	if count != nil {
		*count = n
	}
	return err
}

// tunnelBuffer carries one direction of an upgraded connection, for as long as it lives.
type tunnelBuffer [8 << 10]byte
