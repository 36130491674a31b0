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

// exchange2 sends a request on a connection of its own, and gives the answer to read before it closes that: at once and whole, for a connection with a
// stream that has not ended would be kept otherwise.
func (t Target) exchange2(ctx context.Context, r *http.Request, read func(*http.Response) error) error {
	conn, end, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer end()
	once := make(chan net.Conn, 1)
	once <- conn
	dial := func(context.Context, string, string) (net.Conn, error) {
		select {
		case c := <-once:
			return c, nil
		default:
			return nil, plainError("refused the request") // which would be sent again on another connection
		}
	}
	transport := &http.Transport{
		Protocols: new(http.Protocols), DisableCompression: true, MaxResponseHeaderBytes: maxHead, DialContext: dial, DialTLSContext: dial,
	}
	transport.Protocols.SetHTTP2(t.TLS != nil)
	transport.Protocols.SetUnencryptedHTTP2(t.TLS == nil)
	defer transport.CloseIdleConnections()
	r.URL.Scheme, r.URL.Host = "https", t.Address
	if t.TLS == nil {
		r.URL.Scheme = "http"
	}
	r.Header.Set("User-Agent", "tripod")
	res, err := transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return err
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
