package web

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"tripod/proxy/web/message"
)

// held2 is a short content of an answer over HTTP/2 that is held back until it is whole, or has taken too long. The library cannot wait for a limited time
// only, so that a goroutine of its own reads.
type held2 struct {
	body io.ReadCloser
	came chan struct{} // has room for one: there is more, or the end
	done chan struct{} // closed when the goroutine has ended

	mu  sync.Mutex
	b   []byte // what has come, and was not read
	err error  // at its end
}

// hold holds a short answer back, as holdAnswer does. The content is to be read from what it returns, and end to be called when that is over.
func (c *conversation2) hold(res *http.Response) (content io.Reader, end func(), err error) {
	x := c.x
	if res.ContentLength <= 0 || res.ContentLength > maxHeld || !message.HasContent(x.req.Method, res.StatusCode) || !x.elsewhere() {
		return res.Body, func() {}, nil
	}
	h := &held2{body: res.Body, came: make(chan struct{}, 1), done: make(chan struct{})}
	go h.run(int(res.ContentLength))
	timer := time.NewTimer(holdTime)
	defer timer.Stop()
	select {
	case <-h.done:
		err = h.failure()
	case <-timer.C:
	}
	return h, h.end, err
}

// run reads to the end.
func (h *held2) run(length int) {
	defer close(h.done)
	b := make([]byte, length)
	for {
		n, err := h.body.Read(b)
		h.mu.Lock()
		h.b, h.err = append(h.b, b[:n]...), err
		h.mu.Unlock()
		select {
		case h.came <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// failure is why the content is not whole.
func (h *held2) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err == io.EOF:
		return nil
	case errors.Is(h.err, io.ErrUnexpectedEOF):
		return errEarly
	}
	return h.err
}

// Read implements io.Reader.
func (h *held2) Read(p []byte) (int, error) {
	for {
		h.mu.Lock()
		n, err := copy(p, h.b), h.err
		h.b = h.b[n:]
		if len(h.b) > 0 {
			err = nil
		}
		h.mu.Unlock()
		if n > 0 || err != nil {
			return n, err
		}
		<-h.came
	}
}

// end returns when nobody reads any more.
func (h *held2) end() {
	h.body.Close()
	<-h.done
}
