package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/upstream"
	"tripod/proxy/web/message"
)

// Package http has taken this transport over, but makes a connection for each of the requests that come before the first is there.
//lint:file-ignore SA1019 see above

// transport2 is the connections to a server that speaks HTTP/2. Few services do, and for those the library is fast enough.
type transport2 struct {
	http2.Transport
	protocol upstream.Protocol
	name     string // the server's, as the document has it
	tls      *upstream.TLSConfig
}

// second returns the HTTP/2 connections to the server, new ones if the document says now that it is to be spoken to differently.
func (p *serverPool) second(r *route, name string) *transport2 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.h2; t != nil && t.protocol == r.protocol && t.name == name && sameTLS(t.tls, r.tls) {
		return t
	}
	if p.h2 != nil {
		p.h2.leave()
	}
	p.h2 = newTransport2(p.address, name, r)
	return p.h2
}

// leave closes the connections that idle, and again in a moment: the library is late to see that a request has ended.
func (t *transport2) leave() {
	t.CloseIdleConnections()
	time.AfterFunc(time.Second, t.CloseIdleConnections)
}

func sameTLS(a, b *upstream.TLSConfig) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func newTransport2(address, name string, r *route) *transport2 {
	t := &transport2{protocol: r.protocol, name: name, tls: r.tls}
	t.Transport = http2.Transport{
		AllowHTTP: true, DisableCompression: true, IdleConnTimeout: keepIdle, MaxHeaderListSize: maxAnswer,
		ReadIdleTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: time.Minute,
		TLSClientConfig: r.tls.Client(name),
		DialTLSContext: func(ctx context.Context, _, _ string, c *tls.Config) (net.Conn, error) {
			limit, _ := ctx.Value(connectLimit{}).(time.Duration)
			dialer := net.Dialer{Timeout: limit}
			conn, err := dialer.DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, &dialError{err}
			}
			if r.protocol == upstream.H2C {
				return conn, nil
			}
			secure, err := handshake2(ctx, conn, c, limit)
			if err != nil {
				conn.Close()
				return nil, &dialError{err}
			}
			return secure, nil
		},
	}
	return t
}

// connectLimit is the key of how long a connection may take, in the context of the request that makes it.
type connectLimit struct{}

// handshake2 agrees on TLS and HTTP/2.
func handshake2(ctx context.Context, c net.Conn, config *tls.Config, limit time.Duration) (net.Conn, error) {
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	t := tls.Client(c, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with the server: %w", err)
	}
	if t.ConnectionState().NegotiatedProtocol != "h2" {
		return nil, errors.New("the server does not speak HTTP/2")
	}
	return t, nil
}

// canceller ends a request to a server when its deadlines are set to the past, as those of a connection are.
type canceller context.CancelFunc

// SetDeadline implements interrupter.
func (c canceller) SetDeadline(time.Time) error {
	c()
	return nil
}

// try2 sends the request to a server that speaks HTTP/2, and passes its answer on.
func (x *exchange) try2(p *serverPool) error {
	ctx, cancel := context.WithCancel(x.front.life)
	defer cancel()
	if !x.link.attach(canceller(cancel)) {
		return errGone
	}
	defer x.link.detach()
	x.client.waiting(true)
	defer x.client.waiting(false)
	c := &conversation2{
		x: x, cancel: cancel, engine: x.engine, peer: x.peer, old: x.req.Major == 1 && x.req.Minor == 0,
		limit: x.answerLimit(), server: x.server, movable: x.elsewhere(),
	}
	out, err := c.request(ctx)
	if err != nil {
		return err
	}
	defer c.end()
	if out.Body == nil {
		c.ended()
	}
	x.askedAt = x.now
	res, err := p.second(x.route, x.server.Name()).RoundTrip(out)
	late := c.answered()
	if c.body != nil && x.send.content == streamContent && c.body.finished() {
		x.send.started, x.send.read = true, true
	}
	if err == nil && late != nil { // which has cancelled it
		res.Body.Close()
		return late
	}
	if err != nil {
		switch {
		case late != nil:
			return late
		case x.link.isGone():
			return errGone
		case c.wrong() != nil:
			x.send.started, x.send.fault = true, c.wrong()
			return errFault
		case x.cancelled(err):
			return nil
		}
		return err
	}
	defer res.Body.Close()
	x.answered()
	x.res.Status, x.res.Length = res.StatusCode, res.ContentLength
	if err := x.refuseAnswer(); err != nil {
		return err
	}
	content, end, err := c.hold(res)
	defer end()
	if err != nil {
		return err
	}
	if !x.mayAnswer() {
		return errGone
	}
	x.client.waiting(false)
	c.answer(res, content)
	return nil
}

