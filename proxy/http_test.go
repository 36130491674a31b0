package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
)

// dump answers with what the server got.
func dump(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s %s\nHost: %s\n", r.Method, r.RequestURI, r.Proto, r.Host)
	r.Header.Write(w)
}

// exchange sends raw bytes and returns the answer's head and body, as far as it is there when the server closes.
func raw(t *testing.T, at, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(c, request)
	b, _ := io.ReadAll(c)
	return string(b)
}

func TestTargetAndHeadersArriveAsSent(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, dump))
	for _, target := range []string{"/", "/a%2Fb/../c?x=1&y=%zz", "/a?", "//b//c", "/%7Euser/|{}^`", "http://shop.test/abs?q", "http://shop.test"} {
		got := raw(t, at, "GET "+target+" HTTP/1.1\r\nHost: Shop.Test:80\r\nX-Mine: 1\r\nConnection: close\r\n\r\n")
		wantTarget := strings.TrimPrefix(target, "http://shop.test")
		if wantTarget == "" {
			wantTarget = "/"
		}
		if !strings.Contains(got, "GET "+wantTarget+" HTTP/1.1\n") {
			t.Errorf("%s: server got %q", target, got)
		}
		host := "Host: Shop.Test:80\n"
		if strings.HasPrefix(target, "http:") {
			host = "Host: shop.test\n" // RFC 9112 §3.2.2: the target's authority counts
		}
		if !strings.Contains(got, host) || !strings.Contains(got, "X-Mine: 1\r\n") {
			t.Errorf("%s: server got %q", target, got)
		}
		if strings.Contains(got, "User-Agent") || strings.Contains(got, "Accept-Encoding") {
			t.Errorf("%s: invented fields: %q", target, got)
		}
	}
}

func TestClientsCannotSpoof(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, dump))
	got := raw(t, at, "GET / HTTP/1.1\r\nHost: a.test\r\n"+
		"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n"+
		"Forwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: mine\r\nX_Forwarded_For: 6.6.6.6\r\n"+
		"Keep-Alive: x\r\nProxy-Connection: x\r\nX-Hop: x\r\nTE: trailers, gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"+
		"Connection: close, X-Hop, Upgrade, X-Forwarded-For\r\n\r\n")
	for _, bad := range []string{"6.6.6.6", "evil", "mine", "Keep-Alive", "Proxy-Connection", "X-Hop", "gzip", "h2c", "Proto: https"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q got through:\n%s", bad, got)
		}
	}
	port := at[strings.LastIndex(at, ":")+1:]
	for _, good := range []string{"X-Forwarded-For: 127.0.0.1\r", "X-Forwarded-Host: a.test\r", "X-Forwarded-Proto: http\r",
		"X-Forwarded-Port: " + port + "\r", "Te: trailers\r"} {
		if !strings.Contains(got, good) {
			t.Errorf("%q is missing:\n%s", good, got)
		}
	}
	head, body, _ := strings.Cut(got, "\r\n\r\n")
	id := field(head, "X-Request-Id")
	if len(id) < 16 || field(body, "X-Request-Id") != id {
		t.Errorf("request id: client got %q, server %q", id, field(body, "X-Request-Id"))
	}
	if strings.Contains(got, "Forwarded-For: 127.0.0.1, ") {
		t.Error("appended to what the client said")
	}
}

func field(text, name string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(line, name+": "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func TestRefusals(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, dump))
	for _, c := range []struct {
		request string
		status  string
	}{
		{"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n", "405"},
		{"TRACE / HTTP/1.1\r\nHost: a.test\r\n", "405"},
		{"GET foo:bar HTTP/1.1\r\nHost: a.test\r\n", "400"},
		{"GET * HTTP/1.1\r\nHost: a.test\r\n", "400"},
		{"GET /public#/../admin HTTP/1.1\r\nHost: a.test\r\n", "400"},
		{"GET / HTTP/1.1\r\n", "400"},
		{"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n", "431"},
	} {
		got := raw(t, at, c.request+"Connection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 "+c.status+" ") {
			t.Errorf("%.40q: got %.100q, want %s", c.request, got, c.status)
		}
	}
}

