package web

import (
	"io"
	"net/http"
	"strings"
	"sync"

	"tripod/proxy/web/message"
)

// body2 is the client's content on its way to a server over HTTP/2. The library reads it in a goroutine of its own, which may go on for a while after the
// answer has come.
type body2 struct {
	of    *conversation2
	rest  []byte
	sent  int64
	asked bool // the client for its content, if it waits for that

	mu      sync.Mutex // held while reading
	state   sync.Mutex // guards what follows
	eof     bool
	begun   bool // reading
	over    bool
	fault   error
	request *http.Request
}

var _ io.ReadCloser = (*body2)(nil)

// newBody2 begins with what was in hand when the request came, which is all of it then.
func newBody2(c *conversation2) *body2 {
	b := &body2{of: c, asked: !c.x.req.Expect || c.x.send.taken}
	if c.x.send.taken {
		b.rest = c.x.send.body
	}
	return b
}

// announce says which trailers may follow; their values are filled in at the end.
func (b *body2) announce(r *http.Request, header http.Header) {
	b.request = r
	for _, list := range header["Trailer"] {
		for name, rest, ok := message.NextToken(list); ok; name, rest, ok = message.NextToken(rest) {
			if !message.MayTrail(message.Field{Name: name, Kind: message.KindOf(name)}) {
				continue
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[http.CanonicalHeaderKey(name)] = nil
		}
	}
	delete(header, "Trailer") // the library says it itself
}

// Read implements io.Reader.
func (b *body2) Read(p []byte) (n int, err error) {
	defer b.of.engine.surviveCall(b.of.peer, &err) // it runs in a goroutine of the library's
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begin() {
		return 0, errGone
	}
	if len(b.rest) == 0 {
		if !b.asked { // there is a server, and it takes the request: 100 (Continue) is not waited for
			b.asked = true
			b.of.tell(100, nil)
		}
		part, err := b.of.x.client.content()
		for err != nil && isTimeout(err) && b.of.hasBegun() {
			part, err = b.of.x.client.content() // idle is only who is so in both directions, and the answer has a limit of its own
		}
		if err != nil {
			return 0, b.end(err)
		}
		b.of.x.send.moves()
		if b.sent += int64(len(part)); b.of.x.send.most > 0 && b.sent > b.of.x.send.most {
			return 0, b.end(errTooMuch)
		}
		b.rest = part
	}
	n = copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// end notes how the content ended.
func (b *body2) end(err error) error {
	b.state.Lock()
	defer b.state.Unlock()
	if err != io.EOF {
		if !b.over { // else we have ended it ourselves
			b.fault = err
		}
		return err
	}
	b.eof = true
	for _, f := range trailing(b.of.x.client.trailers()) {
		if _, announced := b.request.Trailer[http.CanonicalHeaderKey(f.Name)]; announced {
			name := http.CanonicalHeaderKey(strings.Clone(f.Name))
			b.request.Trailer[name] = append(b.request.Trailer[name], strings.Clone(f.Value))
		}
	}
	b.of.ended()
	return io.EOF
}

// Close implements io.Closer. The server takes no more of the content, or has gone: a read that is under way ends, for the library waits for that
// before it says so. What nobody has begun to read may yet be wanted, on another connection.
func (b *body2) Close() error {
	b.state.Lock()
	defer b.state.Unlock()
	if b.begun {
		b.halt()
	}
	return nil
}

// halt ends reading. The state is locked, so that the exchange does not end before.
func (b *body2) halt() {
	if b.begun && !b.eof && !b.over {
		b.of.x.client.interrupt()
	}
	b.over = true
}

// begin tells whether there is to be read at all.
func (b *body2) begin() bool {
	b.state.Lock()
	defer b.state.Unlock()
	b.begun = b.begun || !b.over
	return !b.over
}

// stop returns when nobody reads the client any more. Content that nobody has begun to read is left for another server.
func (b *body2) stop() {
	b.state.Lock()
	b.halt()
	b.state.Unlock()
	b.mu.Lock()
	b.rest = nil
	b.mu.Unlock()
}

func (b *body2) finished() bool {
	b.state.Lock()
	defer b.state.Unlock()
	return b.eof
}

func (b *body2) wrong() error {
	b.state.Lock()
	defer b.state.Unlock()
	return b.fault
}
