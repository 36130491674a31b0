package h2

import (
	"bytes"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tripod/proxy/web/message"
)

// copyHandler answers with what it was sent.
type copyHandler struct{}

func (copyHandler) ServeStream(s *Stream) {
	_ = s.Respond(200, s.Request().Fields, false)
	buf := make([]byte, 5000)
	for {
		n, err := s.Read(buf)
		if s.Write(buf[:n], false) != nil || err != nil && err != io.EOF {
			return
		}
		if err == io.EOF {
			_ = s.End(s.Trailers())
			return
		}
	}
}

// FuzzConn throws bytes at a connection: whatever they are, it ends when the client has gone, and leaves nothing running.
func FuzzConn(f *testing.F) {
	seed := func(write func(fr *http2.Framer, block func(lines ...string) []byte)) {
		var b, h bytes.Buffer
		enc := hpack.NewEncoder(&h)
		fr := http2.NewFramer(&b, nil)
		fr.AllowIllegalWrites = true
		write(fr, func(lines ...string) []byte {
			h.Reset()
			for i := 0; i < len(lines); i += 2 {
				_ = enc.WriteField(hpack.HeaderField{Name: lines[i], Value: lines[i+1]})
			}
			return bytes.Clone(h.Bytes())
		})
		f.Add(b.Bytes(), true)
	}
	request := []string{":method", "POST", ":scheme", "http", ":path", "/", ":authority", "a", "cookie", "a", "cookie", "b"}
	seed(func(fr *http2.Framer, block func(lines ...string) []byte) {
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block(request...), EndHeaders: true, PadLength: 3})
		_ = fr.WriteDataPadded(1, false, []byte("content"), []byte{0, 0})
		_ = fr.WritePing(false, [8]byte{1})
		_ = fr.WriteWindowUpdate(1, 5)
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block("sum", "1"), EndHeaders: true, EndStream: true})
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 70000})
		_ = fr.WriteRSTStream(1, http2.ErrCodeCancel)
	})
	seed(func(fr *http2.Framer, block func(lines ...string) []byte) {
		_ = fr.WriteSettings()
		b := block(request...)
		_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:5], Priority: http2.PriorityParam{StreamDep: 1}})
		_ = fr.WriteContinuation(1, false, b[5:9])
		_ = fr.WriteContinuation(1, true, b[9:])
		_ = fr.WriteData(1, true, nil)
		_ = fr.WritePriority(3, http2.PriorityParam{StreamDep: 3})
		_ = fr.WriteGoAway(0, http2.ErrCodeNo, nil)
		_ = fr.WriteRawFrame(0x99, 0xff, 7, []byte("unknown"))
	})
	f.Add([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n"), false)
	o := &Options{MaxStreams: 5, MaxHead: 4000, HeadTimeout: time.Minute}
	f.Fuzz(func(t *testing.T, sent []byte, preface bool) {
		client, nc := net.Pipe()
		var preread []byte
		if preface {
			preread = []byte(http2.ClientPreface)
		}
		c := NewConn(nc, preread, copyHandler{}, o)
		served := make(chan struct{})
		go func() { defer close(served); _ = c.Serve() }()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		_, _ = client.Write(sent)
		_ = client.Close()
		select {
		case <-served:
		case <-time.After(20 * time.Second):
			t.Fatal("the connection does not end")
		}
		if c.running != 0 || len(c.streams) != 0 || c.writing || c.parked != 0 {
			t.Errorf("left over: %d handlers, %d streams, %d workers, writing %v", c.running, len(c.streams), c.parked, c.writing)
		}
	})
}

// FuzzFields compares what becomes of field sections with what package http2 makes of them: we may refuse more, never less.
func FuzzFields(f *testing.F) {
	seed := func(sections ...[]string) {
		var all, h bytes.Buffer
		enc := hpack.NewEncoder(&h)
		for _, lines := range sections {
			h.Reset()
			for i := 0; i < len(lines); i += 2 {
				_ = enc.WriteField(hpack.HeaderField{Name: lines[i], Value: lines[i+1], Sensitive: i%4 == 0})
			}
			all.WriteByte(byte(h.Len()))
			all.Write(h.Bytes())
		}
		f.Add(all.Bytes())
	}
	request := []string{":method", "GET", ":scheme", "https", ":path", "/a?b", ":authority", "a.test"}
	seed(append(request, "x", "y"), append(request, "x", "y", "host", "a.test", "te", "trailers"), request)
	seed(append(request, "cookie", "a", "b", "c", "cookie", "d"), append(request, "content-length", "0"))
	seed(append(request, "Bad", "a", "x", "y"), append(request, "x", "y"), append(request, "connection", "close"))
	seed([]string{":method", "CONNECT", ":authority", "a:1"}, []string{":method", "OPTIONS", ":scheme", "http", ":path", "*", "host", "h"})
	f.Add([]byte{3, 0x20, 0x3f, 0xe1, 2, 0x82, 0x84, 5, 0x40, 1, 'a', 0x81, 0x1f})
	f.Fuzz(func(t *testing.T, b []byte) {
		ours := decoder{max: tableSize}
		h := head{max: 10000}
		var wire bytes.Buffer
		framer := http2.NewFramer(&wire, &wire)
		framer.ReadMetaHeaders = hpack.NewDecoder(tableSize, nil)
		framer.MaxHeaderListSize = 20000
		for len(b) > 0 {
			n := min(int(b[0]), len(b)-1)
			section := b[1 : 1+n]
			b = b[1+n:]
			var req message.Request
			h.begin(&req, nil, false)
			ourErr := ours.decode(section, &h)
			h.finish(true)
			if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: section, EndHeaders: true}); err != nil {
				t.Fatal(err)
			}
			frame, err := framer.ReadFrame()
			if ourErr != nil || resizes(section) > 1 {
				return // they may go on; of two updates they take the second only if the first has emptied the table
			}
			if _, isStream := err.(http2.StreamError); err != nil && !isStream {
				t.Fatalf("decoded what they cannot: %v", err)
			}
			if h.wrong != "" || h.tooLarge {
				continue
			}
			if err != nil {
				t.Fatalf("accepted what they refuse: %v: %+v", err, req)
			}
			same(t, &req, frame.(*http2.MetaHeadersFrame))
		}
	})
}

