package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// link is one connection to a server, on which everything fails when the check's time is over. It keeps what the connection ended with: who is in between
// tells of it in words of his own.
type link struct {
	net.Conn
	stop func() bool

	mu  sync.Mutex
	got bool // anything at all
	err error
}

// Read implements net.Conn.
func (l *link) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.note(n > 0, err)
	return n, err
}

// Write implements net.Conn. Whichever of the two meets a reset first is told of it, and the other only of the end.
func (l *link) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	l.note(false, err)
	return n, err
}

func (l *link) note(got bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.got = l.got || got
	if l.err == nil || l.err == io.EOF && err != nil {
		l.err = err
	}
}

// end closes the connection.
func (l *link) end() {
	l.stop()
	l.Close()
}

// cause is why an exchange failed with err: that the connection was reset, or closed before anything came, if that is what happened below it.
func (l *link) cause(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.As(l.err, new(syscall.Errno)) || l.err == io.EOF && !l.got {
		return l.err
	}
	return err
}

// connect opens a connection.
func (t Target) connect(ctx context.Context) (*link, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, err
	}
	// A deadline would not do: TLS sets its own for the last that it writes.
	return &link{Conn: conn, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

// dial connects, and agrees on TLS if the server speaks it with us, and on the version of HTTP. What is said goes over the net.Conn, and link ends it.
func (t Target) dial(ctx context.Context) (net.Conn, *link, error) {
	l, err := t.connect(ctx)
	if err != nil || t.TLS == nil {
		return l, l, err
	}
	c := t.TLS.Clone()
	version := "http/1.1"
	if t.HTTP2 {
		version = "h2"
	}
	c.NextProtos = []string{version}
	secure := tls.Client(l, c)
	if err = secure.HandshakeContext(ctx); err != nil {
		err = fmt.Errorf("TLS: %w", err)
	} else if t.HTTP2 && secure.ConnectionState().NegotiatedProtocol != version {
		err = plainError("does not speak HTTP/2")
	}
	if err != nil {
		l.end()
		return nil, nil, err
	}
	return secure, l, nil
}
