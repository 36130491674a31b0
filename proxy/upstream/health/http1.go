package health

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
)

const (
	// maxHead bounds what is read of an answer before its content, in bytes.
	maxHead = 64 << 10
	// maxContent bounds what is looked at of the content.
	maxContent = 64 << 10
	// maxFraming bounds what is read of a connection for that content, which may come in very small chunks.
	maxFraming = 4 * maxContent
)

// askHTTP1 sends a request in HTTP/1.1. The path is said as it stands in the document.
func (p *Probe) askHTTP1(ctx context.Context, t Target) error {
	conn, l, err := t.dial(ctx)
	if err != nil {
		return err
	}
	defer l.end()
	length := ""
	if contentIsExpected(p.config.Method) {
		length = "Content-Length: 0\r\n"
	}
	_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: tripod\r\nAccept: */*\r\n%sConnection: close\r\n\r\n",
		p.config.Method, p.config.Path, t.host(p.config.Host), length)
	if err != nil {
		return err
	}
	return p.read(conn)
}

// read reads an answer in HTTP/1.1, after those that are only interim, and looks at it.
func (p *Probe) read(conn io.Reader) error {
	watched := &faultReader{from: conn}
	limited := &io.LimitedReader{R: watched, N: maxHead}
	answer := bufio.NewReader(limited)
	for {
		res, err := http.ReadResponse(answer, &http.Request{Method: p.config.Method})
		if err != nil {
			if limited.N == 0 {
				return plainf("the answer's head is longer than %d KiB", maxHead>>10)
			}
			return cmp.Or(watched.err, err)
		}
		if res.ProtoMajor != 1 {
			return plainf("answered in %s, which is no version of HTTP/1", printable(res.Proto, 20))
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			limited.N = maxFraming
			return p.judge(res)
		}
	}
}

// contentIsExpected tells whether a request of that method has to say that it has no content (RFC 9110 §8.6).
func contentIsExpected(method string) bool {
	return !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "DELETE", "TRACE"}, method)
}

// judge looks at an answer, and at as much of its content as that takes.
func (p *Probe) judge(res *http.Response) error {
	if !p.status.has(res.StatusCode) {
		return answered(res.StatusCode)
	}
	content := io.LimitReader(res.Body, maxContent)
	if p.body == nil {
		// Read what there is, so that the server sees an orderly end.
		io.Copy(io.Discard, content)
		return nil
	}
	// The whole of it, for an expression may be about its end.
	text, err := io.ReadAll(content)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return plainError("the answer breaks off")
	case err != nil:
		return err
	case !p.body.Match(text):
		return plainf("the answer does not match %s", printable(p.config.Body, 100))
	}
	return nil
}

// faultReader keeps the first error other than io.EOF: who reads lines of it does not always tell which it was.
type faultReader struct {
	from io.Reader
	err  error
}

// Read implements io.Reader.
func (r *faultReader) Read(b []byte) (int, error) {
	n, err := r.from.Read(b)
	if err != nil && err != io.EOF && r.err == nil {
		r.err = err
	}
	return n, err
}