// resizes counts a section's table size updates.
func resizes(p []byte) (n int) {
	for ; len(p) > 0 && p[0]&0xe0 == 0x20; n++ {
		var err error
		if _, p, err = readInteger(p, 5); err != nil {
			break
		}
	}
	return n
}

// same compares a request with theirs.
func same(t *testing.T, req *message.Request, theirs *http2.MetaHeadersFrame) {
	t.Helper()
	authority := theirs.PseudoValue("authority")
	var want []message.Field
	cookie := -1
	for _, f := range theirs.RegularFields() {
		k := message.KindOf(f.Name)
		switch {
		case k == message.Host && authority == "":
			authority = f.Value
		case k == message.Host:
		case k == message.Cookie && cookie >= 0:
			want[cookie].Value += "; " + f.Value
		default:
			if k == message.Cookie {
				cookie = len(want)
			}
			want = append(want, message.Field{Name: f.Name, Value: f.Value, Kind: k})
		}
	}
	if !slices.Equal(want, req.Fields) {
		t.Errorf("fields %v, theirs %v", req.Fields, want)
	}
	for _, p := range [][2]string{
		{req.Method, theirs.PseudoValue("method")}, {req.Scheme, theirs.PseudoValue("scheme")}, {req.Target, theirs.PseudoValue("path")},
		{req.Host, authority}, {req.Upgrade, theirs.PseudoValue("protocol")},
	} {
		if p[0] != p[1] {
			t.Errorf("%q, theirs %q", p[0], p[1])
		}
	}
}

// FuzzEncoder reads what the encoder writes with package hpack's decoder, while the table's size changes.
func FuzzEncoder(f *testing.F) {
	f.Add("content-type\x00text/plain\x00X-Name\x00a value\x00content-length\x00100", uint16(4096), uint16(0))
	f.Add("a\x00"+strings.Repeat("x", 900)+"\x00b\x00"+strings.Repeat("y", 900)+"\x00c\x00"+strings.Repeat("z", 900), uint16(2000), uint16(3000))
	f.Fuzz(func(t *testing.T, lines string, size1, size2 uint16) {
		if len(lines) > 3000 {
			return
		}
		enc := newEncoder()
		dec := hpack.NewDecoder(tableSize, nil)
		parts := strings.Split(lines, "\x00")
		for i := range 8 {
			switch i {
			case 3:
				enc.resize(uint32(size1))
				enc.resize(uint32(size2))
			case 6:
				enc.resize(uint32(size1))
			}
			b := enc.begin(nil)
			b = enc.status(b, 200+i)
			want := []hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(200 + i)}}
			for k := 0; k+1 < len(parts); k += 2 {
				before := len(b)
				name, value := parts[k], parts[k+1]
				b = enc.field(b, &message.Field{Name: name, Value: value})
				if len(b) > before {
					want = append(want, hpack.HeaderField{Name: strings.ToLower(name), Value: message.TrimOWS(value)})
				}
				// Something that does not come again, so that the table fills.
				b = enc.field(b, &message.Field{Name: "n", Value: strings.Repeat("v", (i*7+k)%200)})
				want = append(want, hpack.HeaderField{Name: "n", Value: strings.Repeat("v", (i*7+k)%200)})
			}
			got, err := dec.DecodeFull(b)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				got[i].Sensitive = false
			}
			if !slices.Equal(got, want) {
				t.Fatalf("section %d: %v, not %v", i, got, want)
			}
		}
	})
}
