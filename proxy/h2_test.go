package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/upstream"
)

// h2ToHTTP1 is a way from clients of HTTP/2 to a server of HTTP/1.1.
func h2ToHTTP1(t *testing.T, h http.HandlerFunc) *way { return newWay(t, h, true, upstream.HTTP, nil) }

func TestHTTP2Requests(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		w.Header().Set("X-Content", fmt.Sprint(len(b)))
		w.Header().Set("X-Request-Id", "the server's own")
		dump(w, r)
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		for _, tt := range []struct {
			method  string
			content io.Reader
			length  int64 // that is said
			size    int
		}{
			{"GET", nil, 0, 0}, {"DELETE", nil, 0, 0}, {"OPTIONS", nil, 0, 0}, {"POST", nil, 0, 0},
			{"POST", strings.NewReader("hello"), 5, 5},
			{"PUT", strings.NewReader(strings.Repeat("x", 100_000)), 100_000, 100_000},
			{"POST", strings.NewReader("hello"), -1, 5},
			{"POST", strings.NewReader(""), -1, 0},
			{"PATCH", strings.NewReader(strings.Repeat("x", 100_000)), -1, 100_000},
		} {
			req, _ := http.NewRequestWithContext(t.Context(), tt.method, w.url+"/a%2Fb?x=y&y", tt.content)
			req.ContentLength = tt.length
			req.Header.Add("Cookie", "a=1")
			req.Header.Add("Cookie", "b=2; c=3")
			a := w.send(t, req)
			name := fmt.Sprint(tt.method, tt.length)
			want(t, name, a.StatusCode, 200)
			want(t, name+": content", a.Header.Get("X-Content"), fmt.Sprint(tt.size))
			if tt.length >= 0 {
				want(t, name+": length", a.Header.Get("X-Length"), fmt.Sprint(tt.length))
			}
			want(t, name+": target", strings.HasPrefix(a.text, tt.method+" /a%2Fb?x=y&y HTTP/"), true)
			if w.h2 {
				want(t, name+": cookies", field(a.text, "Cookie"), "a=1; b=2; c=3")
			}
			want(t, name+": id", field(a.text, "X-Request-Id"), strings.Join(a.Header.Values("X-Request-Id"), ","))
		}
		if w.h2 {
			w.logged(t, `"protocol":"HTTP/2.0"`, `"method":"PATCH"`)
		}
	})
}

// What HTTP/2 says among the fields and HTTP/1.1 says as framing is said once, or a strict server would refuse it.
func TestHTTP2FieldsAreSaidOnce(t *testing.T) {
	var mu sync.Mutex
	var head string
	server := rawBackend(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		text := ""
		for !strings.HasSuffix(text, "\r\n\r\n") {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			text += line
		}
		mu.Lock()
		head = text
		mu.Unlock()
		io.ReadFull(in, make([]byte, 5))
		io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	w := newWay(t, nil, true, upstream.HTTP, func(c *Config) { c.Services["web"] = service(server) })
	a := w.do(t, "POST", "/", "hello", "Content_Length", "7", "Transfer_Encoding", "chunked", "Expect", "100-continue", "Te", "trailers")
	want(t, "status", a.StatusCode, 204)
	mu.Lock()
	defer mu.Unlock()
	text := strings.ToLower(head)
	for name, n := range map[string]int{"content-length: 5": 1, "content-length": 1, "content_length": 0, "transfer": 0, "expect: 100-continue": 1, "expect": 1,
		"te: trailers": 1, "\r\nhost: ": 1, "connection": 1} {
		want(t, name, strings.Count(text, name), n)
	}
}

func TestHTTP2AnswersWithoutContent(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.Header().Set("ETag", `"x"`)
		if r.Method == "HEAD" {
			w.Header().Set("Content-Length", "12345")
		}
		w.WriteHeader(status)
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		for _, tt := range []struct{ method, path, length string }{
			{"GET", "/204", ""}, {"GET", "/304", ""}, {"HEAD", "/200", "12345"}, {"GET", "/200", "0"}, {"HEAD", "/404", "12345"}, {"POST", "/201", "0"},
		} {
			a := w.do(t, tt.method, tt.path, "")
			want(t, tt.method+tt.path, fmt.Sprint("/", a.StatusCode), tt.path)
			want(t, tt.method+tt.path+": content", a.text, "")
			want(t, tt.method+tt.path+": error", a.err, nil)
			want(t, tt.method+tt.path+": length", a.Header.Get("Content-Length"), tt.length)
			want(t, tt.method+tt.path+": tag", a.Header.Get("ETag"), `"x"`)
		}
	})
}

