//go:build linux

// Package client is one that costs little: requests are written ready made, and of the answers only that is looked
// at what proves them right. It measures how many requests a proxy answers and how long each takes, while its caller
// looks at what the proxy spends.
//
// [HTTP1], [HTTP2] and [Handshakes] take a [Plan] and return a [Result]. The first answer that is not as it should be
// ends a run with an error.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Target is what is asked for, and what has to be answered.
type Target struct {
	// Address is the proxy's host:port.
	Address string
	// Certificate is the one that the proxy has to show, as DER; nil is for a proxy without TLS.
	Certificate []byte
	// Hosts are the names that requests are for: all those of a connection for the same one, in turn.
	Hosts []string
	// Path of the requests.
	Path string
	// Body is that of each answer.
	Body []byte
}

// Plan is one run.
type Plan struct {
	Target
	// Connections are open at a time.
	Connections int
	// Streams are open at a time on each connection, with HTTP/2.
	Streams int
	// Rate is how many requests a second are sent, whether those before were answered or not, in HTTP/1.1 without
	// TLS; zero sends each as soon as the one before it was answered.
	Rate float64
	// Warm is how long the load lasts before what counts, and For how long that is.
	Warm, For time.Duration
	// Mark is called when that begins and when it ends; nil is nothing.
	Mark func()
}

// Result is what came of a run.
type Result struct {
	// Requests were answered within Took.
	Requests int64
	Took     time.Duration
	// Latency is from the moment a request was to be sent to the end of its answer.
	Latency Histogram
}

// patience is how long a run may go on after its end, and how long a proxy may say nothing.
const patience = 10 * time.Second

// ErrSilent means that a proxy did not answer in time.
var ErrSilent = errors.New("no answer for " + patience.String())

// Phases of a run.
const (
	warming = iota
	counting
	over
)

// run is a run that goes on.
type run struct {
	*Plan
	phase  atomic.Int32
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	result Result
}

// worker sends requests until the phase is over, and counts those that end while it is counting.
type worker func(ctx context.Context, number int, mine *Histogram) error

// do runs so many workers through the phases.
func (p *Plan) do(ctx context.Context, workers int, work func(*run) worker) (Result, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := &run{Plan: p, cancel: cancel}
	f := work(r)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { r.one(ctx, f, i) })
	}
	r.pass(ctx)
	all.Wait()
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	return r.result, nil
}

func (r *run) one(ctx context.Context, f worker, number int) {
	var mine Histogram
	if err := f(ctx, number, &mine); err != nil {
		r.cancel(err)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Latency.Merge(&mine)
	r.result.Requests += mine.Count()
}

// pass goes through the phases.
func (r *run) pass(ctx context.Context) {
	defer r.phase.Store(over)
	if !wait(ctx, r.Warm) {
		return
	}
	r.mark()
	began := time.Now()
	r.phase.Store(counting)
	if !wait(ctx, r.For) {
		return
	}
	r.mark()
	took := time.Since(began)
	r.phase.Store(over)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Took = took
}

func (r *run) mark() {
	if r.Mark != nil {
		r.Mark()
	}
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// late is when the run has to be over.
func (r *run) late() time.Time { return time.Now().Add(r.Warm + r.For + patience) }

// request is what a connection sends in HTTP/1.1, ready made.
func (t *Target) request(number int) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", t.Path, t.Hosts[number%len(t.Hosts)])
}

// dial opens a connection, which is closed when the context ends or by the function that it returns.
func (t *Target) dial(ctx context.Context, number int, protocol string) (net.Conn, func(), error) {
	plain, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { plain.Close() })
	hangUp := func(c net.Conn) func() { return func() { stop(); c.Close() } }
	if t.Certificate == nil {
		return plain, hangUp(plain), nil
	}
	secure := tls.Client(plain, t.config(number, protocol))
	if err := secure.HandshakeContext(ctx); err != nil {
		hangUp(plain)()
		return nil, nil, fmt.Errorf("handshake with %s: %w", t.Address, err)
	}
	return secure, hangUp(secure), nil
}

// noSessions makes a client ask for session tickets, as browsers do, and use none.
type noSessions struct{}

var _ tls.ClientSessionCache = noSessions{}

func (noSessions) Get(string) (*tls.ClientSessionState, bool) { return nil, false }
func (noSessions) Put(string, *tls.ClientSessionState)        {}

// config has no choice, so that all proxies do the same work: TLS 1.3, X25519, no resumption. That the certificate is
// the right one is checked by comparing, which is cheaper than to verify it.
func (t *Target) config(number int, protocol string) *tls.Config {
	return &tls.Config{
		ServerName: t.Hosts[number%len(t.Hosts)], NextProtos: []string{protocol}, InsecureSkipVerify: true,
		MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}, ClientSessionCache: noSessions{},
		VerifyConnection: func(s tls.ConnectionState) error { return t.verify(s, protocol) },
	}
}

func (t *Target) verify(s tls.ConnectionState, protocol string) error {
	if s.DidResume || s.CipherSuite != tls.TLS_AES_128_GCM_SHA256 {
		return fmt.Errorf("want a full handshake and TLS_AES_128_GCM_SHA256, have %s", tls.CipherSuiteName(s.CipherSuite))
	}
	if s.NegotiatedProtocol != protocol {
		return fmt.Errorf("protocol %q, want %q", s.NegotiatedProtocol, protocol)
	}
	if !bytes.Equal(s.PeerCertificates[0].Raw, t.Certificate) {
		return fmt.Errorf("another certificate than the one given: %s", subject(s.PeerCertificates[0]))
	}
	return nil
}

func subject(c *x509.Certificate) string { return fmt.Sprintf("%s of %s", c.DNSNames, c.Issuer) }
