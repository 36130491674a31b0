package web

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// refresh is the part of its time after which a deadline is set anew: setting it for each part of a body
	// would cost more than its precision is worth.
	refresh = 16
	// linger is how long the rest of a request is read after its answer has ended, so that the client gets
	// to read the answer before the connection closes (RFC 9112 §9.6).
	linger = 2 * time.Second
)

// requestBody is the client's body on its way to the server. The transport closes it whenever it likes and may
// read it after the exchange has ended; neither reaches the client's connection. While the answer has not
// begun, each part has to come in time.
type requestBody struct {
	in       io.ReadCloser
	w        http.ResponseWriter
	limit    time.Duration
	length   int64 // -1 if it is not known
	expected bool  // the client waits for 100 (Continue)

	mu      sync.Mutex // guards what follows, never held while reading
	idle    sync.Cond  // no read is under way any more
	reading bool
	set     time.Time // when the deadline was set; zero if there is none
	free    bool      // the answer has begun: no deadline any more
	over    bool      // the exchange has ended
	eof     bool
	count   int64
	wrong   error // why reading the client failed

	request *http.Request // the client's; net/http adds the trailers when the body has ended
	trailer http.Header   // what the transport sends after the body; touched by its reader alone
}

var errOver = errors.New("the exchange has ended")

func (b *requestBody) open(x *exchange) {
	b.in, b.w, b.limit, b.length = x.r.Body, x.w, x.front.engine.opts.Timeouts.Body, x.r.ContentLength
	b.idle.L = &b.mu
	b.request = x.r
	for name := range x.r.Trailer { // the announced ones, without values yet
		if mayTrail(name) {
			if b.trailer == nil {
				b.trailer = make(http.Header, len(x.r.Trailer))
			}
			b.trailer[name] = nil
		}
	}
	b.expected = hasToken(x.r.Header["Expect"], "100-continue")
}

// Read reads from the client.
func (b *requestBody) Read(p []byte) (int, error) {
	if !b.before() {
		return 0, errOver
	}
	n, err := b.in.Read(p)
	b.after(n, err)
	return n, err
}

func (b *requestBody) before() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return false
	}
	b.reading = true
	if now := time.Now(); !b.free && now.Sub(b.set) > b.limit/refresh {
		b.set = now
		http.NewResponseController(b.w).SetReadDeadline(now.Add(b.limit))
	}
	return true
}

func (b *requestBody) after(n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reading = false
	b.idle.Signal()
	if b.over {
		return
	}
	b.count += int64(n)
	if err == io.EOF {
		b.eof = true
		b.takeTrailers()
		b.unset() // from now on net/http watches the connection for its end
	} else if err != nil && b.wrong == nil {
		b.wrong = err
	}
}

// takeTrailers fills in what followed the body. If none was announced, the transport sends none.
func (b *requestBody) takeTrailers() {
	if b.trailer == nil {
		return
	}
	for name, values := range b.request.Trailer {
		if mayTrail(name) {
			b.trailer[name] = values
		}
	}
}

// unfinished tells whether a part of the body was not read yet. An answer that begins then has to end the
// connection: if the rest does not come in time, what comes later must not be taken for a request.
func (b *requestBody) unfinished() bool {
	if b.in == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.eof && b.count != b.length
}

// unset removes the deadline. b.mu is held.
func (b *requestBody) unset() {
	if !b.set.IsZero() {
		b.set = time.Time{}
		http.NewResponseController(b.w).SetReadDeadline(time.Time{})
	}
}

// Close does nothing: the body belongs to net/http's server, which closes it after the answer.
func (b *requestBody) Close() error { return nil }

// answered lifts the deadline: a client may go on sending for as long as it is answered.
func (b *requestBody) answered() {
	if b.in == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = true
	b.unset()
}

// fault is why reading the client failed, nil if it did not.
func (b *requestBody) fault() error {
	if b.in == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wrong
}

// end cuts the body off from the client's connection.
func (b *requestBody) end(x *exchange) {
	if b.in == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.eof || x.r.ProtoMajor != 1 || x.status == http.StatusSwitchingProtocols {
		return
	}
	control := http.NewResponseController(b.w)
	if b.reading {
		// net/http would end the read itself, and take the deadline away with it.
		control.SetReadDeadline(time.Unix(1, 0))
		for b.reading {
			b.idle.Wait()
		}
	}
	wait := linger
	if b.wrong != nil {
		wait = 0
	}
	control.SetReadDeadline(time.Now().Add(wait))
}
