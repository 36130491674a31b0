//go:build linux

package client

import (
	"context"
	"fmt"
	"net"
	"time"
)

// HTTP1 asks over HTTP/1.1, one request at a time on each connection.
func HTTP1(ctx context.Context, p Plan) (Result, error) {
	if p.Certificate == nil {
		return p.do(ctx, 1, func(r *run) worker { return r.plain })
	}
	return p.do(ctx, p.Connections, func(r *run) worker { return r.secure })
}

// secure is one connection over TLS. Package crypto/tls wants a goroutine for each.
func (r *run) secure(ctx context.Context, number int, mine *Histogram) error {
	c, hangUp, err := r.dial(ctx, number, "http/1.1")
	if err != nil {
		return err
	}
	defer hangUp()
	if err := c.SetDeadline(r.late()); err != nil {
		return err
	}
	x := exchange{conn: c, request: r.request(number), answer: answer{want: r.Body}, buffer: make([]byte, 32<<10)}
	for r.phase.Load() != over {
		began := time.Now()
		if err := x.one(); err != nil {
			return err
		}
		if r.phase.Load() == counting {
			mine.Add(time.Since(began))
		}
	}
	return nil
}

// exchange is a request and its answer, on a connection of its own.
type exchange struct {
	conn    net.Conn
	request []byte
	answer  answer
	buffer  []byte
}

func (x *exchange) one() error {
	if _, err := x.conn.Write(x.request); err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	for {
		n, err := x.conn.Read(x.buffer)
		if n == 0 && err != nil {
			return fmt.Errorf("read an answer: %w", err)
		}
		complete, err := x.answer.feed(x.buffer[:n])
		if complete || err != nil {
			return err
		}
	}
}