func TestErrorPages(t *testing.T) {
	reset := rawBackend(t, func(c net.Conn) {
		io.ReadAtLeast(c, make([]byte, 1), 1)
		c.(*net.TCPConn).SetLinger(0)
	})
	garbage := rawBackend(t, func(c net.Conn) {
		io.ReadAtLeast(c, make([]byte, 1), 1)
		io.WriteString(c, "SSH-2.0-OpenSSH\r\n\r\n")
	})
	hang := rawBackend(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	closing := rawBackend(t, func(c net.Conn) { io.ReadAtLeast(c, make([]byte, 1), 1) })
	zero := 0
	for _, c := range []struct {
		name    string
		service upstream.Config
		status  int
	}{
		{"refused", service(deadAddress(t)), 502},
		{"reset", service(reset), 502},
		{"closed", service(closing), 502},
		{"garbage", service(garbage), 502},
		{"hang", service(hang), 504},
		{"weight 0", upstream.Config{Servers: []upstream.ServerConfig{{Address: hang, Weight: &zero}}}, 503},
		{"down", upstream.Config{Servers: []upstream.ServerConfig{{Address: garbage}}, Health: &health.Config{}}, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := start(t, func(o *Options) {
				if c.name == "hang" {
					o.Timeouts.Answer = 200 * time.Millisecond
				}
			})
			config, at := r.config()
			config.Services["web"] = c.service
			r.apply(config)
			res, err := client(t, false).Post("http://"+at+"/x", "text/plain", strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			body := string(b)
			want(t, "status", res.StatusCode, c.status)
			id := res.Header.Get("X-Request-Id")
			if !strings.HasPrefix(body, fmt.Sprintf("%d %s: ", c.status, http.StatusText(c.status))) || !strings.HasSuffix(body, "\nrequest id: "+id+"\n") || id == "" {
				t.Errorf("page: %q", body)
			}
			want(t, "type", res.Header.Get("Content-Type"), "text/plain; charset=utf-8")
			want(t, "retry", res.Header.Get("Retry-After") != "", c.status == 503)
			if strings.Contains(body, "127.") || strings.Contains(fmt.Sprint(res.Header), "127.") {
				t.Errorf("an inner address shows: %q %v", body, res.Header)
			}
			eventually(t, "access log", func() bool { return strings.Contains(r.access.String(), id) })
			if !strings.Contains(r.access.String(), fmt.Sprintf(`"status":%d`, c.status)) {
				t.Errorf("access log: %s", r.access)
			}
		})
	}
}

func TestAccessLog(t *testing.T) {
	r := start(t)
	server := named(t, "hello")
	config, at := r.config(server)
	r.apply(config)
	get(t, client(t, false), "http://"+at+"/a/b?secret=1")
	eventually(t, "a line", func() bool { return strings.Contains(r.access.String(), "\n") })
	line := r.access.String()
	for _, s := range []string{`"msg":"request"`, `"client":"127.0.0.1"`, `"method":"GET"`, `"host":"` + at + `"`, `"path":"/a/b"`, `"protocol":"HTTP/1.1"`,
		`"status":200`, `"bytes":5`, `"duration_ms":`, `"service":"web"`, `"server":"` + server + `"`, `"listener":"http"`, `"id":"`} {
		if !strings.Contains(line, s) {
			t.Errorf("%s is missing in %s", s, line)
		}
	}
	if strings.Contains(line, "secret") {
		t.Errorf("the query is logged: %s", line)
	}
	config.AccessLog = 0
	r.apply(config)
	get(t, client(t, false), "http://"+at+"/quiet")
	config.AccessLog = 1
	r.apply(config)
	get(t, client(t, false), "http://"+at+"/loud")
	eventually(t, "the loud line", func() bool { return strings.Contains(r.access.String(), "/loud") })
	if strings.Contains(r.access.String(), "/quiet") {
		t.Error("logged while off")
	}
}

func TestClientGoneIsLoggedAs499(t *testing.T) {
	r := start(t)
	arrived := make(chan struct{})
	gone := make(chan struct{})
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(gone)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+at, nil)
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := client(t, false).Do(req); err == nil {
		t.Fatal("no error")
	}
	<-gone // the server is told
	eventually(t, "499 in the log", func() bool { return strings.Contains(r.access.String(), `"status":499`) })
}

