package web

import (
	"io"
	"net"
)

// quickConn is a TCP connection whose reads and writes cost less: see readFD. TLS is put on it.
type quickConn struct {
	*net.TCPConn
	ready *readiness
}

// Quick makes a connection's reads and writes cheaper, for use below TLS.
func Quick(c *net.TCPConn) net.Conn {
	if ready := newReadiness(c); ready != nil {
		return &quickConn{c, ready}
	}
	return c
}

// Read implements net.Conn.
func (c *quickConn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.ready.readInto(p)
}

// Write implements net.Conn.
func (c *quickConn) Write(p []byte) (int, error) { return c.ready.write(p) }

// ReadFrom keeps what the TCP connection could do from being taken for this one's.
func (c *quickConn) ReadFrom(r io.Reader) (int64, error) { return io.Copy(struct{ io.Writer }{c}, r) }

// WriteTo is the same.
func (c *quickConn) WriteTo(w io.Writer) (int64, error) { return io.Copy(w, struct{ io.Reader }{c}) }
