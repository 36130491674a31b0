package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// scripted is a server that answers "/first" with given bytes, and other requests with their path. It knows which of its connections each
// request came on.
type scripted struct {
	address string
	mu      sync.Mutex
	conns   int
	seen    map[string][]int
	first   string
	then    func(c net.Conn) // after the first answer; nil for nothing
}

func script(t *testing.T, first string, then func(net.Conn)) *scripted {
	s := &scripted{seen: map[string][]int{}, first: first, then: then}
	s.address = rawBackend(t, s.serve)
	return s
}

func (s *scripted) serve(c net.Conn) {
	s.mu.Lock()
	s.conns++
	n := s.conns
	s.mu.Unlock()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		s.mu.Lock()
		s.seen[req.URL.Path] = append(s.seen[req.URL.Path], n)
		s.mu.Unlock()
		if req.URL.Path != "/first" {
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.URL.Path), req.URL.Path)
			continue
		}
		io.WriteString(c, s.first)
		if s.then != nil {
			s.then(c)
		}
	}
}

// on tells which connections a path's requests came on.
func (s *scripted) on(path string) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[path]
}

// browser is a client's connection, without any of the cleverness of one.
type browser struct {
	t  *testing.T
	c  net.Conn
	in *bufio.Reader
}

func browse(t *testing.T, at string) *browser {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	return &browser{t, c, bufio.NewReader(c)}
}

// do sends a request and returns the answer with its whole content. The error is that of an answer that broke off.
func (b *browser) do(method, request string) (*http.Response, string, error) {
	b.t.Helper()
	io.WriteString(b.c, method+" "+request)
	return b.read(method)
}

// read reads an answer to a request with a method.
func (b *browser) read(method string) (*http.Response, string, error) {
	b.t.Helper()
	res, err := http.ReadResponse(b.in, &http.Request{Method: method})
	if err != nil {
		return nil, "", err
	}
	content, err := io.ReadAll(res.Body)
	return res, string(content), err
}

// ends checks that the proxy closes the connection without another word.
func (b *browser) ends() {
	b.t.Helper()
	if rest, err := io.ReadAll(b.in); len(rest) > 0 || err != nil {
		b.t.Errorf("the connection goes on with %q, %v", rest, err)
	}
}

const (
	poison  = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"
	okHello = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
	toFirst = "/first HTTP/1.1\r\nHost: a.test\r\n\r\n"
	toNext  = "/next HTTP/1.1\r\nHost: a.test\r\n\r\n"
)

// answer is what a server says, and what becomes of it.
type answer struct {
	rule   string
	method string // GET if it is empty
	text   string
	status int    // that the client gets
	body   string // what it gets of the content; not looked at for 502
	off    bool   // the answer breaks off, behind that at the earliest
	reused bool   // the connection is good for another request
}

// whole are answers that are right.
func whole(rule, text, body string) answer {
	return answer{rule: rule, text: text, status: 200, body: body, reused: true}
}

// wrong are answers that are none.
func wrong(rule, text string) answer { return answer{rule: rule, text: text, status: 502} }

