package health

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestHTTP1(t *testing.T) {
	ok := func(content string) string {
		return answer(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content), true)
	}
	big := strings.Repeat("x", maxContent-2)
	for _, tt := range []struct {
		name, address string
		config        Config
		want          string
	}{
		{"ok", answer(t, "HTTP/1.1 200 OK\r\n\r\n", false), Config{}, ""},
		{"HTTP/1.0", answer(t, "HTTP/1.0 399 Odd\r\n\r\n", false), Config{}, ""},
		{"interim", answer(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", false), Config{}, ""},
		{"endless interim", serve(t, func(c net.Conn) { forever(c, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 0) }), Config{}, "head is longer than 64 KiB"},
		{"another protocol", answer(t, "HTTP/1.1 101 Switching Protocols\r\n\r\n", true), Config{}, "answered 101 Switching Protocols"},
		{"404", answer(t, "HTTP/1.1 404 Not here\x1b[31m\r\n\r\n", false), Config{}, "answered 404 Not Found"},
		{"400", answer(t, "HTTP/1.1 400 Bad Request\r\n\r\n", false), Config{}, "answered 400 Bad Request"},
		{"a status without a name", answer(t, "HTTP/1.1 599\r\n\r\n", false), Config{}, "answered 599"},
		{"one status", answer(t, "HTTP/1.1 204 No Content\r\n\r\n", false), Config{Status: []string{"200", "204"}}, ""},
		{"not that status", answer(t, "HTTP/1.1 201 Created\r\n\r\n", false), Config{Status: []string{"200", "204"}}, "answered 201 Created"},
		{"a range", answer(t, "HTTP/1.1 299 Odd\r\n\r\n", false), Config{Status: []string{"404", "200-299"}}, ""},
		{"outside the range", answer(t, "HTTP/1.1 302 Found\r\n\r\n", false), Config{Status: []string{"404", "200-299"}}, "answered 302 Found"},
		{"an error that is wanted", answer(t, "HTTP/1.1 404 Not Found\r\n\r\n", false), Config{Status: []string{"404", "200-299"}}, ""},
		{"content", ok(`{"ready": true}`), Config{Body: `"ready":\s*true`}, ""},
		{"content at the end", ok(big + "ok"), Config{Body: `ok$`}, ""},
		{"content that comes too late", ok(big + "xok"), Config{Body: `ok`}, "the answer does not match ok"},
		{"other content", ok("all \x1b[31mwrong"), Config{Body: `"ready":\s*true`}, `the answer does not match "ready":\s*true`},
		{"no content", answer(t, "HTTP/1.1 204 No Content\r\n\r\n", true), Config{Body: `x`}, "the answer does not match x"},
		{"content in chunks", answer(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nre\r\n3\r\nady\r\n0\r\n\r\n", true), Config{Body: `^ready$`}, ""},
		{"content that has no end, and does not go on", answer(t, "HTTP/1.1 200 OK\r\n\r\nready\n", true), Config{Body: `ready$`, Timeout: hasty}, "no answer within 100ms"},
		{"content that breaks off", answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nstea", false), Config{Body: `ready`}, "the answer breaks off"},
		{"content that breaks off after what is wanted", answer(t, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nready!", false), Config{Body: `ready`}, "the answer breaks off"},
		{"endless content", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); forever(c, "xxxxxxxx", 0) }), Config{}, ""},
		{"endless content without a match", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); forever(c, "xxxxxxxx", 0) }), Config{Body: "y"}, "does not match y"},
		{"endless small chunks", serve(t, func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			forever(c, "1;"+strings.Repeat("e", 500)+"\r\nx\r\n", 0)
		}), Config{Body: "y"}, " "},
		{"silence", silent(t), Config{Timeout: hasty}, "no answer within 100ms"},
		{"a slow head", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); forever(c, "x", 5*time.Millisecond) }), Config{Timeout: hasty}, "no answer within 100ms"},
		{"hang up", answer(t, "", false), Config{}, "closed the connection without an answer"},
		{"reset", serve(t, func(c net.Conn) { io.ReadAtLeast(c, make([]byte, 100), 10); reset(c) }), Config{}, "connection reset"},
		{"reset after the status", serve(t, func(c net.Conn) {
			io.ReadAtLeast(c, make([]byte, 100), 10)
			io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			reset(c)
		}), Config{}, "connection reset"},
		{"garbage", answer(t, "SSH-2.0\r\n\r\n", false), Config{}, "malformed HTTP response"},
		{"a version that is none", answer(t, "HTTP/2.0 200 OK\r\n\r\n", false), Config{}, "answered in HTTP/2.0, which is no version of HTTP/1"},
		{"much garbage", answer(t, strings.Repeat("\x1b]0;x\a", 5000)+"\r\n", false), Config{}, "malformed HTTP"},
		{"endless head", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n"); forever(c, "X: xxxxxxxx\r\n", 0) }), Config{}, "the answer's head is longer than 64 KiB"},
		{"endless field", serve(t, func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nX: "); forever(c, "xxxxxxxx", 0) }), Config{}, "the answer's head is longer than 64 KiB"},
		{"nobody", nobody(t), Config{}, "connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.config.Timeout == 0 {
				tt.config.Timeout = patient
			}
			start := time.Now()
			_, err := tt.config.Compile().Ask(t.Context(), Target{Address: tt.address})
			wants(t, err, tt.want)
			if err != nil && (len(err.Error()) > 2*maxWords || strings.ContainsAny(err.Error(), "\x1b\a\r\n")) {
				t.Errorf("not for people: %q", err)
			}
			if spent := time.Since(start); spent >= patient && tt.config.Timeout == patient {
				t.Errorf("took %s", spent)
			}
		})
	}
}