// cancelled passes on that a server has cancelled a stream, as one that speaks gRPC does at the call's deadline: to a client that speaks HTTP/2
// too it means more than an answer of ours could say.
func (x *exchange) cancelled(err error) bool {
	if x.req.Major < 2 || !cancels(err) {
		return false
	}
	x.engine.log.LogAttrs(context.Background(), slog.LevelInfo, "server cancelled the request",
		slog.String("id", x.id), slog.String("service", x.route.service.Name()), slog.String("server", x.server.Address()))
	x.status, x.abort, x.second.code = 502, true, http2.ErrCodeCancel
	return true
}

// cancels tells whether an error is that a server has cancelled its stream.
func cancels(err error) bool {
	var reset http2.StreamError
	return errors.As(err, &reset) && reset.Code == http2.ErrCodeCancel
}

// conversation2 is one request to a server over HTTP/2.
type conversation2 struct {
	x      *exchange
	cancel context.CancelFunc
	body   *body2
	infos  int  // informational answers
	old    bool // the client knows none
	engine *Engine
	peer   string // these two for goroutines of the library's that may outlast the exchange

	limit   time.Duration    // from the request's end to the answer's beginning
	server  *upstream.Server // which is looked at meanwhile
	movable bool             // another server could be asked

	mu    sync.Mutex
	timer *time.Timer // for the next look
	until time.Time   // zero for no end
	begun bool        // the answer has begun, or failed: the exchange's own goroutine goes on alone
	late  bool        // it did not begin in time
	down  bool        // the server was found to be down
}

// ended notes that the request has ended: from now on the answer is waited for.
func (c *conversation2) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return
	}
	if c.limit > 0 {
		c.until = time.Now().Add(c.limit)
	}
	c.wait()
}

// wait sets the timer for the next look. c.mu is held.
func (c *conversation2) wait() {
	next := time.Until(c.until)
	if c.movable && (c.until.IsZero() || next > look) {
		next = look
	} else if c.until.IsZero() {
		return
	}
	c.timer = time.AfterFunc(next, c.expire)
}

// expire ends the waiting for an answer, if its time is over or the server is down.
func (c *conversation2) expire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.begun:
	case !c.until.IsZero() && !time.Now().Before(c.until):
		c.late = true
		c.cancel()
	case c.movable && c.server.Down():
		c.down = true
		c.cancel()
	default:
		c.wait()
	}
}

// answered notes that the answer has begun, or failed. It tells whether it did not come in time.
func (c *conversation2) answered() (late error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun = true
	if c.timer != nil {
		c.timer.Stop()
	}
	switch {
	case c.down:
		return errDown
	case c.late:
		return fmt.Errorf("await answer: %w", context.DeadlineExceeded)
	}
	return nil
}

// hasBegun tells whether the answer has begun.
func (c *conversation2) hasBegun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.begun
}

// tell sends the client an informational answer, from a goroutine of the library, unless it is too late for one.
func (c *conversation2) tell(status int, fields []message.Field) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.begun {
		return errGone
	}
	if status != 100 { // which asks for the content, and tells nothing
		c.x.infos++
		c.movable = false
	}
	return c.x.client.inform(status, fields)
}

// end waits until nobody reads the client any more.
func (c *conversation2) end() {
	c.cancel()
	if c.body != nil {
		c.body.stop()
	}
}

func (c *conversation2) wrong() error {
	if c.body == nil {
		return nil
	}
	return c.body.wrong()
}

