package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tripod/proxy/web/h2"
)

// raw is a client that sends what it is told to, frame by frame.
type raw struct {
	*http2.Framer
	t   testing.TB
	nc  net.Conn
	enc *hpack.Encoder
	buf bytes.Buffer
}

func dial(t testing.TB, s *server) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	c := &raw{Framer: http2.NewFramer(nc, nc), t: t, nc: nc}
	c.AllowIllegalWrites = true
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.buf)
	return c
}

// connect is dial with the preface and settings.
func connect(t testing.TB, s *server, settings ...http2.Setting) *raw {
	t.Helper()
	c := dial(t, s)
	if _, err := io.WriteString(c.nc, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	c.ok(c.WriteSettings(settings...))
	return c
}

func (c *raw) ok(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// block encodes a field section, from lines "name: value".
func (c *raw) block(lines ...string) []byte {
	c.buf.Reset()
	for _, line := range lines {
		i := strings.Index(line[1:], ":") + 1
		_ = c.enc.WriteField(hpack.HeaderField{Name: line[:i], Value: strings.TrimPrefix(line[i+1:], " ")})
	}
	return bytes.Clone(c.buf.Bytes())
}

var get = []string{":method: GET", ":scheme: http", ":path: /", ":authority: h2.test"}
var post = append([]string{":method: POST"}, get[1:]...)

func with(lines []string, more ...string) []string {
	return append(append([]string(nil), lines...), more...)
}

// headers sends a whole field section.
func (c *raw) headers(id uint32, end bool, lines ...string) error {
	return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(lines...), EndStream: end, EndHeaders: true})
}

// next returns the next frame that is not about settings and windows.
func (c *raw) next() http2.Frame {
	c.t.Helper()
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatalf("read: %v", err)
		}
		switch f.(type) {
		case *http2.SettingsFrame, *http2.WindowUpdateFrame:
			continue
		}
		return f
	}
}

func (c *raw) read() (http2.Frame, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	return c.ReadFrame()
}

// wantStatus reads an answer's head.
func (c *raw) wantStatus(id uint32, status string) *http2.MetaHeadersFrame {
	c.t.Helper()
	f := c.next()
	h, ok := f.(*http2.MetaHeadersFrame)
	if !ok || h.StreamID != id || h.PseudoValue("status") != status {
		c.t.Fatalf("got %v, not status %s on stream %d", f, status, id)
	}
	return h
}

func (c *raw) wantData(id uint32, want string, end bool) {
	c.t.Helper()
	f := c.next()
	d, ok := f.(*http2.DataFrame)
	if !ok || d.StreamID != id || string(d.Data()) != want || d.StreamEnded() != end {
		c.t.Fatalf("got %v, not %d octets on stream %d, end %v", f, len(want), id, end)
	}
}

func (c *raw) wantReset(id uint32, code http2.ErrCode) {
	c.t.Helper()
	f := c.next()
	r, ok := f.(*http2.RSTStreamFrame)
	if !ok || r.StreamID != id || r.ErrCode != code {
		c.t.Fatalf("got %v, not a reset of %d with %v", f, id, code)
	}
}

// wantAway reads up to the GOAWAY, and the end of the connection.
func (c *raw) wantAway(code http2.ErrCode) {
	c.t.Helper()
	var away *http2.GoAwayFrame
	for {
		f, err := c.read()
		if err != nil {
			if away == nil {
				c.t.Fatalf("no GOAWAY: %v", err)
			}
			_ = c.nc.Close()
			return
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			if g.ErrCode != code {
				c.t.Fatalf("GOAWAY with %v (%q), not %v", g.ErrCode, g.DebugData(), code)
			}
			away = g
		}
	}
}

// wantPong shows that the connection still works, and that all before was handled.
func (c *raw) wantPong() {
	c.t.Helper()
	c.ok(c.WritePing(false, [8]byte{1, 2, 3}))
	for {
		f := c.next()
		if p, ok := f.(*http2.PingFrame); ok {
			if !p.IsAck() || p.Data != [8]byte{1, 2, 3} {
				c.t.Fatalf("got %v", p)
			}
			return
		}
	}
}

// wantCode is what Serve has to return for a connection that was ended.
func wantCode(t testing.TB, err error, code http2.ErrCode) {
	t.Helper()
	var broken *h2.ConnError
	if !errors.As(err, &broken) || broken.Code != code {
		t.Fatalf("the connection ended with %v, not %v", err, code)
	}
}
