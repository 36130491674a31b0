package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// secure adds a listener with TLS to a rig that serves, and returns its address.
func (r *rig) secure(c *Config) string {
	port := r.port()
	c.Listeners["https"] = ListenerConfig{Address: fmt.Sprintf(":%d", port), TLS: true}
	r.apply(*c)
	return fmt.Sprintf("%s:%d", r.local, port)
}

// browseTLS is browse over TLS.
func browseTLS(t *testing.T, at string) *browser {
	b := browse(t, at)
	c := tls.Client(b.c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	b.c, b.in = c, bufio.NewReader(c)
	return b
}

// echoes answers with the path and the content of each request.
func echoes(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%s %s", r.URL.Path, content)
}

// bothWays runs a test over a plain connection and over TLS.
func bothWays(t *testing.T, h http.HandlerFunc, test func(t *testing.T, open func(*testing.T) *browser), change ...func(*Options)) {
	r := start(t, change...)
	config, plain := r.config(backend(t, h))
	secure := r.secure(&config)
	t.Run("plain", func(t *testing.T) { test(t, func(t *testing.T) *browser { return browse(t, plain) }) })
	t.Run("TLS", func(t *testing.T) { test(t, func(t *testing.T) *browser { return browseTLS(t, secure) }) })
}

func TestPipelining(t *testing.T) {
	const n = 100
	var requests strings.Builder
	for i := range n {
		switch i % 5 {
		case 1:
			fmt.Fprintf(&requests, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", i, i*10, strings.Repeat("c", i*10))
		case 2:
			fmt.Fprintf(&requests, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX: y\r\n\r\n", i, i*10, strings.Repeat("c", i*10))
		case 3:
			fmt.Fprintf(&requests, "POST /%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s", i, i*10, strings.Repeat("c", i*10))
		default:
			fmt.Fprintf(&requests, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		}
	}
	bothWays(t, echoes, func(t *testing.T, open func(*testing.T) *browser) {
		for _, step := range []int{1 << 20, 1, 3, 61, 1000, 16 << 10} {
			b := open(t)
			go func() {
				for rest := requests.String(); rest != ""; {
					k := min(step, len(rest))
					if _, err := io.WriteString(b.c, rest[:k]); err != nil {
						return
					}
					rest = rest[k:]
				}
			}()
			for i := range n {
				content := ""
				if k := i % 5; k >= 1 && k <= 3 {
					content = strings.Repeat("c", i*10)
				}
				res, got, err := b.read("POST")
				for err == nil && res.StatusCode == 100 { // sent where content had not come yet
					res, got, err = b.read("POST")
				}
				if err != nil || res.Close || got != fmt.Sprintf("/%d %s", i, content) {
					t.Fatalf("steps of %d, answer %d: %.100q, %v", step, i, got, err)
				}
			}
		}
	})
}

// Requests whose content is carried in pieces end no connection, however fast they are answered.
func TestConnectionGoesOnAfterContent(t *testing.T) {
	bothWays(t, echoes, func(t *testing.T, open func(*testing.T) *browser) {
		b := open(t)
		large := strings.Repeat("c", 20<<10)
		for i := range 300 {
			framing := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large)
			if i%2 == 0 {
				framing = fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(large), large)
			}
			res, body, err := b.do("POST", "/ HTTP/1.1\r\nHost: a\r\n"+framing)
			if err != nil || res.Close || len(body) != len(large)+2 {
				t.Fatalf("%d: %v, %v", i, res, err)
			}
		}
	})
}

// A client that has closed its side gets its answer.
func TestHalfClose(t *testing.T) {
	closed := make(chan struct{})
	slow := func(w http.ResponseWriter, r *http.Request) {
		<-closed
		echoes(w, r)
	}
	bothWays(t, slow, func(t *testing.T, open func(*testing.T) *browser) {
		b := open(t)
		io.WriteString(b.c, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
		if err := b.c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		closed <- struct{}{}
		if _, body, err := b.read("POST"); body != "/x hello" || err != nil {
			t.Errorf("got %q, %v", body, err)
		}
		b.ends()
	}, func(o *Options) { o.Timeouts.HalfClosed = time.Hour })
}

// A client that has closed its side, and does not get an answer soon, counts as gone; one that resets its connection has gone.
func TestServerIsCancelled(t *testing.T) {
	for _, way := range []string{"half-closed", "reset"} {
		t.Run(way, func(t *testing.T) {
			r := start(t, func(o *Options) { o.Timeouts.HalfClosed = time.Millisecond })
			arrived, cancelled := make(chan struct{}), make(chan struct{})
			at := r.serve(backend(t, func(_ http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-r.Context().Done()
				close(cancelled)
			}))
			b := browse(t, at)
			io.WriteString(b.c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			<-arrived
			if way == "reset" {
				b.c.(*net.TCPConn).SetLinger(0)
				b.c.Close()
			} else {
				b.c.(*net.TCPConn).CloseWrite()
			}
			<-cancelled
			eventually(t, "499 in the log", func() bool { return strings.Contains(r.access.String(), `"status":499`) })
			eventually(t, "closed connections", func() bool { return r.p.Status().Listeners[0].Connections == 0 })
		})
	}
}

// A server may answer before it has read the request, and the client is to get that, whether the server reads on or closes.
func TestEarlyAnswerToALargeUpload(t *testing.T) {
	for _, reads := range []bool{true, false} {
		t.Run(fmt.Sprintf("reads=%v", reads), func(t *testing.T) {
			r := start(t)
			config, plain := r.config(rawBackend(t, func(c net.Conn) {
				http.ReadRequest(bufio.NewReader(c))
				io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge")
				if reads {
					io.Copy(io.Discard, c)
				}
			}))
			secure := r.secure(&config)
			for _, open := range []func() *browser{func() *browser { return browse(t, plain) }, func() *browser { return browseTLS(t, secure) }} {
				for _, framing := range []string{"Content-Length: 1000000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n3b9aca00\r\n"} {
					b := open()
					io.WriteString(b.c, "POST / HTTP/1.1\r\nHost: a\r\n"+framing)
					stopped := make(chan struct{})
					go func() {
						defer close(stopped)
						io.Copy(struct{ io.Writer }{b.c}, zeros{}) // until the proxy takes no more
					}()
					res, body, err := b.read("POST")
					if err != nil || res.StatusCode != 413 || body != "large" || !res.Close {
						t.Errorf("got %v %q, %v", res, body, err)
					}
					b.c.Close()
					<-stopped
				}
			}
		})
	}
}

// A server that neither takes a request's content nor answers is given up.
func TestServerThatTakesNoContent(t *testing.T) {
	r := start(t, func(o *Options) { o.Timeouts.Body, o.Timeouts.Answer = 300*time.Millisecond, 300*time.Millisecond })
	held := make(chan struct{})
	at := r.serve(rawBackend(t, func(c net.Conn) { <-held }))
	defer close(held)
	b := browse(t, at)
	io.WriteString(b.c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
	go io.Copy(struct{ io.Writer }{b.c}, zeros{})
	if res, _, err := b.read("POST"); err != nil || res.StatusCode != 504 {
		t.Errorf("got %v, %v", res, err)
	}
}

// A server that says no HTTP while it gets the request has failed, and not the client.
func TestRubbishInTheMiddleOfAnUpload(t *testing.T) {
	r := start(t)
	config, plain := r.config(rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "rubbish, and more rubbish\r\n\r\n")
		io.Copy(io.Discard, c)
	}))
	secure := r.secure(&config)
	for _, b := range []*browser{browse(t, plain), browseTLS(t, secure)} {
		io.WriteString(b.c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		if res, body, err := b.read("POST"); err != nil || res.StatusCode != 502 || !res.Close {
			t.Errorf("got %v %q, %v", res, body, err)
		}
		b.ends()
	}
	content, more := io.Pipe()
	defer more.Close()
	go io.WriteString(more, "hello")
	res, err := client(t, true).Post("https://"+secure, "text/plain", content)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	want(t, "over HTTP/2", res.StatusCode, 502)
}

// A server that closes new connections, or speaks first, is asked once.
func TestServerThatDoesNotWaitToBeAsked(t *testing.T) {
	for _, greeting := range []string{"", "SSH-2.0-OpenSSH\r\n"} {
		r := start(t)
		var conns atomic.Int32
		at := r.serve(rawBackend(t, func(c net.Conn) {
			conns.Add(1)
			io.WriteString(c, greeting)
		}))
		for n := range int32(50) {
			b := browse(t, at)
			res, _, err := b.do([]string{"GET", "POST"}[n%2], "/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
			if err != nil || res.StatusCode != 502 {
				t.Fatalf("%q: got %v, %v", greeting, res, err)
			}
			b.c.Close()
			if conns.Load() > n+1 {
				t.Fatalf("%q: %d connections for %d requests", greeting, conns.Load(), n+1)
			}
		}
	}
}

// A client that breaks off, or breaks the rules, in the middle of its content while the answer comes: the server is told.
func TestContentBreaksOffWhileTheAnswerComes(t *testing.T) {
	for _, end := range []string{"", "rubbish\r\n"} {
		t.Run(fmt.Sprintf("%q", end), func(t *testing.T) {
			r := start(t)
			broken := make(chan error, 1)
			at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).EnableFullDuplex()
				w.WriteHeader(200)
				w.(http.Flusher).Flush()
				_, err := io.Copy(w, r.Body)
				broken <- err
			}))
			b := browse(t, at)
			io.WriteString(b.c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
			res, err := http.ReadResponse(b.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if end == "" {
				b.c.(*net.TCPConn).CloseWrite()
			} else {
				io.WriteString(b.c, end)
			}
			if err := <-broken; err == nil {
				t.Error("the server takes the content for whole")
			}
			io.Copy(io.Discard, res.Body)
		})
	}
}

func TestHTTP10Clients(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chunked" {
			w.(http.Flusher).Flush()
		}
		io.WriteString(w, "hello")
	}))
	for _, c := range []struct {
		path, fields    string
		method          string
		length          int64
		closes          bool
		contentOfAnswer string
	}{
		{"/", "", "GET", 5, true, "hello"},
		{"/", "Connection: keep-alive\r\n", "GET", 5, false, "hello"},
		{"/", "Connection: keep-alive, close\r\n", "GET", 5, true, "hello"},
		{"/chunked", "", "GET", -1, true, "hello"},
		{"/chunked", "Connection: keep-alive\r\n", "GET", -1, true, "hello"},
		{"/", "Connection: keep-alive\r\n", "HEAD", 5, false, ""},
		{"/chunked", "Connection: keep-alive\r\nTE: trailers\r\n", "HEAD", -1, false, ""},
	} {
		b := browse(t, at)
		res, body, err := b.do(c.method, c.path+" HTTP/1.0\r\n"+c.fields+"\r\n")
		if err != nil || body != c.contentOfAnswer || res.ContentLength != c.length || res.Close != c.closes || (res.Header.Get("Connection") == "keep-alive") == c.closes || res.TransferEncoding != nil {
			t.Errorf("%+v: got %v, %q, %v", c, res, body, err)
			continue
		}
		if c.closes {
			b.ends()
		} else if _, body, err := b.do("GET", "/ HTTP/1.1\r\nHost: a\r\n\r\n"); body != "hello" || err != nil {
			t.Errorf("%+v: the next answer is %q, %v", c, body, err)
		}
	}
}
