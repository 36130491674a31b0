package health

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// askHTTP2 sends a request in HTTP/2. The path is said as it stands in the document.
func (p *Probe) askHTTP2(ctx context.Context, t Target) error {
	path, query, _ := strings.Cut(p.config.Path, "?")
	r := &http.Request{Method: p.config.Method, URL: &url.URL{Opaque: path, RawQuery: query}, Host: t.host(p.config.Host), Header: http.Header{"Accept": {"*/*"}}}
	return t.exchange2(ctx, r, p.judge)
}

// exchange2 sends a request on a connection of its own, and gives the answer to read before it closes that, with whatever has not ended on it. What the server
// refuses is not asked again.
func (t Target) exchange2(ctx context.Context, r *http.Request, read func(*http.Response) error) error {
	conn, l, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer l.end()
	dialed := func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	transport := &http.Transport{
		Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: maxHead, DialContext: dialed, DialTLSContext: dialed,
		// What a server may send before somebody reads it; the default is megabytes.
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: maxFraming, MaxReceiveBufferPerStream: maxFraming},
	}
	transport.Protocols.SetHTTP2(t.TLS != nil)
	transport.Protocols.SetUnencryptedHTTP2(t.TLS == nil)
	r.URL.Scheme, r.URL.Host = "https", t.Address
	if t.TLS == nil {
		r.URL.Scheme = "http"
	}
	client, err := transport.NewClientConn(ctx, r.URL.Scheme, t.Address)
	if err != nil {
		return l.cause(err)
	}
	defer client.Close()
	r.Header.Set("User-Agent", "tripod")
	res, err := client.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return l.cause(err)
	}
	defer res.Body.Close()
	return read(res)
}

// readAll reads a short content whole.
func readAll(content io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(content, most+1))
	if err == nil && int64(len(text)) > most {
		err = plainf("answered with more than %d bytes", most)
	}
	return text, err
}
