//go:build linux

package client

import (
	"context"
	"time"
)

// Handshakes opens a connection for every request, with a full handshake. Connections are as many as there are at a time.
func Handshakes(ctx context.Context, p Plan) (Result, error) {
	return p.do(ctx, p.Connections, func(r *run) worker { return r.handshakes })
}

func (r *run) handshakes(ctx context.Context, number int, mine *Histogram) error {
	x := exchange{request: r.request(number), buffer: make([]byte, 4<<10)}
	for r.phase.Load() != over {
		began := time.Now()
		c, hangUp, err := r.dial(ctx, number, "http/1.1")
		if err != nil {
			return err
		}
		x.conn, x.answer = c, answer{want: r.Body}
		if err = c.SetDeadline(began.Add(patience)); err == nil {
			err = x.one()
		}
		if err == nil && r.phase.Load() == counting {
			mine.Add(time.Since(began))
		}
		hangUp()
		if err != nil {
			return err
		}
	}
	return nil
}
