package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestStreamingIsImmediate(t *testing.T) {
	for _, length := range []string{"", "9"} {
		t.Run("length "+length, func(t *testing.T) {
			r := start(t)
			next := make(chan struct{})
			at := r.serve(backend(t, func(w http.ResponseWriter, _ *http.Request) {
				if length != "" {
					w.Header().Set("Content-Length", length)
				}
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				for range 3 {
					<-next
					io.WriteString(w, "abc")
					w.(http.Flusher).Flush()
				}
			}))
			// The head has to be here before the first byte of the body is written, and each part before the next.
			res, err := client(t, false).Get("http://" + at)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			buf := make([]byte, 3)
			for range 3 {
				next <- struct{}{}
				if _, err := io.ReadFull(res.Body, buf); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestBothDirectionsAtOnce(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		buf := make([]byte, 64)
		for {
			n, err := r.Body.Read(buf)
			w.Write(buf[:n])
			w.(http.Flusher).Flush()
			if err != nil {
				return
			}
		}
	}
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			r := start(t)
			config, at := r.config(backend(t, echo))
			l := config.Listeners["http"]
			l.TLS = true
			config.Listeners["http"] = l
			r.apply(config)
			pr, pw := io.Pipe()
			req, _ := http.NewRequest("POST", "https://"+at, pr)
			res, err := client(t, h2).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if h2 {
				want(t, "protocol", res.Proto, "HTTP/2.0")
			}
			buf := make([]byte, 5)
			for i := range 20 {
				fmt.Fprintf(pw, "%05d", i)
				if _, err := io.ReadFull(res.Body, buf); err != nil {
					t.Fatal(err)
				}
				want(t, "echo", string(buf), fmt.Sprintf("%05d", i))
			}
			pw.Close()
			if rest, err := io.ReadAll(res.Body); err != nil || len(rest) > 0 {
				t.Errorf("end: %q %v", rest, err)
			}
		})
	}
}

func TestLargeBodiesInBoundedMemory(t *testing.T) {
	const size = 100 << 20
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
			return
		}
		io.Copy(w, io.LimitReader(zeros{}, size))
	}))
	var peak atomic.Uint64
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	c := client(t, false)
	req, _ := http.NewRequest("PUT", "http://"+at, io.LimitReader(zeros{}, size))
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	want(t, "uploaded", string(b), fmt.Sprint(size))
	res, err = c.Get("http://" + at)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, res.Body)
	if n != size || err != nil {
		t.Errorf("downloaded %d: %v", n, err)
	}
	close(stop)
	<-done
	if got := peak.Load(); got > 40<<20 {
		t.Errorf("heap grew to %d MB", got>>20)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTrailersBothWays(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.Copy(w, r.Body)
		w.Header().Set("X-Sum", "got "+r.Trailer.Get("X-Up"))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}))
	req, _ := http.NewRequest("POST", "http://"+at, io.MultiReader(strings.NewReader("data")))
	req.Trailer = http.Header{"X-Up": {"up"}}
	res, err := client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	want(t, "body", string(b), "data")
	want(t, "announced trailer", res.Trailer.Get("X-Sum"), "got up")
	want(t, "other trailer", res.Trailer.Get("X-Late"), "late")
}

func TestInformationalAnswers(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.Write([]byte("x"))
	}))
	var hints []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
		hints = append(hints, fmt.Sprint(code, h.Get("Link")))
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+at, nil)
	res, err := client(t, false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	want(t, "hints", fmt.Sprint(hints), "[103</a.css>; rel=preload]")
	want(t, "final Link", res.Header.Get("Link"), "")
}

func TestExpectContinue(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		io.Copy(w, r.Body)
	}))
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	br := bufio.NewReader(c)
	io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	line, _ := br.ReadString('\n')
	want(t, "interim", line, "HTTP/1.1 100 Continue\r\n")
	br.ReadString('\n')
	io.WriteString(c, "body")
	res, err := http.ReadResponse(br, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	want(t, "body", string(b), "body")

	io.WriteString(c, "PUT /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	line, _ = br.ReadString('\n')
	want(t, "refusal without asking for the body", line, "HTTP/1.1 417 Expectation Failed\r\n")
}

func TestSlowBodyIsRefused(t *testing.T) {
	r := start(t, func(o *Options) { o.Timeouts.Body = 100 * time.Millisecond })
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }))
	got := raw(t, at, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
	if !strings.HasPrefix(got, "HTTP/1.1 408 ") {
		t.Errorf("got %q", got)
	}
}

func TestUnreadBodyIsNeverTakenForARequest(t *testing.T) {
	r := start(t)
	var requests atomic.Int32
	config, at := r.config(rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c)) // and not the body
		requests.Add(1)
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, c)
	}))
	config.Services["dead"] = service(deadAddress(t))
	config.Routes = []RouteConfig{{Path: "/early", Service: "web"}, {Path: "/dead", Service: "dead"}}
	r.apply(config)
	for path, status := range map[string]string{"/early": "413", "/dead": "502"} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", path)
		br := bufio.NewReader(c)
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(path, err)
		}
		io.Copy(io.Discard, res.Body)
		want(t, path, res.Status[:3], status)
		want(t, path+" ends the connection", res.Close, true)
		// The rest comes, after whatever time was given for it, and looks like a request.
		io.WriteString(c, strings.Repeat("GET /early HTTP/1.1\r\nHost: a\r\n\r\n", 40))
		rest, _ := io.ReadAll(br)
		want(t, path+": further answers", string(rest), "")
	}
	want(t, "requests at the server", requests.Load(), 1)
}

func TestStalledClientIsLetGoAfterAnEarlyAnswer(t *testing.T) {
	t.Parallel()
	r := start(t)
	at := r.serve(rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, c)
	}))
	for _, framing := range []string{"Content-Length: 1000\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"} {
		got := raw(t, at, "POST / HTTP/1.1\r\nHost: a\r\n"+framing)
		if !strings.HasPrefix(got, "HTTP/1.1 413 ") {
			t.Errorf("got %q", got)
		}
	}
	eventually(t, "closed connections", func() bool { return r.p.Status().Listeners[0].Connections == 0 })
}

func TestSlowAnswerOutlivesTheBodysDeadline(t *testing.T) {
	r := start(t, func(o *Options) { o.Timeouts.Body = 50 * time.Millisecond })
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select { // thrice the deadline, unless the request is cut
		case <-time.After(150 * time.Millisecond):
		case <-r.Context().Done():
		}
		io.WriteString(w, "done")
	}))
	res, err := client(t, false).Post("http://"+at, "text/plain", bytes.NewReader(make([]byte, 1000)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	want(t, "answer", string(b), "done")
	want(t, "error", err, nil)
}