func TestTrailersOverEveryWay(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		if r.URL.Path == "/empty" {
			w.WriteHeader(200)
		}
		w.(http.Flusher).Flush()
		io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/empty" {
			io.WriteString(w, "content")
		}
		w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-Up")+r.Trailer.Get("X-Forwarded-For"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		for _, path := range []string{"/", "/empty"} {
			req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+path, io.MultiReader(strings.NewReader("data")))
			req.Trailer = http.Header{"X-Up": {"up"}, "X-Forwarded-For": {"6.6.6.6"}}
			a := w.send(t, req)
			want(t, "error", a.err, nil)
			want(t, "announced trailer", a.Trailer.Get("X-Sum"), "got up")
			want(t, "other trailer", a.Trailer.Get("X-Late"), "late")
		}
	})
}

func TestInformationalAnswersOverEveryWay(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		for i := range 3 {
			w.Header().Set("Link", fmt.Sprintf("</%d.css>", i))
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Link")
		io.WriteString(w, "x")
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h.Get("Link")))
			return nil
		}})
		req, _ := http.NewRequestWithContext(ctx, "GET", w.url, nil)
		a := w.send(t, req)
		want(t, "hints", fmt.Sprint(hints), "[103</0.css> 103</1.css> 103</2.css>]")
		want(t, "content", a.text, "x")
		want(t, "final Link", a.Header.Get("Link"), "")
	})
}

// Both sides talk in turns within one request.
func TestConversationOverEveryWay(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(w, "echo "+line)
			w.(http.Flusher).Flush()
		}
	}
	everyWay(t, server, nil, func(t *testing.T, w *way) {
		r, say := io.Pipe()
		req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url, r)
		res, err := w.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		in := bufio.NewReader(res.Body)
		for i := range 20 {
			fmt.Fprintln(say, i)
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			want(t, "line", line, fmt.Sprintf("echo %d\n", i))
		}
		say.Close()
		if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
			t.Errorf("end: %q, %v", rest, err)
		}
	})
}

func TestHundredStreamsAtOnce(t *testing.T) {
	const n = 100
	var together sync.WaitGroup
	together.Add(n)
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/first" {
			return
		}
		together.Done()
		together.Wait() // all of them are here
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s", r.URL.Path, b)
	}
	for _, to := range []upstream.Protocol{upstream.HTTP, upstream.H2C} {
		if to == upstream.H2C {
			together.Add(n)
		}
		w := newWay(t, server, true, to, nil)
		w.do(t, "GET", "/first", "") // which makes the connection
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				content := strings.Repeat(fmt.Sprint(i), 10*i)
				a := w.do(t, "POST", fmt.Sprint("/", i), content)
				if a.text != fmt.Sprintf("/%d %s", i, content) {
					t.Errorf("%d: %.40q", i, a.text)
				}
			})
		}
		all.Wait()
		want(t, "connections", w.p.Status().Listeners[0].Connections, 1)
	}
}

// gone is a server that begins an answer if the path says so, and tells when its client has gone.
func goneServer(arrived, gone chan<- string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/middle":
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		case "/upload":
			arrived <- r.URL.Path
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			gone <- r.URL.Path
			return
		}
		arrived <- r.URL.Path
		<-r.Context().Done()
		gone <- r.URL.Path
	}
}

// A client that takes its request back is noticed although neither side says a word.
func TestCancelledStreamIsCancelledAtTheServer(t *testing.T) {
	for _, to := range []upstream.Protocol{upstream.HTTP, upstream.H2C} {
		t.Run(string(to), func(t *testing.T) {
			arrived, gone := make(chan string, 1), make(chan string, 1)
			w := newWay(t, goneServer(arrived, gone), true, to, nil)
			for _, path := range []string{"/before", "/middle", "/upload"} {
				ctx, cancel := context.WithCancel(t.Context())
				var content io.Reader
				if path == "/upload" {
					r, sent := io.Pipe()
					defer sent.Close()
					content = r
				}
				req, _ := http.NewRequestWithContext(ctx, "POST", w.url+path, content)
				failed := make(chan error, 1)
				go func() {
					res, err := w.client.Do(req)
					if err == nil {
						_, err = io.ReadAll(res.Body)
						res.Body.Close()
					}
					failed <- err
				}()
				<-arrived
				if path == "/middle" {
					eventually(t, "the answer's beginning", func() bool { return w.p.Status().Services[0].Servers[0].Active == 1 })
				}
				cancel()
				want(t, "gone", <-gone, path)
				if err := <-failed; err == nil {
					t.Error("the answer looks whole")
				}
				w.logged(t, `"path":"`+path+`"`, `"status":499`)
			}
			eventually(t, "no request", func() bool { return w.p.Status().Services[0].Servers[0].Active == 0 })
			want(t, "the connection goes on", w.p.Status().Listeners[0].Connections, 1)
		})
	}
}

func TestBrokenAnswerResetsTheStream(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "1000")
		}
		io.WriteString(w, "not all")
		w.(http.Flusher).Flush()
		if r.URL.Path != "/well" {
			panic(http.ErrAbortHandler)
		}
	}
	for _, to := range []upstream.Protocol{upstream.HTTP, upstream.H2C} {
		w := newWay(t, server, true, to, nil)
		for _, path := range []string{"/length", "/chunks"} {
			a := w.do(t, "GET", path, "")
			if a.err == nil || !strings.Contains(a.err.Error(), "INTERNAL_ERROR") {
				t.Errorf("%s to %s: %v", path, to, a.err)
			}
			want(t, "content", a.text, "not all")
		}
		want(t, "another stream", w.do(t, "GET", "/well", "").text, "not all")
		want(t, "connections", w.p.Status().Listeners[0].Connections, 1)
	}
}

