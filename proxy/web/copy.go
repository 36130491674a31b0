package web

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// headWait is how long the head of an answer waits for the first part of the body, so that both leave in one
// packet.
const headWait = time.Millisecond

// copier carries an answer's body to a client. Copiers are reused, with their buffer and timer.
type copier struct {
	mu    sync.Mutex // guards w while the head waits
	w     http.ResponseWriter
	timer *time.Timer
	buf   [32 << 10]byte
}

func newCopier() any {
	c := &copier{}
	c.timer = time.AfterFunc(time.Hour, c.flushHead)
	c.timer.Stop()
	return c
}

// flushHead sends the head alone: the body lets us wait. A late call for an earlier use does no harm: it
// finds no head waiting, or sends one early.
func (c *copier) flushHead() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.w != nil {
		c.w.(http.Flusher).Flush()
		c.w = nil
	}
}

// headLeft ends the head's waiting, before anything else touches the writer.
func (c *copier) headLeft() {
	c.timer.Stop()
	c.mu.Lock()
	c.w = nil
	c.mu.Unlock()
}

// copyBody carries the answer's body to the client, each part as soon as it comes. A failure of the client is
// a *clientError.
func (x *exchange) copyBody(res *http.Response) error {
	c := x.front.engine.copiers.Get().(*copier)
	defer x.front.engine.copiers.Put(c)
	c.mu.Lock()
	c.w = x.w
	c.mu.Unlock()
	c.timer.Reset(headWait)
	n, err := res.Body.Read(c.buf[:])
	c.headLeft()

	flusher := x.w.(interface{ FlushError() error })
	var deadline stallDeadline
	defer deadline.unset(x)
	for {
		if n > 0 {
			whole := res.ContentLength >= 0 && x.bytes+int64(n) >= res.ContentLength
			if !whole {
				deadline.set(x)
			}
			written, werr := x.w.Write(c.buf[:n])
			x.bytes += int64(written)
			if werr != nil {
				return &clientError{werr}
			}
			if !whole && err == nil {
				if werr := flusher.FlushError(); werr != nil {
					return &clientError{werr}
				}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		n, err = res.Body.Read(c.buf[:])
	}
}

// stallDeadline gives up on a client that does not take its answer. Only on HTTP/1.1: there a deadline that
// passes while nothing is being written does no harm; on HTTP/2 it would end an idle stream.
type stallDeadline struct{ at time.Time }

func (d *stallDeadline) set(x *exchange) {
	if x.r.ProtoMajor != 1 {
		return
	}
	stall := x.front.engine.opts.Timeouts.Stall
	if now := time.Now(); now.Sub(d.at) > stall/refresh {
		d.at = now
		http.NewResponseController(x.w).SetWriteDeadline(now.Add(stall))
	}
}

func (d *stallDeadline) unset(x *exchange) {
	if !d.at.IsZero() {
		http.NewResponseController(x.w).SetWriteDeadline(time.Time{})
	}
}