func TestRetryTriesOtherServersButNeverResends(t *testing.T) {
	t.Run("connect", func(t *testing.T) {
		r := start(t)
		dead := []string{deadAddress(t), deadAddress(t), deadAddress(t)}
		at := r.serve(append(dead, named(t, "alive"))...)
		c := client(t, false)
		for range 8 {
			res, err := c.Post("http://"+at, "text/plain", strings.NewReader("a body that has to arrive"))
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			want(t, "status", res.StatusCode, 200)
		}
	})
	t.Run("sent", func(t *testing.T) {
		r := start(t)
		var hits atomic.Int32
		resetting := func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			hits.Add(1)
		}
		at := r.serve(rawBackend(t, resetting), rawBackend(t, resetting))
		res, err := client(t, false).Post("http://"+at, "text/plain", strings.NewReader("once"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		want(t, "status", res.StatusCode, 502)
		want(t, "times sent", hits.Load(), 1)
	})
}

func TestWebSocket(t *testing.T) {
	r := start(t)
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	ended := make(chan struct{}, 2)
	server := backend(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := up.Upgrade(w, r, http.Header{"X-Extra": {"1"}})
		if err != nil {
			return
		}
		defer func() { ended <- struct{}{} }()
		defer c.Close()
		for {
			kind, m, err := c.ReadMessage()
			if err != nil {
				return
			}
			c.WriteMessage(kind, append([]byte("echo "), m...))
		}
	})
	config, at := r.config(server)
	secure := fmt.Sprintf(":%d", r.port())
	config.Listeners["https"] = ListenerConfig{Address: secure, TLS: true}
	r.apply(config)
	dialer := websocket.Dialer{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	for _, url := range []string{"ws://" + at + "/ws", "wss://" + r.local.String() + secure + "/ws"} {
		c, res, err := dialer.Dial(url, nil)
		if err != nil {
			t.Fatal(err)
		}
		want(t, "status", res.StatusCode, 101)
		want(t, "extra field", res.Header.Get("X-Extra"), "1")
		for i := range 10 {
			if err := c.WriteMessage(websocket.TextMessage, fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			_, m, err := c.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			want(t, "echo", string(m), fmt.Sprint("echo ", i))
			r.apply(config) // no apply disturbs it
		}
		if n := r.p.Status().Services[0].Servers[0].Active; n != 1 {
			t.Errorf("active: %d", n)
		}
		c.Close()
		<-ended
		eventually(t, "release", func() bool {
			s := r.p.Status()
			return s.Services[0].Servers[0].Active == 0 && s.Listeners[0].Connections+s.Listeners[1].Connections == 0
		})
	}
}

func TestBrokenAnswerBreaksOffAtTheClient(t *testing.T) {
	r := start(t)
	at := r.serve(rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	}))
	res, err := client(t, false).Get("http://" + at)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("a cut answer looks whole: %q", b)
	}
}

func TestContentTypeIsNotInvented(t *testing.T) {
	r := start(t)
	at := r.serve(rawBackend(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Keep: 1\r\n\r\n<html>")
	}))
	res, err := client(t, false).Get("http://" + at)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if v, ok := res.Header["Content-Type"]; ok {
		t.Errorf("content type %v", v)
	}
	want(t, "hop by hop", res.Header.Get("X-Hop"), "")
	want(t, "end to end", res.Header.Get("X-Keep"), "1")
	want(t, "connection", res.Close, false)
}

func TestHeadAndNoContent(t *testing.T) {
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(304)
		case "/204":
			w.WriteHeader(204)
		default:
			w.Header().Set("Content-Length", "1234")
		}
	}))
	c := client(t, false)
	res, err := c.Head("http://" + at)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "length of HEAD", res.ContentLength, 1234)
	for _, code := range []int{204, 304} {
		status, body := get(t, c, fmt.Sprintf("http://%s/%d", at, code))
		want(t, "status", status, code)
		want(t, "body", body, "")
	}
}
