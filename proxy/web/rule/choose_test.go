package rule

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tripod/proxy/web/message"
)

func compressing(t testing.TB, names ...string) *Rules {
	return compiled(t, "/", Config{Common: Common{Compress: names}})
}

// TestAcceptEncoding is RFC 9110 §12.5.3 and §12.4.2.
func TestAcceptEncoding(t *testing.T) {
	all := compressing(t, "zstd", "br", "gzip")
	for accept, want := range map[string]Encoding{
		"": Identity, "gzip": Gzip, "gzip, deflate, br": Brotli, "gzip, deflate, br, zstd": Zstd, "GZip": Gzip, "x-gzip": Gzip, "deflate": Identity,
		"*": Zstd, "*;q=0": Identity, "zstd;q=0, *": Brotli, "gzip, *;q=0": Gzip, "*;q=0.5, gzip": Gzip,
		"gzip;q=0": Identity, "gzip;q=0.001": Gzip, "br;q=0.5, gzip;q=0.8, zstd;q=0.1": Gzip, "br;q=1.0, gzip;q=1": Brotli, "gzip ; Q=0.5\t,br; q=0.4": Gzip,
		"identity": Identity, "identity, gzip": Gzip, "identity;q=0.5, gzip;q=0.2": Identity, "identity;q=0, gzip;q=0.1": Gzip, "identity;q=0": Identity,
		"gzip;q=2": Identity, "gzip;q=1.001": Identity, "gzip;q=0.0001": Identity, "gzip;q=": Identity, "gzip;q=.5": Identity, "gzip;q=a": Identity, "gzip;x=1": Identity, "gzip;q=0.5;q=1": Identity,
		",, ,gzip,": Gzip, "gzipx, xgzip, gz": Identity, "gzip;q=-1": Identity, "br;q=0, br": Brotli,
	} {
		if got, varies := all.Choose(accept, 200, 5000, fieldsOf("Content-Type: text/html")); got != want || !varies {
			t.Errorf("%q: got %s, %t, want %s", accept, got, varies, want)
		}
	}
	if got, _ := compressing(t, "gzip", "zstd").Choose("zstd, gzip, br", 200, 5000, fieldsOf("Content-Type: text/html")); got != Gzip {
		t.Errorf("the document's order: got %s", got)
	}
	if got, varies := (*Rules)(nil).Choose("gzip", 200, 5000, fieldsOf("Content-Type: text/html")); got != Identity || varies {
		t.Errorf("no rules: got %s, %t", got, varies)
	}
}

func TestWhatIsCompressed(t *testing.T) {
	r := compressing(t, "gzip")
	const html = "Content-Type: text/html; charset=utf-8"
	for _, c := range []struct {
		status int
		length int64
		fields string
		want   bool
	}{
		{200, 5000, html, true}, {200, message.Unknown, html, true}, {200, minCompressed, html, true}, {200, minCompressed - 1, html, false}, {200, 0, html, false},
		{404, 5000, html, true}, {500, 5000, html, true}, {201, 5000, html, true}, {100, 5000, html, false}, {101, message.Unknown, html, false},
		{204, message.Unknown, html, false}, {304, 5000, html, false}, {206, 5000, html, false},
		{200, 5000, html + "\nContent-Range: bytes 0-1/2", false}, {200, 5000, html + "\nContent-Encoding: br", false}, {200, 5000, html + "\ncontent-encoding: identity", false},
		{200, 5000, html + "\nCache-Control: max-age=1, No-Transform", false}, {200, 5000, html + "\nCache-Control: public", true},
		{200, 5000, "X-A: b", false}, {200, 5000, html + "\n" + html, false},
		{200, 5000, "Content-Type: TEXT/plain", true}, {200, 5000, "Content-Type: text/css", true}, {200, 5000, "Content-Type: text/event-stream", false}, {200, message.Unknown, "Content-Type: text/event-stream;charset=x", false},
		{200, 5000, "Content-Type: application/json", true}, {200, 5000, "Content-Type: application/javascript", true}, {200, 5000, "Content-Type: application/wasm", true},
		{200, 5000, "Content-Type: image/svg+xml", true}, {200, 5000, "Content-Type: application/problem+json ; x=y", true}, {200, 5000, "Content-Type: application/xml", true},
		{200, 5000, "Content-Type: image/png", false}, {200, 5000, "Content-Type: video/mp4", false}, {200, 5000, "Content-Type: application/zip", false},
		{200, 5000, "Content-Type: application/octet-stream", false}, {200, 5000, "Content-Type: application/grpc", false}, {200, 5000, "Content-Type: application/grpc+json", false},
		{200, 5000, "Content-Type: text", false}, {200, 5000, "Content-Type: font/woff2", false}, {200, 5000, "Content-Type: multipart/x; boundary=text/html", false},
	} {
		fields := fieldsOf(strings.Split(c.fields, "\n")...)
		e, varies := r.Choose("gzip", c.status, c.length, fields)
		if (e == Gzip) != c.want || varies != c.want {
			t.Errorf("%+v: got %s, %t", c, e, varies)
		}
		// For another client the same answer varies, though nothing is done to it.
		if e, varies := r.Choose("br", c.status, c.length, fields); e != Identity || varies != c.want {
			t.Errorf("%+v, client without gzip: got %s, %t", c, e, varies)
		}
	}
}