// request makes the library's request of the client's.
func (c *conversation2) request(ctx context.Context) (*http.Request, error) {
	x := c.x
	// The library may go on with it for a moment after the exchange has ended, and its memory has become another's.
	target := strings.Clone(x.sendTarget())
	path, query := splitTarget(target)
	u := &url.URL{Scheme: "http", Host: x.server.Address(), RawQuery: query, ForceQuery: query == "" && len(path) < len(target)}
	if x.route.protocol == upstream.H2 {
		u.Scheme = "https"
	}
	if strings.HasPrefix(path, "//") { // would be taken for an authority
		u.Path, u.RawPath = routePath(path), path
	} else {
		u.Opaque = path
	}
	header := make(http.Header, len(x.req.Fields)+6)
	x.send.fields = x.appendFields(x.send.fields[:0])
	for _, f := range x.send.fields {
		name := textproto.CanonicalMIMEHeaderKey(strings.Clone(f.Name))
		header[name] = append(header[name], strings.Clone(f.Value))
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // or the library invents one
	}
	if x.req.Trailers {
		header["Te"] = []string{"trailers"}
	}
	ctx = context.WithValue(ctx, connectLimit{}, x.connectLimit())
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: c.inform})
	out := (&http.Request{
		Method: strings.Clone(x.req.Method), URL: u, Host: strings.Clone(x.sendHost()), Header: header, ContentLength: x.req.Length,
	}).WithContext(ctx)
	if x.connects() {
		return nil, errors.New("a WebSocket cannot be carried to a server that speaks HTTP/2")
	}
	if x.req.Length != 0 {
		c.body = newBody2(c)
		out.Body = c.body
		c.body.announce(out, header)
	}
	return out, nil
}

// inform passes an informational answer on. It runs in a goroutine of the library, before the final answer.
func (c *conversation2) inform(code int, header textproto.MIMEHeader) (err error) {
	defer c.engine.surviveCall(c.peer, &err)
	if c.infos++; c.infos > maxInfos {
		return errors.New("too many informational answers")
	}
	if code == 100 || c.old {
		return nil
	}
	fields := fieldsOf(nil, http.Header(header))
	return c.tell(code, slices.DeleteFunc(fields, func(f message.Field) bool { return f.Kind.HopByHop() }))
}

// answer passes the server's answer on.
func (c *conversation2) answer(res *http.Response, body io.Reader) {
	x := c.x
	x.res.Reset()
	content := message.HasContent(x.req.Method, res.StatusCode)
	x.res.Status, x.res.Length = res.StatusCode, res.ContentLength
	if _, told := res.Header["Content-Length"]; !told && !content {
		x.res.Length = message.Unknown // and not the zero that the library takes a head without content for
	}
	x.res.Fields = fieldsOf(x.res.Fields, res.Header)
	if names := slices.Sorted(maps.Keys(res.Trailer)); len(names) > 0 {
		x.res.Fields = append(x.res.Fields, message.Field{Name: "Trailer", Value: strings.Join(names, ", "), Kind: message.Trailer})
	}
	err := x.answerHead(content)
	if err == nil {
		err = x.client.flush()
	}
	if err == nil && content {
		err = c.pass(body)
	}
	if err == nil {
		err = x.endAnswer(trailing(fieldsOf(nil, res.Trailer)))
	}
	if err != nil {
		x.broken(err)
		return
	}
	x.server.Answered(x.status)
}

// pass carries the content, each part as it comes.
func (c *conversation2) pass(body io.Reader) error {
	x := c.x
	b := x.engine.buffers.get()
	defer x.engine.buffers.put(b)
	idle := newIdle(c.cancel, x.limits.stall, &x.send)
	defer idle.stop()
	for {
		idle.restart()
		n, err := body.Read(b.b)
		if n > 0 {
			if err := x.pass(b.b[:n]); err != nil {
				return err
			}
			if err := x.flushPassed(); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil && x.link.isGone():
			return &clientError{errGone}
		case err != nil:
			return err
		}
	}
}

// fieldsOf appends the fields of the library's header, by name.
func fieldsOf(fields []message.Field, h http.Header) []message.Field {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		kind := message.KindOf(name)
		if kind == message.ContentLength || kind == message.TransferEncoding {
			continue
		}
		for _, v := range h[name] {
			fields = append(fields, message.Field{Name: name, Value: v, Kind: kind})
		}
	}
	return fields
}
