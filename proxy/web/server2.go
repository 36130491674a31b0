package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/upstream"
	"tripod/proxy/web/message"
)

// transport2 is the connections to a server that speaks HTTP/2. Few services do, and for those the library is fast enough.
type transport2 struct {
	http2.Transport
	protocol upstream.Protocol
	tls      *upstream.TLSConfig
}

// second returns the HTTP/2 connections to the server, new ones if the document says now that it is to be spoken to differently.
func (p *serverPool) second(r *route) *transport2 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t := p.h2; t != nil && t.protocol == r.protocol && sameTLS(t.tls, r.tls) {
		return t
	}
	if p.h2 != nil {
		p.h2.CloseIdleConnections()
	}
	p.h2 = newTransport2(p.engine, p.address, r)
	return p.h2
}

func sameTLS(a, b *upstream.TLSConfig) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func newTransport2(e *Engine, address string, r *route) *transport2 {
	t := &transport2{protocol: r.protocol, tls: r.tls}
	dialer := net.Dialer{Timeout: r.connect(e)}
	t.Transport = http2.Transport{
		AllowHTTP: true, DisableCompression: true, IdleConnTimeout: keepIdle, MaxHeaderListSize: maxAnswer,
		ReadIdleTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: time.Minute,
		TLSClientConfig: r.tls.Client(address),
		DialTLSContext: func(ctx context.Context, _, _ string, c *tls.Config) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, &dialError{err}
			}
			if r.protocol == upstream.H2C {
				return conn, nil
			}
			secure, err := handshake2(ctx, conn, c, dialer.Timeout)
			if err != nil {
				conn.Close()
				return nil, &dialError{err}
			}
			return secure, nil
		},
	}
	return t
}

// connect is how long a connection to a server may take.
func (r *route) connect(e *Engine) time.Duration {
	if r.limits != nil {
		return r.limits.connect
	}
	return e.limits.connect
}

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
func (x *exchange) try2(p *serverPool, cookie string) error {
	ctx, cancel := context.WithCancel(x.front.life)
	defer cancel()
	if !x.link.attach(canceller(cancel)) {
		return errGone
	}
	defer x.link.detach()
	x.client.waiting(true)
	defer x.client.waiting(false)
	c := &conversation2{x: x, cancel: cancel}
	out, err := c.request(ctx)
	if err != nil {
		return err
	}
	defer c.end()
	if out.Body == nil {
		c.ended()
	}
	res, err := p.second(x.route).RoundTrip(out)
	late := c.answered()
	if err != nil {
		switch {
		case late:
			return fmt.Errorf("await answer: %w", context.DeadlineExceeded)
		case x.link.isGone():
			return errGone
		case c.wrong() != nil:
			x.send.started, x.send.fault = true, c.wrong()
			return errFault
		}
		return err
	}
	defer res.Body.Close()
	x.client.waiting(false)
	c.answer(res, cookie)
	return nil
}

// conversation2 is one request to a server over HTTP/2.
type conversation2 struct {
	x      *exchange
	cancel context.CancelFunc
	body   *body2
	timer  *time.Timer  // from the request's end to the answer's beginning
	state  atomic.Int32 // 1: the answer has begun, 2: it did not in time
}

// ended notes that the request has ended: from now on the answer is waited for.
func (c *conversation2) ended() {
	if limit := c.x.limits.firstByte; limit > 0 && c.state.Load() == 0 {
		c.timer = time.AfterFunc(limit, func() {
			if c.state.CompareAndSwap(0, 2) {
				c.cancel()
			}
		})
	}
}

// answered notes that the answer has begun, or failed. It tells whether it did not come in time.
func (c *conversation2) answered() (late bool) { return !c.state.CompareAndSwap(0, 1) }

// end waits until nobody reads the client any more.
func (c *conversation2) end() {
	c.cancel()
	if c.body != nil {
		c.x.client.interrupt()
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
	path, query := splitTarget(x.sendTarget())
	u := &url.URL{Scheme: "http", Host: x.server.Address(), RawQuery: query, ForceQuery: query == "" && len(path) < len(x.sendTarget())}
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
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: c.inform})
	out := (&http.Request{Method: x.req.Method, URL: u, Host: x.sendHost(), Header: header, ContentLength: x.req.Length}).WithContext(ctx)
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
func (c *conversation2) inform(code int, header textproto.MIMEHeader) error {
	x := c.x
	if x.infos++; x.infos > maxInfos {
		return errors.New("too many informational answers")
	}
	if code == 100 || x.req.Major == 1 && x.req.Minor == 0 {
		return nil
	}
	return x.client.inform(code, fieldsOf(nil, http.Header(header)))
}

// answer passes the server's answer on.
func (c *conversation2) answer(res *http.Response, cookie string) {
	x := c.x
	x.res.Reset()
	x.res.Status, x.res.Length = res.StatusCode, res.ContentLength
	x.res.Fields = fieldsOf(x.res.Fields, res.Header)
	if names := slices.Sorted(keys(res.Trailer)); len(names) > 0 {
		x.res.Fields = append(x.res.Fields, message.Field{Name: "Trailer", Value: strings.Join(names, ", "), Kind: message.Trailer})
	}
	content := message.HasContent(x.req.Method, res.StatusCode)
	if c.body != nil && !c.body.finished() {
		x.client.last()
	}
	err := x.answerHead(cookie, content)
	if err == nil {
		err = x.client.flush()
	}
	if err == nil && content {
		err = c.pass(res.Body)
	}
	if err == nil {
		err = x.endAnswer(trailing(fieldsOf(nil, res.Trailer)))
	}
	if err != nil {
		x.broken(err)
	}
}

// pass carries the content, each part as it comes.
func (c *conversation2) pass(body io.Reader) error {
	x := c.x
	b := x.engine.buffers.get()
	defer x.engine.buffers.put(b)
	idle := time.AfterFunc(time.Hour, c.cancel)
	defer idle.Stop()
	for {
		if x.limits.stall > 0 {
			idle.Reset(x.limits.stall)
		} else {
			idle.Stop()
		}
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
	for _, name := range slices.Sorted(keys(h)) {
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

func keys(h http.Header) func(func(string) bool) {
	return func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}
}