func TestEncode(t *testing.T) {
	source := []string{"Content-Length: 5000", `ETag: "a"`, "Accept-Ranges: bytes", "Content-MD5: x", "digest: y", "Repr-Digest: z", "Content-Digest: z", "X-A: b", "Vary: Cookie"}
	wantFields(t, "brotli", Encode(fieldsOf(source...), Brotli, testVars()), `ETag: W/"a"`, "X-A: b", "Vary: Cookie", "Content-Encoding: br", "Vary: Accept-Encoding")
	wantFields(t, "identity", Encode(fieldsOf(source...), Identity, testVars()), append(source, "Vary: Accept-Encoding")...)
	wantFields(t, "weak", Encode(fieldsOf(`etag: W/"a"`, "vary: Cookie, Accept-Encoding"), Gzip, testVars()), `etag: W/"a"`, "vary: Cookie, Accept-Encoding", "Content-Encoding: gzip")
	wantFields(t, "any", Encode(fieldsOf("Vary: *"), Zstd, testVars()), "Vary: *", "Content-Encoding: zstd")
}

func FuzzAcceptEncoding(f *testing.F) {
	for _, s := range []string{"gzip, br;q=0.5", "*;q=0", "identity;q=0,gzip;q=1.000", ";;;", "gzip;q=0.", ",", "x-gzip ;q=0.999"} {
		f.Add(s)
	}
	fields := fieldsOf("Content-Type: text/html")
	f.Fuzz(func(t *testing.T, accept string) {
		r := compressing(t, "zstd", "gzip")
		e, varies := r.Choose(accept, 200, 5000, fields)
		if !varies || e == Brotli {
			t.Fatalf("%q: got %s, %t", accept, e, varies)
		}
		if lower := strings.ToLower(accept); e != Identity && !strings.Contains(lower, e.String()) && !strings.Contains(lower, "*") {
			t.Fatalf("%q: got %s", accept, e)
		}
		// Elements that are not for us change nothing.
		if again, _ := r.Choose("deflate;q=0.3,"+accept, 200, 5000, fields); again != e {
			t.Fatalf("%q: got %s, then %s", accept, e, again)
		}
	})
}

// decoded reads content as a client does.
func decoded(e Encoding, r io.Reader) io.Reader {
	switch e {
	case Brotli:
		return brotli.NewReader(r)
	case Zstd:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			panic(err)
		}
		return d.IOReadCloser()
	}
	d, err := gzip.NewReader(r)
	if err != nil {
		panic(err)
	}
	return d
}

