package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// compressing has answers compressed.
var compressing = withRules(rule.Config{Common: rule.Common{Compress: []string{"zstd", "br", "gzip"}}})

// decoder reads what was compressed.
func decoder(t testing.TB, encoding string, r io.Reader) io.Reader {
	t.Helper()
	switch encoding {
	case "":
		return r
	case "br":
		return brotli.NewReader(r)
	case "gzip":
		z, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		return z
	case "zstd":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(z.Close)
		return z
	}
	t.Fatalf("unknown encoding %q", encoding)
	return nil
}

// prose is text that can be compressed, but not to nothing.
func prose(n int) string { return allProse()[:n] }

var allProse = sync.OnceValue(func() string {
	random := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	for b.Len() < 1<<20 {
		fmt.Fprintf(&b, "line %d of %d\n", random.IntN(1000), random.IntN(10))
	}
	return b.String()
})

func TestCompressionDecodesToTheOriginal(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		var n, parts int
		fmt.Sscanf(r.URL.Path, "/%d/%d", &n, &parts)
		text := prose(n)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("ETag", `"strong"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Vary", "Cookie")
		if parts == 0 {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			io.WriteString(w, text)
			return
		}
		w.Header().Set("Trailer", "X-Sum")
		for len(text) > 0 {
			k := min(len(text), n/parts+1)
			io.WriteString(w, text[:k])
			w.(http.Flusher).Flush()
			text = text[k:]
		}
		w.Header().Set("X-Sum", fmt.Sprint(n))
	}
	everyWay(t, server, compressing, func(t *testing.T, w *way) {
		for _, n := range []int{1 << 10, 30_000, 1 << 20} {
			for _, parts := range []int{0, 7} {
				for _, encoding := range []string{"gzip", "zstd", "br"} {
					target := fmt.Sprintf("/%d/%d", n, parts)
					a := w.do(t, "GET", target, "", "Accept-Encoding", encoding)
					if a.err != nil {
						t.Fatal(target, encoding, a.err)
					}
					want(t, target+": encoding", a.Header.Get("Content-Encoding"), encoding)
					want(t, target+": length", a.Header.Get("Content-Length"), "")
					want(t, target+": tag", a.Header.Get("ETag"), `W/"strong"`)
					want(t, target+": ranges", a.Header.Get("Accept-Ranges"), "")
					want(t, target+": vary", strings.Join(a.Header.Values("Vary"), ", "), "Cookie, Accept-Encoding")
					got, err := io.ReadAll(decoder(t, encoding, strings.NewReader(a.text)))
					if err != nil || string(got) != prose(n) {
						t.Errorf("%s %s: %d bytes, %v", target, encoding, len(got), err)
					}
					if len(a.text) > n/2 {
						t.Errorf("%s %s: %d bytes", target, encoding, len(a.text))
					}
					if parts > 0 {
						want(t, target+": trailer", a.Trailer.Get("X-Sum"), fmt.Sprint(n))
					}
					head := w.do(t, "HEAD", target, "", "Accept-Encoding", encoding)
					for _, name := range []string{"Content-Encoding", "Content-Length", "ETag", "Vary", "Content-Type", "Accept-Ranges"} {
						want(t, "HEAD "+target+": "+name, strings.Join(head.Header.Values(name), ","), strings.Join(a.Header.Values(name), ","))
					}
				}
			}
		}
	})
}

func TestCompressionChooses(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, prose(5000))
	}
	everyWay(t, server, compressing, func(t *testing.T, w *way) {
		for accept, encoding := range map[string]string{
			"": "", "gzip": "gzip", "gzip, br, zstd": "zstd", "br;q=0.5, gzip;q=0.9": "gzip", "*": "zstd", "zstd;q=0, *": "br",
			"deflate": "", "identity": "", "gzip;q=0": "",
		} {
			a := w.do(t, "GET", "/", "", "Accept-Encoding", accept)
			want(t, accept, a.Header.Get("Content-Encoding"), encoding)
			want(t, accept+": vary", a.Header.Get("Vary"), "Accept-Encoding")
			got, err := io.ReadAll(decoder(t, encoding, strings.NewReader(a.text)))
			if err != nil || string(got) != prose(5000) {
				t.Errorf("%s: %d bytes, %v", accept, len(got), err)
			}
		}
		// Over several lines, too.
		a := w.do(t, "GET", "/", "", "Accept-Encoding", "gzip;q=0.1", "Accept-Encoding", "br")
		want(t, "two lines", a.Header.Get("Content-Encoding"), "br")
	})
}

func TestWhatIsNotCompressed(t *testing.T) {
	text := prose(5000)
	kinds := map[string]func(http.Header) int{
		"/small":   func(h http.Header) int { h.Set("Content-Length", "1000"); return 200 },
		"/encoded": func(h http.Header) int { h.Set("Content-Encoding", "x-own"); return 200 },
		"/no-transform": func(h http.Header) int {
			h.Set("Cache-Control", "public, no-transform")
			return 200
		},
		"/image":   func(h http.Header) int { h.Set("Content-Type", "image/png"); return 200 },
		"/untyped": func(h http.Header) int { h["Content-Type"] = nil; return 200 },
		"/range": func(h http.Header) int {
			h.Set("Content-Range", "bytes 0-4999/10000")
			return 206
		},
		"/events": func(h http.Header) int { h.Set("Content-Type", "text/event-stream"); return 200 },
	}
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("ETag", `"strong"`)
		w.WriteHeader(kinds[r.URL.Path](w.Header()))
		if r.URL.Path == "/small" {
			io.WriteString(w, text[:1000])
		} else {
			io.WriteString(w, text)
		}
	}
	everyWay(t, server, compressing, func(t *testing.T, w *way) {
		for path := range kinds {
			a := w.do(t, "GET", path, "", "Accept-Encoding", "gzip")
			content, encoding := text, ""
			switch path {
			case "/small":
				content = text[:1000]
				want(t, "length", a.Header.Get("Content-Length"), "1000")
			case "/encoded":
				encoding = "x-own"
			}
			want(t, path+": encoding", a.Header.Get("Content-Encoding"), encoding)
			want(t, path+": tag", a.Header.Get("ETag"), `"strong"`)
			want(t, path+": vary", a.Header.Get("Vary"), "")
			want(t, path+": content", a.text == content, true)
		}
	})
}

// Each part that the server flushes can be read by the client before the next one is sent.
func TestCompressionIsImmediate(t *testing.T) {
	for _, encoding := range []string{"gzip", "zstd", "br"} {
		t.Run(encoding, func(t *testing.T) {
			next := make(chan struct{})
			server := func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path == "/long" {
					w.Header().Set("Content-Length", "50000")
				}
				for i := range 10 {
					fmt.Fprintf(w, "%05000d", i)
					w.(http.Flusher).Flush()
					<-next
				}
			}
			everyWay(t, server, compressing, func(t *testing.T, w *way) {
				for _, path := range []string{"/chunked", "/long"} {
					req, _ := http.NewRequestWithContext(t.Context(), "GET", w.url+path, nil)
					req.Header.Set("Accept-Encoding", encoding)
					res, err := w.client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer res.Body.Close()
					want(t, "encoding", res.Header.Get("Content-Encoding"), encoding)
					in := decoder(t, encoding, res.Body)
					part := make([]byte, 5000)
					for i := range 10 {
						if _, err := io.ReadFull(in, part); err != nil || string(part) != fmt.Sprintf("%05000d", i) {
							t.Fatalf("part %d: %v", i, err)
						}
						next <- struct{}{}
					}
					if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
						t.Errorf("end: %d bytes, %v", len(rest), err)
					}
				}
			})
		})
	}
}

// An answer that breaks off must not look whole: neither to HTTP, nor to who reads the encoding.
func TestCompressedAnswerBreaksOff(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	servers := map[string]string{
		"length":  head + "Content-Length: 100000\r\n\r\n" + prose(50_000),
		"chunked": head + "Transfer-Encoding: chunked\r\n\r\nc350\r\n" + prose(50_000) + "\r\n",
	}
	for name, text := range servers {
		for _, h2 := range []bool{false, true} {
			for _, encoding := range []string{"gzip", "zstd", "br"} {
				t.Run(fmt.Sprintf("%s %s h2=%v", name, encoding, h2), func(t *testing.T) {
					server := rawBackend(t, func(c net.Conn) {
						http.ReadRequest(bufio.NewReader(c))
						io.WriteString(c, text)
					})
					w := newWay(t, nil, h2, upstream.HTTP, func(c *Config) {
						compressing(c)
						c.Services["web"] = service(server)
					})
					a := w.do(t, "GET", "/", "", "Accept-Encoding", encoding)
					if a.err == nil {
						t.Error("the answer looks whole")
					}
					if _, err := io.ReadAll(decoder(t, encoding, strings.NewReader(a.text))); err == nil {
						t.Error("the content looks whole")
					}
				})
			}
		}
	}
}

func TestCompressionOfAnswersUntilClose(t *testing.T) {
	text := prose(50_000)
	server := rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n"+text)
	})
	for _, h2 := range []bool{false, true} {
		w := newWay(t, nil, h2, upstream.HTTP, func(c *Config) {
			compressing(c)
			c.Services["web"] = service(server)
		})
		for _, encoding := range []string{"gzip", "zstd", "br"} {
			a := w.do(t, "GET", "/", "", "Accept-Encoding", encoding)
			got, err := io.ReadAll(decoder(t, a.Header.Get("Content-Encoding"), strings.NewReader(a.text)))
			if err != nil || string(got) != text || a.err != nil {
				t.Errorf("%s, h2=%v: %d bytes, %v, %v", encoding, h2, len(got), err, a.err)
			}
			want(t, "encoding", a.Header.Get("Content-Encoding"), encoding)
		}
		if !h2 { // a client of HTTP/1.0 knows no chunks
			answer := raw(t, w.at, "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
			_, content, _ := strings.Cut(answer, "\r\n\r\n")
			got, err := io.ReadAll(decoder(t, "gzip", strings.NewReader(content)))
			if err != nil || string(got) != text {
				t.Errorf("HTTP/1.0: %d bytes, %v", len(got), err)
			}
		}
	}
}

// Only so many answers are compressed at a time; others go out as they are, and none waits.
func TestCompressorsAreLimited(t *testing.T) {
	const most, clients = 256, 280
	release := make(chan struct{})
	begun := prose(2000)
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, begun)
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, "end")
	}
	w := newWay(t, server, true, upstream.HTTP, compressing)
	clientsOf := []*http.Client{w.client, client(t, true)} // a connection has 250 streams
	var mu sync.Mutex
	encodings := map[string]int{}
	var heads, all sync.WaitGroup
	for i := range clients {
		heads.Add(1)
		all.Go(func() {
			head := sync.OnceFunc(heads.Done)
			defer head()
			req, _ := http.NewRequestWithContext(t.Context(), "GET", w.url, nil)
			req.Header.Set("Accept-Encoding", "gzip")
			res, err := clientsOf[i%2].Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			encoding := res.Header.Get("Content-Encoding")
			mu.Lock()
			encodings[encoding]++
			mu.Unlock()
			var got bytes.Buffer
			in := bufio.NewReader(res.Body)
			in.Peek(1)
			head()
			if _, err := got.ReadFrom(decoder(t, encoding, in)); err != nil || got.String() != begun+"end" {
				t.Errorf("%q: %d bytes, %v", encoding, got.Len(), err)
			}
		})
	}
	heads.Wait()
	close(release)
	all.Wait()
	want(t, "compressed", encodings["gzip"], most)
	want(t, "as they are", encodings[""], clients-most)
	a := w.do(t, "GET", "/", "", "Accept-Encoding", "gzip")
	want(t, "afterwards", a.Header.Get("Content-Encoding"), "gzip")
}
