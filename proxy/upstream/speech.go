package upstream

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

// speech is what a service's servers speak, and so what they are asked in.
type speech struct {
	protocol Protocol
	tls      TLSConfig // of H2
}

func speechOf(c Config) speech {
	s := speech{protocol: c.Protocol}
	if c.TLS != nil {
		s.tls = *c.TLS
	}
	return s
}

// probe asks the server once.
func (s speech) probe(ctx context.Context, address string, h HealthConfig) error {
	if s.protocol != H2 && s.protocol != H2C {
		return probe(ctx, address, h)
	}
	ctx, cancel := context.WithTimeout(ctx, h.Timeout)
	defer cancel()
	if err := s.probe2(ctx, address, h); err != nil {
		if ctx.Err() != nil { // whatever else became of it meanwhile
			err = ctx.Err()
		}
		return probeError(err, h)
	}
	return nil
}

// probe2 asks in HTTP/2, on a connection of its own as probe does.
func (s speech) probe2(ctx context.Context, address string, h HealthConfig) error {
	transport := http.Transport{
		Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
		DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return s.dial(ctx, address) },
	}
	transport.Protocols.SetHTTP2(s.protocol == H2)
	transport.Protocols.SetUnencryptedHTTP2(s.protocol == H2C)
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(s.request(ctx, address, h))
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
func (s speech) dial(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	t := tls.Client(conn, s.tls.Client(address))
	if err = t.HandshakeContext(ctx); err != nil {
		err = fmt.Errorf("TLS: %w", err)
	} else if t.ConnectionState().NegotiatedProtocol != "h2" {
		err = errors.New("does not speak HTTP/2")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// request is what probe says, in HTTP/2. The path is said as it stands in the document.
func (s speech) request(ctx context.Context, address string, h HealthConfig) *http.Request {
	path, query, _ := strings.Cut(h.Path, "?")
	u := &url.URL{Scheme: "https", Host: address, Opaque: path, RawQuery: query}
	if s.protocol == H2C {
		u.Scheme = "http"
	}
	r := &http.Request{Method: "GET", URL: u, Host: h.Host, Header: http.Header{"User-Agent": {"tripod"}, "Accept": {"*/*"}}}
	return r.WithContext(ctx)
}
