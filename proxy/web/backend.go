package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"tripod/proxy/upstream"
)

const (
	keepIdle     = 60 * time.Second // for an idle connection to a server
	maxIdle      = 1024             // of them
	maxAnswer    = 256 << 10        // bytes of an answer's head
	continueWait = time.Second
)

// backend is the engine's connections to one server.
type backend struct {
	transport http.Transport
	gone      atomic.Bool
}

// backend returns the connections to a server.
func (e *Engine) backend(s *upstream.Server) *backend {
	return s.Pool(e.newBackend).(*backend)
}

func (e *Engine) newBackend(s *upstream.Server) io.Closer {
	dialer := net.Dialer{Timeout: e.opts.Timeouts.Connect}
	address := s.Address()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &backend{transport: http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, "tcp", address)
			if err != nil {
				return nil, &dialError{err}
			}
			return c, nil
		},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        keepIdle,
		ResponseHeaderTimeout:  e.opts.Timeouts.Answer,
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: maxAnswer,
	}}
}

// Close closes what is idle, and what becomes idle later.
func (b *backend) Close() error {
	b.gone.Store(true)
	b.transport.CloseIdleConnections()
	return nil
}

// done is called after each request.
func (b *backend) done() {
	if b.gone.Load() {
		b.transport.CloseIdleConnections()
	}
}

// dialError is the failure to connect: nothing of the request was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }
