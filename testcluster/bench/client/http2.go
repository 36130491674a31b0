//go:build linux

package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// wide is a window that no answer fills, for a connection and for each of its streams (RFC 9113 §6.9).
	wide = 1 << 30
	// startWindow is the window of a connection that nothing was said about (RFC 9113 §6.9.2).
	startWindow = 1<<16 - 1
)

// HTTP2 asks over HTTP/2 and TLS, with Streams requests at a time on each connection.
func HTTP2(ctx context.Context, p Plan) (Result, error) {
	return p.do(ctx, p.Connections, func(r *run) worker { return r.http2 })
}

func (r *run) http2(ctx context.Context, number int, mine *Histogram) error {
	c, hangUp, err := r.dial(ctx, number, "h2")
	if err != nil {
		return err
	}
	defer hangUp()
	if err := c.SetDeadline(r.late()); err != nil {
		return err
	}
	s := newSession(r, c, number, mine)
	if err := s.open(); err != nil {
		return err
	}
	for range r.Streams - 1 { // open has asked once
		if err := s.ask(); err != nil {
			return err
		}
	}
	for r.phase.Load() != over {
		// What was asked goes out at once when there is nothing more to read: many frames in one record.
		if s.in.Buffered() == 0 {
			if err := s.out.Flush(); err != nil {
				return fmt.Errorf("send requests: %w", err)
			}
		}
		if err := s.frame(); err != nil {
			return err
		}
	}
	return nil
}

// session is one connection of HTTP/2.
type session struct {
	*run
	mine    *Histogram
	in      *bufio.Reader
	out     *bufio.Writer
	framer  *http2.Framer
	host    string
	block   []byte // of a request's header, as it is once all its fields are in the proxy's table
	encoder *hpack.Encoder
	encoded bytes.Buffer
	decoder *hpack.Decoder
	status  string // of the answer whose header is being read
	length  string // its Content-Length, if it has one
	want    string // what that has to be
	next    uint32 // the number of the next stream
	streams map[uint32]*stream
	free    []*stream
	taken   int // of the connection's window
}

// stream is one request and its answer.
type stream struct {
	asked time.Time
	come  int // of the body
	head  bool
}

func newSession(r *run, c net.Conn, number int, mine *Histogram) *session {
	s := &session{run: r, mine: mine, in: bufio.NewReaderSize(c, 64<<10), out: bufio.NewWriterSize(c, 64<<10),
		host: r.Hosts[number%len(r.Hosts)], next: 1, want: strconv.Itoa(len(r.Body)), streams: map[uint32]*stream{}}
	s.framer = http2.NewFramer(s.out, s.in)
	s.framer.SetReuseFrames()
	s.encoder = hpack.NewEncoder(&s.encoded)
	s.decoder = hpack.NewDecoder(4096, s.header)
	return s
}

// header looks at one field of an answer's header.
func (s *session) header(f hpack.HeaderField) {
	switch f.Name {
	case ":status":
		s.status = f.Value
	case "content-length":
		s.length = f.Value
	}
}

func (s *session) open() error {
	if _, err := io.WriteString(s.out, http2.ClientPreface); err != nil {
		return err
	}
	return errors.Join(
		s.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: wide}),
		s.framer.WriteWindowUpdate(0, wide-startWindow),
		// The first request puts its fields into the proxy's table; those that follow name their places there.
		s.encode(),
		s.ask(),
		s.encode(),
	)
}

// encode makes the header block of the next request.
func (s *session) encode() error {
	s.encoded.Reset()
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"},
		{Name: ":authority", Value: s.host}, {Name: ":path", Value: s.Path}, {Name: "user-agent", Value: "bench"}, {Name: "accept", Value: "*/*"}} {
		if err := s.encoder.WriteField(f); err != nil {
			return fmt.Errorf("encode a header: %w", err)
		}
	}
	s.block = bytes.Clone(s.encoded.Bytes())
	return nil
}

// ask opens a stream.
func (s *session) ask() error {
	var one *stream
	if n := len(s.free); n > 0 {
		one, s.free = s.free[n-1], s.free[:n-1]
	} else {
		one = &stream{}
	}
	*one = stream{asked: time.Now()}
	s.streams[s.next] = one
	err := s.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.next, BlockFragment: s.block, EndStream: true, EndHeaders: true})
	s.next += 2
	return err
}

// frame reads one frame.
func (s *session) frame() error {
	f, err := s.framer.ReadFrame()
	if err != nil {
		return fmt.Errorf("read an answer: %w", err)
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		return s.headers(f)
	case *http2.DataFrame:
		return s.data(f)
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if size, told := f.Value(http2.SettingHeaderTableSize); told && size < 4096 {
			return fmt.Errorf("the proxy keeps a header table of %d bytes, too few for this client", size)
		}
		return s.framer.WriteSettingsAck()
	case *http2.PingFrame:
		if f.IsAck() {
			return nil
		}
		return s.framer.WritePing(true, f.Data)
	case *http2.WindowUpdateFrame:
		return nil
	}
	return fmt.Errorf("an unexpected frame: %v", f)
}

func (s *session) headers(f *http2.HeadersFrame) error {
	one := s.streams[f.StreamID]
	if one == nil || one.head || !f.HeadersEnded() {
		return fmt.Errorf("an unexpected frame: %v", f)
	}
	s.status, s.length, one.head = "", "", true
	if _, err := s.decoder.Write(f.HeaderBlockFragment()); err != nil {
		return fmt.Errorf("an answer's header: %w", err)
	}
	if err := s.decoder.Close(); err != nil {
		return fmt.Errorf("an answer's header: %w", err)
	}
	if s.status != "200" {
		return fmt.Errorf("an answer with status %s", s.status)
	}
	if s.length != "" && s.length != s.want {
		return fmt.Errorf("an answer of %s bytes, want %s", s.length, s.want)
	}
	if f.StreamEnded() {
		return s.answered(f.StreamID, one)
	}
	return nil
}

func (s *session) data(f *http2.DataFrame) error {
	one, b := s.streams[f.StreamID], f.Data()
	if one == nil || !one.head {
		return fmt.Errorf("an unexpected frame: %v", f)
	}
	if !bytes.HasPrefix(s.Body[one.come:], b) {
		return fmt.Errorf("wrong bytes in an answer, after %d", one.come)
	}
	one.come += len(b)
	if s.taken += int(f.Length); s.taken > wide/2 {
		if err := s.framer.WriteWindowUpdate(0, uint32(s.taken)); err != nil {
			return err
		}
		s.taken = 0
	}
	if f.StreamEnded() {
		return s.answered(f.StreamID, one)
	}
	return nil
}

// answered ends a stream and opens the next.
func (s *session) answered(number uint32, one *stream) error {
	if one.come != len(s.Body) {
		return fmt.Errorf("an answer of %d bytes, want %d", one.come, len(s.Body))
	}
	if s.phase.Load() == counting {
		s.mine.Add(time.Since(one.asked))
	}
	delete(s.streams, number)
	s.free = append(s.free, one)
	return s.ask()
}
