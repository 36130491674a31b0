package web

import (
	"io"
	"net"
)

// input is the reading side of a connection, a client's or a server's. It borrows a buffer when bytes arrive.
type input struct {
	conn  net.Conn
	wait  *readiness // of a plain TCP connection, else nil
	pool  *buffers
	buf   *buffer // nil if nothing is there
	first [1]byte // what ends the wait of a connection that cannot tell without reading
}

func newInput(c net.Conn, pool *buffers) input {
	in := input{conn: c, pool: pool}
	if tcp, ok := c.(*net.TCPConn); ok {
		in.wait = newReadiness(tcp)
	}
	return in
}

// bytes are what has been read and not been taken.
func (in *input) bytes() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf.bytes()
}

// take marks the first n bytes as used. They stay as they are until the next read or release.
func (in *input) take(n int) { in.buf.r += n }

// release gives the buffer back if nothing is in it.
func (in *input) release() {
	if in.buf != nil && in.buf.r == in.buf.w {
		in.pool.put(in.buf)
		in.buf = nil
	}
}

// drop gives the buffer back with all that is in it.
func (in *input) drop() {
	if in.buf != nil {
		in.pool.put(in.buf)
		in.buf = nil
	}
}

// await waits for the first bytes of a message, which may take long, and holds no buffer meanwhile. A connection that cannot wait
// without reading then has a single byte: no message is that short, so that the caller reads on.
func (in *input) await() error {
	in.release()
	if in.buf != nil {
		return nil
	}
	if in.wait != nil {
		return in.wait.read(in)
	}
	n, err := in.conn.Read(in.first[:])
	if n == 0 {
		return orEOF(err)
	}
	in.buf = in.pool.get()
	in.buf.b[0], in.buf.w = in.first[0], 1
	return nil
}

// read waits for more bytes. The buffer must not be full.
func (in *input) read() error {
	in.release()
	if in.buf == nil {
		if in.wait != nil {
			return in.wait.read(in)
		}
		in.buf = in.pool.get()
	}
	n, err := in.conn.Read(in.buf.space())
	in.buf.w += n
	if n > 0 {
		return nil // an error will come again
	}
	return orEOF(err)
}

// readBehind waits for more bytes and leaves all that is in the buffer where it is, also what was taken. There is a buffer, which grows if it has to.
func (in *input) readBehind() error {
	if in.buf.w == len(in.buf.b) && !in.buf.grow(maxAnswer) {
		return io.ErrShortBuffer
	}
	n, err := in.conn.Read(in.buf.b[in.buf.w:])
	in.buf.w += n
	if n > 0 {
		return nil
	}
	return orEOF(err)
}

// orEOF makes sure that a read without bytes and without an error is an end.
func orEOF(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}