// What is asked, in both versions: method, path, host, and that there is no content.
func TestRequest(t *testing.T) {
	var seen atomic.Pointer[http.Request]
	var content atomic.Int64
	handler := func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		content.Store(n)
		seen.Store(r)
		if r.Method != "HEAD" {
			io.WriteString(w, "well")
		}
	}
	h1, h2c := web(t, "http", handler), web(t, "h2c", handler)
	for _, tt := range []struct {
		config             Config
		method, uri, host  string
		hasLength, noMatch bool
	}{
		{Config{Body: "^well$"}, "GET", "/", "", false, false},
		{Config{Method: "HEAD", Path: "/a%2Fb//c?d=e&f"}, "HEAD", "/a%2Fb//c?d=e&f", "", false, false},
		{Config{Method: "OPTIONS", Host: "shop.test"}, "OPTIONS", "/", "shop.test", false, false},
		{Config{Method: "POST", Host: "shop.test:81", Path: "/h"}, "POST", "/h", "shop.test:81", true, false},
		{Config{Method: "PUT"}, "PUT", "/", "", true, false},
		{Config{Method: "PROPFIND", Body: "ill"}, "PROPFIND", "/", "", true, true},
	} {
		for _, s := range []struct {
			address string
			http2   bool
		}{{h1.Listener.Addr().String(), false}, {h2c.Listener.Addr().String(), true}} {
			tt.config.Timeout = patient
			_, err := tt.config.Compile().Ask(t.Context(), Target{Address: s.address, Name: "a.test:8080", HTTP2: s.http2})
			if tt.noMatch {
				wants(t, err, "does not match")
			} else {
				wants(t, err, "")
			}
			r := seen.Swap(nil)
			if r == nil {
				t.Fatalf("%s: not asked: %v", tt.method, err)
			}
			host := tt.host
			if host == "" {
				host = "a.test:8080"
			}
			if r.Method != tt.method || r.RequestURI != tt.uri || r.Host != host || r.UserAgent() != "tripod" || r.ProtoAtLeast(2, 0) != s.http2 {
				t.Errorf("asked %s %s at %s as %s in %s", r.Method, r.RequestURI, r.Host, r.UserAgent(), r.Proto)
			}
			if content.Load() != 0 || tt.hasLength && r.ContentLength != 0 {
				t.Errorf("%s: %d bytes of content, length %d", tt.method, content.Load(), r.ContentLength)
			}
			if !s.http2 && tt.hasLength != (r.Header.Get("Content-Length") != "") {
				t.Errorf("%s: Content-Length %q", tt.method, r.Header.Get("Content-Length"))
			}
		}
	}
}

// A check at another port asks there, and names that port.
func TestPort(t *testing.T) {
	var host atomic.Value
	s := web(t, "http", func(w http.ResponseWriter, r *http.Request) { host.Store(r.Host) })
	port := s.Listener.Addr().(*net.TCPAddr).Port
	for name, want := range map[string]string{"": "127.0.0.1", "a.test:1": "a.test"} {
		_, err := Config{Port: port, Timeout: patient}.Compile().Ask(t.Context(), Target{Address: "127.0.0.1:1", Name: name})
		wants(t, err, "")
		if want = fmt.Sprintf("%s:%d", want, port); host.Load() != want {
			t.Errorf("asked %v, want %s", host.Load(), want)
		}
	}
	if got := (Target{Name: "[fe80::1%eth0]:80"}).host(""); got != "[fe80::1]:80" {
		t.Errorf("the zone of an address is told: %s", got)
	}
}

// The checks of what Validate refuses fail, and say why.
func TestInvalidConfig(t *testing.T) {
	for want, c := range map[string]Config{
		"missing closing )": {Body: "("}, "needs the port": {Type: Agent}, "unknown type": {Type: "x"}, "no status": {Status: []string{"x"}},
	} {
		_, err := c.Compile().Ask(t.Context(), Target{Address: nobody(t)})
		wants(t, err, want)
	}
}

// Whatever a server says, the check ends with few words for people.
func FuzzHTTPAnswer(f *testing.F) {
	for _, s := range []string{"HTTP/1.1 200 OK\r\n\r\nok", "HTTP/1.1 204\r\n\r\n", "HTTP/1.1 100\r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: x\r\n\r\n", "\x16\x03\x01", "HTTP/1.1 999 \x1b\r\n\r\n"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	probes := map[bool]*Probe{true: Config{Body: "ok"}.Compile(), false: Config{}.Compile()}
	f.Fuzz(func(t *testing.T, text string, body bool) {
		p := probes[body]
		err := p.read(strings.NewReader(text))
		if err == nil {
			if !strings.HasPrefix(text, "HTTP/1.") || body && !strings.Contains(text, "ok") && !strings.Contains(text, "chunked") {
				t.Errorf("%q passes", text)
			}
			return
		}
		if said := p.inWords(t.Context(), err).Error(); len(said) > 2*maxWords || said == "" || strings.ContainsFunc(said, func(r rune) bool { return r < ' ' }) {
			t.Errorf("%q is told as %q", text, said)
		}
	})
}