// A socket that closes says GOAWAY: running requests end, new ones find another way, and none is lost.
func TestGracefulCloseLosesNothing(t *testing.T) {
	arrived, release := make(chan struct{}, 50), make(chan struct{})
	w := h2ToHTTP1(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun ")
		w.(http.Flusher).Flush()
		arrived <- struct{}{}
		<-release
		io.WriteString(w, "finished")
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			a := w.do(t, "GET", "/", "")
			if a.text != "begun finished" || a.err != nil {
				t.Errorf("%q, %v", a.text, a.err)
			}
		})
	}
	for range 50 {
		<-arrived
	}
	w.config.Listeners = nil
	w.apply(w.config)
	eventually(t, "a closed socket", func() bool {
		c, err := net.Dial("tcp", w.at)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	all.Wait()
	eventually(t, "no connection", func() bool { return w.p.gate.conns.Load() == 0 })
}

func TestStickyOverHTTP2(t *testing.T) {
	w := newWay(t, nil, true, upstream.HTTP, func(c *Config) {
		s := service(named(t, "a"), named(t, "b"))
		s.Sticky = &upstream.StickyConfig{Cookie: "srv"}
		c.Services["web"] = s
	})
	first := w.do(t, "GET", "/", "")
	if len(first.Cookies()) != 1 || !first.Cookies()[0].Secure {
		t.Fatalf("cookies: %v", first.Cookies())
	}
	for range 5 {
		again := w.do(t, "GET", "/", "", "Cookie", "other=1", "Cookie", "srv="+first.Cookies()[0].Value)
		want(t, "server", again.text, first.text)
		want(t, "cookies", len(again.Cookies()), 0)
	}
}

func TestPriorKnowledge(t *testing.T) {
	r := start(t)
	config, at := r.config(backend(t, dump))
	r.apply(config)
	preface := http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	text := raw(t, at, preface)
	if !strings.HasPrefix(text, "HTTP/1.1 505 ") || !strings.Contains(text, "\r\nConnection: close\r\n") {
		t.Errorf("not asked for: %q", text)
	}
	l := config.Listeners["http"]
	l.H2C = true
	config.Listeners["http"] = l
	r.apply(config)
	c := client(t, false)
	c.Transport.(*http.Transport).Protocols = new(http.Protocols)
	c.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	res, err := c.Post("http://"+at, "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	res.Body.Close()
	want(t, "protocol", res.Proto, "HTTP/2.0")
	want(t, "scheme", field(string(b), "X-Forwarded-Proto"), "http")
	status, _ := get(t, client(t, false), "http://"+at)
	want(t, "HTTP/1.1 beside it", status, 200)
	// However the preface is cut, but not behind a request of HTTP/1.1.
	conn := dial(t, at)
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	for i := range preface {
		io.WriteString(conn, preface[i:i+1])
	}
	f, err := http2.NewFramer(io.Discard, conn).ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	want(t, "first frame", f.Header().Type, http2.FrameSettings)
	text = raw(t, at, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"+preface)
	want(t, "behind a request", strings.Contains(text, "HTTP/1.1 505 "), true)
}

// tiny is a client whose windows let through a few bytes at a time.
func TestTinyWindows(t *testing.T) {
	const size = 300_000
	var received atomic.Int64
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			n, _ := io.Copy(io.Discard, r.Body)
			received.Store(n)
		}
		io.WriteString(w, prose(size))
	}
	for _, to := range []upstream.Protocol{upstream.HTTP, upstream.H2C} {
		w := newWay(t, server, true, to, nil)
		c := newFrames(t, w.at, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
		c.open(1, false, ":method", "POST", ":path", "/", ":scheme", "https", ":authority", "a.test")
		sent := 0
		got := 0
		var text strings.Builder
		for ended := false; !ended; {
			for sent < size && c.window > 0 && c.streamWindow > 0 {
				n := min(size-sent, c.window, c.streamWindow, 777)
				c.data(1, prose(size)[sent:sent+n], sent+n == size)
				sent += n
			}
			switch f := c.read().(type) {
			case *http2.DataFrame:
				text.Write(f.Data())
				if n := len(f.Data()); n > 0 {
					got += n
					c.WriteWindowUpdate(0, uint32(n))
					c.WriteWindowUpdate(1, uint32(n))
				}
				ended = f.StreamEnded()
			case *http2.RSTStreamFrame:
				t.Fatalf("reset: %v, sent %d, got %d", f.ErrCode, sent, got)
			}
		}
		want(t, "received", received.Load(), size)
		want(t, "answer", text.String() == prose(size), true)
	}
}
