package health

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Probe asks the target once.
func (c *Config) Probe(ctx context.Context, t Target) (Verdict, error) {
	if !t.HTTP2 {
		return Verdict{}, probe(ctx, t.Address, c)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := t.probe2(ctx, t.Address, c); err != nil {
		if ctx.Err() != nil { // whatever else became of it meanwhile
			err = ctx.Err()
		}
		return Verdict{}, probeError(err, c)
	}
	return Verdict{}, nil
}

// probe2 asks in HTTP/2, on a connection of its own as probe does.
func (t Target) probe2(ctx context.Context, address string, h *Config) error {
	transport := http.Transport{
		Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return t.dial(ctx, address) },
	}
	transport.Protocols.SetHTTP2(t.TLS != nil)
	transport.Protocols.SetUnencryptedHTTP2(t.TLS == nil)
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(t.request(ctx, address, h))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	}
	io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // so that the server sees an orderly end
	return nil
}

// dial connects, and agrees on TLS and HTTP/2.
func (t Target) dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, t.TLS)
	if err = secure.HandshakeContext(ctx); err != nil {
		err = fmt.Errorf("TLS: %w", err)
	} else if secure.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("does not speak HTTP/2")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// request is what probe says, in HTTP/2. The path is said as it stands in the document.
func (t Target) request(ctx context.Context, address string, h *Config) *http.Request {
	path, query, _ := strings.Cut(h.Path, "?")
	u := &url.URL{Scheme: "https", Host: address, Opaque: path, RawQuery: query}
	if t.TLS == nil {
		u.Scheme = "http"
	}
	r := &http.Request{Method: "GET", URL: u, Host: h.Host, Header: http.Header{"User-Agent": {"tripod"}, "Accept": {"*/*"}}}
	return r.WithContext(ctx)
}