func answers() []answer {
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	ok := "HTTP/1.1 200 OK\r\n"
	all := []answer{
		whole("RFC 9112 §6.3", okHello, "hello"),
		whole("RFC 9112 §7.1", chunked+"5;x\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello"),
		whole("RFC 9112 §4", "HTTP/1.1 200\r\ncontent-length:  5 \r\n\r\nhello", "hello"),
		whole("RFC 9110 §15.2", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\n"+okHello, "hello"),
		{rule: "RFC 9110 §8.6", method: "HEAD", text: ok + "Content-Length: 5\r\n\r\n", status: 200, reused: true},
		{rule: "RFC 9110 §15.4.5", text: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", status: 304, reused: true},
		{rule: "RFC 9110 §15.3.5", text: "HTTP/1.1 204 No Content\r\n\r\n", status: 204, reused: true},
		{rule: "RFC 9112 §9.3", text: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", status: 200, body: "hello"},
		{rule: "RFC 9112 §9.6", text: ok + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", status: 200, body: "hello"},

		// More than was announced: nobody gets it, and the connection is done.
		{rule: "RFC 9112 §9.2", text: okHello + "!", status: 200, body: "hello"},
		{rule: "RFC 9112 §9.2", text: okHello + "\r\n", status: 200, body: "hello"},
		{rule: "RFC 9112 §9.2", text: okHello + poison, status: 200, body: "hello"},
		{rule: "RFC 9112 §9.2", text: ok + "Content-Length: 0\r\n\r\n" + poison, status: 200},
		{rule: "RFC 9112 §9.2", text: chunked + "5\r\nhello\r\n0\r\n\r\n" + poison, status: 200, body: "hello"},
		{rule: "RFC 9110 §9.3.2", method: "HEAD", text: okHello, status: 200},
		{rule: "RFC 9110 §9.3.2", method: "HEAD", text: chunked + "5\r\nhello\r\n0\r\n\r\n", status: 200},
		{rule: "RFC 9110 §9.3.2", method: "HEAD", text: ok + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(poison)) + poison, status: 200},
		{rule: "RFC 9110 §15.3.5", text: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", status: 204},
		{rule: "RFC 9110 §15.3.5", text: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", status: 204},
		{rule: "RFC 9112 §6.1", text: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", status: 204},
		{rule: "RFC 9110 §15.3.5", text: "HTTP/1.1 204 No Content\r\n\r\n" + poison, status: 204},
		{rule: "RFC 9110 §15.4.5", text: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello", status: 304},
		{rule: "RFC 9110 §15.4.5", text: "HTTP/1.1 304 Not Modified\r\n\r\n" + poison, status: 304},

		// Less, or something else: the answer breaks off.
		{rule: "RFC 9112 §6.3", text: ok + "Content-Length: 6\r\n\r\nhello", status: 200, body: "hello", off: true},
		{rule: "RFC 9112 §8", text: chunked, status: 200, off: true},
		{rule: "RFC 9112 §8", text: chunked + "5\r\nhello\r\n", status: 200, body: "hello", off: true},
		{rule: "RFC 9112 §8", text: chunked + "5\r\nhello\r\n0\r\n", status: 200, body: "hello", off: true},
	}
	for _, end := range []string{"5\nhello\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n", "5\r\nhello!\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5 \r\nhello\r\n0\r\n\r\n", "-5\r\nhello\r\n",
		"\r\n", "x\r\n", "ffffffffffffffff\r\nhello", "10000000000000005\r\nhello\r\n0\r\n\r\n", "0\n\n", "0\r\n\n", "0\r\nX\r\n\r\n", "0\r\nX : y\r\n\r\n", "0\r\nX: y\r\n z\r\n\r\n",
		"0\r\nX: \x00\r\n\r\n", "0\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n"} {
		all = append(all, answer{rule: "RFC 9112 §7.1", text: chunked + "2\r\nhi\r\n" + end, status: 200, body: "hi", off: true})
	}
	for _, fields := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 5\r\n",
		"Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 5\r\n", "Content-Length: +5\r\n", "Content-Length: -5\r\n", "Content-Length: 0x5\r\n", "Content-Length: 5 5\r\n",
		"Content-Length:\r\n", "Content-Length: 99999999999999999999\r\n", "Content-Length : 5\r\n", "Content_Length: 5\r\n", " Content-Length: 5\r\n", "Transfer-Encoding: identity\r\n",
		"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked, chunked\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding:\r\n", "Transfer-Encoding : chunked\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: \x0bchunked\r\n", "Transfer-Encoding:\r\n chunked\r\n", "Transfer_Encoding: chunked\r\n",
		"X: y\r\n z\r\n", "X: y\nZ: z\r\n", "X: y\rZ: z\r\n", "X: y\n", "X\r\n", ": y\r\n", "X y: z\r\n", "X: \x00\r\n", "X\x00: y\r\n", "\n", "X: y\r\n\n", "X: y\n\n", "X: y\r\r\n",
		"Trailer: Content-Length\r\n", strings.Repeat("X: y\r\n", 257), "X: " + strings.Repeat("y", 300<<10) + "\r\n",
	} {
		all = append(all, wrong("RFC 9112 §5, §6", ok+fields+"\r\nhello"), wrong("RFC 9112 §5, §6", ok+"Set-Cookie: a=b\r\n"+fields+"\r\n0\r\n\r\n"))
	}
	for _, line := range []string{"SSH-2.0-OpenSSH\r\n", "HTTP/2.0 200 OK\r\n", "HTTP/0.9 200 OK\r\n", "http/1.1 200 OK\r\n", "HTTP/1.1\r\n", "HTTP/1.1 \r\n", "HTTP/1.1 OK\r\n", "HTTP/1.1 20 OK\r\n",
		"HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 OK\r\n", "HTTP/1.1 +20 OK\r\n", "HTTP/1.1  200 OK\r\n", "HTTP/1.1\t200 OK\r\n", "HTTP/1.1 200\tOK\r\n", "HTTP/1.1 200 OK\n", "HTTP/1.1 200 OK\r",
		"HTTP/1.1 200 O\x00K\r\n", "HTTP/1.1 200 OK\rX: y\r\n", " HTTP/1.1 200 OK\r\n", "\r\nHTTP/1.1 200 OK\r\n", "\nHTTP/1.1 200 OK\r\n", "<html>\r\n", "ICY 200 OK\r\n", "\x15\x03\x01\x00\x02\x02\x46",
		"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", "HTTP/1.1 101 Switching\r\n", "GET / HTTP/1.1\r\n"} {
		all = append(all, wrong("RFC 9112 §4", line+"Content-Length: 5\r\n\r\nhello"))
	}
	return append(all,
		wrong("RFC 9110 §15.2", strings.Repeat("HTTP/1.1 103 Hints\r\n\r\n", 200)+okHello),
		wrong("RFC 9110 §15.2", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 200)+okHello),
		wrong("RFC 9112 §6.1", "HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+okHello),
		wrong("RFC 9110 §8.6", "HTTP/1.1 103 Hints\r\nContent-Length: 5\r\n\r\nhello"+okHello),
		wrong("RFC 9112 §8", ""), wrong("RFC 9112 §8", "HTTP/1.1 200 OK\r\nContent-Le"), wrong("RFC 9112 §8", "HTTP/1.1 103 Hints\r\n\r\n"))
}

// A server's answer is held to the rules as a request is: nothing that is not one reaches a client, and what a server says beside its answer reaches
// nobody.
func TestAnswersOfServers(t *testing.T) {
	r := start(t)
	for _, a := range answers() {
		t.Run(a.rule+" "+fmt.Sprintf("%.60q", a.text), func(t *testing.T) { r.hear(t, a) })
	}
}

func (r *rig) hear(t *testing.T, a answer) {
	var hangUp func(net.Conn)
	if !a.reused {
		hangUp = func(c net.Conn) { c.(*net.TCPConn).CloseWrite() }
	}
	server := script(t, a.text, hangUp)
	config, at := r.config(server.address)
	r.apply(config)
	if a.method == "" {
		a.method = "GET"
	}
	b := browse(t, at)
	res, body, err := b.do(a.method, toFirst)
	for err == nil && res.StatusCode/100 == 1 { // how many of them does not matter
		res, body, err = b.read(a.method)
	}
	if res == nil {
		t.Fatalf("%.200q: no answer: %v", a.text, err)
	}
	if res.StatusCode != a.status || a.status != 502 && body != a.body && !(a.off && strings.HasPrefix(body, a.body)) || (err != nil) != a.off {
		t.Errorf("%.200q: got %d %.200q, %v", a.text, res.StatusCode, body, err)
	}
	r.idle(t)
	if a.off {
		b.ends()
	} else if _, body, err := b.do("GET", toNext); body != "/next" { // the client's connection is as good as ever
		t.Errorf("%.200q: the next answer is %q, %v", a.text, body, err)
	}
	r.idle(t)
	if _, body, err := browse(t, at).do("GET", toNext); body != "/next" {
		t.Errorf("%.200q: another client got %q, %v", a.text, body, err)
	}
	for _, n := range server.on("/next") {
		if (n == 1) != a.reused {
			t.Errorf("%.200q: the next request came on connection %d", a.text, n)
		}
	}
	want(t, "times that the server was asked", len(server.on("/first")), 1)
}

// idle waits until no request is under way, so that connections to servers are free.
func (r *rig) idle(t *testing.T) {
	t.Helper()
	eventually(t, "the server to be free", func() bool { return r.p.Status().Services[0].Servers[0].Active == 0 })
}

// An answer that ends with the connection is whole for those who can tell, and broken for those who cannot, when it breaks off.
func TestAnswerUntilClose(t *testing.T) {
	r := start(t)
	for _, reset := range []bool{false, true} {
		read := make(chan struct{}, 1)
		server := script(t, "HTTP/1.1 200 OK\r\n\r\nhello", func(c net.Conn) {
			<-read // a reset may overtake what was sent
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		})
		at := r.serve(server.address)
		for _, version := range []string{"1.0", "1.1"} {
			b := browse(t, at)
			io.WriteString(b.c, strings.Replace("GET "+toFirst, "1.1", version, 1))
			res, err := http.ReadResponse(b.in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 5)
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != "hello" {
				t.Fatalf("%q, %v", got, err)
			}
			read <- struct{}{}
			rest, err := io.ReadAll(res.Body)
			if len(rest) > 0 || (err != nil) != reset {
				t.Errorf("HTTP/%s, reset %v: %q, %v", version, reset, rest, err)
			}
			if version == "1.0" {
				want(t, "how it ends", res.Close && res.TransferEncoding == nil && res.ContentLength == -1, true)
			} else if !reset {
				_, body, err := b.do("GET", toNext)
				want(t, "the next answer", fmt.Sprint(body, err), fmt.Sprint("/next", nil))
			}
		}
	}
}

// A large answer goes another way, and what is behind it is not seen with it.
func TestMoreBehindALargeAnswer(t *testing.T) {
	r := start(t)
	large := bytes.Repeat([]byte("x"), 1<<20)
	server := script(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s%s", len(large), large, poison), nil)
	at := r.serve(server.address)
	b := browse(t, at)
	if _, body, err := b.do("GET", toFirst); len(body) != len(large) || err != nil {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	if _, body, err := b.do("GET", toNext); body != "/next" {
		t.Errorf("the next answer is %q, %v", body, err)
	}
	if got := server.on("/next"); len(got) != 1 || got[0] == 1 {
		t.Errorf("the next request came on connection %v", got)
	}
}
