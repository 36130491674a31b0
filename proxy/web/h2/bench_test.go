package h2_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"net"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/message"
)

// loader is a client that costs next to nothing: it sends the same requests again and again, and counts the ends of streams.
type loader struct {
	t       testing.TB
	nc      net.Conn
	r       *bufio.Reader
	out     []byte
	head    []byte // of all requests but the first, all of it indexed
	id      uint32
	pending int
	owed    uint32 // content that was received and not given back
}

var loadFields = []hpack.HeaderField{
	{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "h2.test"},
	{Name: ":path", Value: "/some/file.html"}, {Name: "user-agent", Value: "loader/1"}, {Name: "accept", Value: "text/html,*/*"},
	{Name: "accept-encoding", Value: "gzip, deflate"}, {Name: "accept-language", Value: "en"}, {Name: "cookie", Value: "session=0123456789"},
}

func newLoader(t testing.TB, s *server, config *tls.Config) *loader {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		nc = tls.Client(nc, config)
	}
	t.Cleanup(func() { _ = nc.Close() })
	l := &loader{t: t, nc: nc, r: bufio.NewReaderSize(nc, 64<<10), id: 1}
	l.out = append(l.out, http2.ClientPreface...)
	l.frame(http2.FrameSettings, 0, 0, []byte{0, 4, 0, 64, 0, 0}) // windows of 4 MiB
	l.frame(http2.FrameWindowUpdate, 0, 0, []byte{0, 64, 0, 0})
	w := writerFunc(func(p []byte) { l.head = append(l.head, p...) })
	enc := hpack.NewEncoder(w)
	encode := func() {
		l.head = nil
		for _, f := range loadFields {
			if err := enc.WriteField(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	encode()
	l.request()
	l.finish()
	encode()
	return l
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func (l *loader) frame(kind http2.FrameType, flags http2.Flags, id uint32, p []byte) {
	l.out = append(l.out, byte(len(p)>>16), byte(len(p)>>8), byte(len(p)), byte(kind), byte(flags))
	l.out = binary.BigEndian.AppendUint32(l.out, id)
	l.out = append(l.out, p...)
}

func (l *loader) request() {
	l.frame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, l.id, l.head)
	l.id += 2
	l.pending++
}

// send sends what request has prepared.
func (l *loader) send() {
	if _, err := l.nc.Write(l.out); err != nil {
		l.t.Fatal(err)
	}
	l.out = l.out[:0]
}

// finish sends, and reads until all answers have ended.
func (l *loader) finish() {
	l.send()
	for l.pending > 0 {
		l.one()
	}
}

// one reads until an answer has ended.
func (l *loader) one() {
	for {
		head, err := l.r.Peek(9)
		if err != nil {
			l.t.Fatal(err)
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		kind, flags := http2.FrameType(head[3]), http2.Flags(head[4])
		if _, err := l.r.Discard(9 + length); err != nil {
			l.t.Fatal(err)
		}
		if kind == http2.FrameData {
			l.owed += uint32(length)
			if l.owed > 1<<20 {
				l.frame(http2.FrameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, l.owed))
				l.owed = 0
				l.send()
			}
		}
		switch kind {
		case http2.FrameGoAway, http2.FrameRSTStream:
			l.t.Fatal(kind)
		case http2.FrameData, http2.FrameHeaders:
			if flags.Has(http2.FlagDataEndStream) {
				l.pending--
				return
			}
		}
	}
}

var smallFields = []message.Field{
	{Name: "Content-Type", Value: "text/plain; charset=utf-8", Kind: message.ContentType},
	{Name: "Content-Length", Value: "100", Kind: message.ContentLength},
	{Name: "Date", Value: "Tue, 24 Nov 2026 07:00:00 GMT", Kind: message.Date},
	{Name: "Server", Value: "backend", Kind: message.Server},
	{Name: "Cache-Control", Value: "no-store", Kind: message.CacheControl},
	{Name: "X-Frame-Options", Value: "DENY"},
}

var smallBody = make([]byte, 100)

func small(s *h2.Stream) {
	if s.Respond(200, smallFields, false) == nil {
		_ = s.Write(smallBody, true)
	}
}

func benchmarkSmall(b *testing.B, secure bool) {
	var s *server
	var config *tls.Config
	if secure {
		srv, cl := certificate(b)
		s, config = serveWith(b, &h2.Options{TLS: true}, srv, small), cl
	} else {
		s = serve(b, nil, small)
	}
	l := newLoader(b, s, config)
	b.ReportAllocs()
	b.ResetTimer()
	// Twenty streams are open all the time.
	for i := 0; i < b.N; {
		for l.pending < 20 {
			l.request()
			i++
		}
		l.send()
		l.one()
		for l.r.Buffered() > 0 && l.pending > 0 {
			l.one()
		}
	}
	l.finish()
}

func BenchmarkSmall(b *testing.B)    { benchmarkSmall(b, false) }
func BenchmarkSmallTLS(b *testing.B) { benchmarkSmall(b, true) }

func benchmarkLarge(b *testing.B, secure bool) {
	body := make([]byte, 32<<10)
	h := func(s *h2.Stream) {
		if s.Respond(200, smallFields[:1], false) != nil {
			return
		}
		for i := range 32 {
			if s.Write(body, i == 31) != nil {
				return
			}
		}
	}
	var s *server
	var config *tls.Config
	if secure {
		srv, cl := certificate(b)
		s, config = serveWith(b, &h2.Options{TLS: true}, srv, h), cl
	} else {
		s = serve(b, nil, h)
	}
	l := newLoader(b, s, config)
	b.ReportAllocs()
	b.SetBytes(1 << 20)
	b.ResetTimer()
	for range b.N {
		l.request()
		l.finish()
	}
}

func BenchmarkLarge(b *testing.B)    { benchmarkLarge(b, false) }
func BenchmarkLargeTLS(b *testing.B) { benchmarkLarge(b, true) }