// content is text that gets smaller, with parts that do not.
func content(size int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for b.Len() < size {
		b.WriteString("<li class=\"item\">")
		for range random.IntN(40) {
			b.WriteByte(byte(random.IntN(256)))
		}
	}
	return b.Bytes()[:size]
}

func TestEncodersRoundTrip(t *testing.T) {
	var c Compressor
	if c.Encoder(Identity, io.Discard) != nil {
		t.Error("there is an encoder for identity")
	}
	for _, e := range []Encoding{Gzip, Brotli, Zstd} {
		for _, size := range []int{0, 1, 5000, 1 << 20, 300} { // the pool's encoders are used again
			var out bytes.Buffer
			in, enc := content(size), c.Encoder(e, &out)
			for rest := in; len(rest) > 0; {
				n := min(len(rest), 10_000)
				if _, err := enc.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := enc.Close(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(decoded(e, &out)); err != nil || !bytes.Equal(got, in) {
				t.Errorf("%s, %d bytes: got %d, %v", e, size, len(got), err)
			}
			if _, err := enc.Write(in); err == nil || enc.Flush() == nil || enc.Close() != nil {
				t.Errorf("%s: a closed encoder goes on", e)
			}
		}
	}
}

// TestFlushIsImmediate reads every part before the next one is written.
func TestFlushIsImmediate(t *testing.T) {
	var c Compressor
	for _, e := range []Encoding{Gzip, Brotli, Zstd} {
		r, w := io.Pipe()
		enc := c.Encoder(e, w)
		parts := make(chan string)
		go func() {
			for part := range parts {
				io.WriteString(enc, part)
				enc.Flush()
			}
			enc.Close()
			w.Close()
		}()
		parts <- "first part\n"
		in := decoded(e, r)
		buf := make([]byte, 100)
		for i, part := range []string{"first part\n", "second\n", "third\n"} {
			if i > 0 {
				parts <- part
			}
			if _, err := io.ReadFull(in, buf[:len(part)]); err != nil || string(buf[:len(part)]) != part {
				t.Fatalf("%s: got %q, %v, want %q", e, buf[:len(part)], err, part)
			}
		}
		close(parts)
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("%s: the end is %q, %v", e, rest, err)
		}
	}
}

// TestDiscardWritesNoEnd: content that broke off must not look whole.
func TestDiscardWritesNoEnd(t *testing.T) {
	var c Compressor
	for _, e := range []Encoding{Gzip, Brotli, Zstd} {
		var out bytes.Buffer
		enc := c.Encoder(e, &out)
		enc.Write(content(5000))
		enc.Flush()
		enc.Discard()
		enc.Discard()
		if got, err := io.ReadAll(decoded(e, &out)); err == nil || len(got) != 5000 {
			t.Errorf("%s: got %d bytes, %v", e, len(got), err)
		}
	}
}

func TestEncodersAreBounded(t *testing.T) {
	var c Compressor
	var all []*Encoder
	for range maxEncoders {
		all = append(all, c.Encoder(Zstd, io.Discard))
	}
	if all[maxEncoders-1] == nil || c.Encoder(Gzip, io.Discard) != nil {
		t.Errorf("the bound is not %d", maxEncoders)
	}
	all[0].Close()
	all[1].Discard()
	for i, want := range []bool{true, true, false} {
		if got := c.Encoder(Gzip, io.Discard) != nil; got != want {
			t.Errorf("after two have ended, encoder %d: got %t", i, got)
		}
	}
}

func BenchmarkEncoder(b *testing.B) {
	in := content(64 << 10)
	for _, e := range []Encoding{Gzip, Brotli, Zstd} {
		b.Run(e.String(), func(b *testing.B) {
			var c Compressor
			var out bytes.Buffer
			b.SetBytes(int64(len(in)))
			b.ReportAllocs()
			for b.Loop() {
				out.Reset()
				enc := c.Encoder(e, &out)
				enc.Write(in)
				enc.Close()
			}
			b.ReportMetric(float64(out.Len())/float64(len(in)), "ratio")
		})
	}
}
