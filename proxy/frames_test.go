package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frames is a client that speaks HTTP/2 frame by frame, over TLS.
type frames struct {
	*http2.Framer
	t            *testing.T
	conn         *tls.Conn
	encoder      *hpack.Encoder
	block        bytes.Buffer
	window       int // what may be sent on the connection, and on its first stream
	streamWindow int
	protocols    bool // the server takes extended CONNECT (RFC 8441 §3)
}

func newFrames(t *testing.T, at string, settings ...http2.Setting) *frames {
	t.Helper()
	conn, err := tls.Dial("tcp", at, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, http2.ClientPreface)
	c := &frames{Framer: http2.NewFramer(conn, conn), t: t, conn: conn, window: 65535, streamWindow: 65535}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	c.WriteSettings(settings...)
	for {
		if f, ok := c.read().(*http2.SettingsFrame); ok && !f.IsAck() {
			return c
		}
	}
}

// open begins a stream with fields in pairs of name and value.
func (c *frames) open(id uint32, end bool, fields ...string) {
	c.t.Helper()
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	if err := c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true}); err != nil {
		c.t.Fatal(err)
	}
}

// data sends content, which the windows must have room for.
func (c *frames) data(id uint32, text string, end bool) {
	c.t.Helper()
	if err := c.WriteData(id, end, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
	c.window -= len(text)
	c.streamWindow -= len(text)
}

// read returns the next frame, and does what settings and windows want.
func (c *frames) read() http2.Frame {
	c.t.Helper()
	f, err := c.ReadFrame()
	if err != nil {
		c.t.Fatal(err)
	}
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			break
		}
		if n, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.streamWindow += int(n) - 65535
		}
		n, _ := f.Value(http2.SettingEnableConnectProtocol)
		c.protocols = n == 1
		c.WriteSettingsAck()
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int(f.Increment)
		} else {
			c.streamWindow += int(f.Increment)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.WritePing(true, f.Data)
		}
	}
	return f
}

// head returns the fields of the next head on a stream.
func (c *frames) head(id uint32) map[string]string {
	c.t.Helper()
	for {
		switch f := c.read().(type) {
		case *http2.MetaHeadersFrame:
			if f.StreamID != id {
				continue
			}
			fields := map[string]string{}
			for _, h := range f.Fields {
				fields[h.Name] = h.Value
			}
			return fields
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				c.t.Fatalf("stream %d was reset: %v", f.StreamID, f.ErrCode)
			}
		case *http2.GoAwayFrame:
			c.t.Fatalf("GOAWAY: %v %s", f.ErrCode, f.DebugData())
		}
	}
}

// content returns what comes on a stream up to its end, and whether that is one.
func (c *frames) content(id uint32) (text string, whole bool) {
	c.t.Helper()
	var b bytes.Buffer
	for {
		switch f := c.read().(type) {
		case *http2.DataFrame:
			if f.StreamID != id {
				continue
			}
			b.Write(f.Data())
			if n := uint32(len(f.Data())); n > 0 {
				c.WriteWindowUpdate(0, n)
				c.WriteWindowUpdate(id, n)
			}
			if f.StreamEnded() {
				return b.String(), true
			}
		case *http2.MetaHeadersFrame:
			if f.StreamID == id && f.StreamEnded() {
				return b.String(), true
			}
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return b.String(), false
			}
		}
	}
}
