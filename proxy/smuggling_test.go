package proxy

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// attack is a request that two programs might read differently, or that looks so.
type attack struct {
	rule string
	// request is sent in one piece with second behind it.
	request string
	// status is that of the answer: of the only one if the request is refused, else of the first.
	status int
	// server is what the server gets instead of the request, without the fields that the proxy adds; empty if it must not get anything. When
	// second is answered too, it comes behind.
	server string
	// next is the status of the answer to what follows, if the connection goes on; 200 if that is second.
	next int
}

// second follows each attack. Were it to reach the server in another way than as the next request, it would have been smuggled.
const second = "GET /second HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"

const secondRebuilt = "GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n"

// refused is an attack that no server sees.
func refused(rule, request string, status int) attack {
	return attack{rule: rule, request: request, status: status}
}

// accepted is a request that is harmless, or is made so.
func accepted(rule, request, server string) attack {
	return attack{rule: rule, request: request, status: 200, server: server, next: 200}
}

// broken is a request whose head is right and whose content is not: the server gets that before the fault, and never the request's end.
func broken(rule, request, server string) attack {
	return attack{rule: rule, request: request, status: 400, server: server}
}

// recorder is a server that keeps every byte that it gets, and answers what net/http takes for requests.
type recorder struct {
	address string
	mu      sync.Mutex
	conns   []*recorded
}

// recorded is what came over one connection; it is all there when that has ended.
type recorded struct {
	bytes.Buffer
	ended chan struct{}
}

func record(t testing.TB) *recorder {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	r := &recorder{address: ln.Addr().String()}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			kept := &recorded{ended: make(chan struct{})}
			r.mu.Lock()
			r.conns = append(r.conns, kept)
			r.mu.Unlock()
			go kept.serve(c)
		}
	}()
	return r
}

func (r *recorded) serve(c net.Conn) {
	defer close(r.ended)
	defer c.Close()
	in := bufio.NewReader(io.TeeReader(c, r))
	defer io.Copy(io.Discard, in)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nserver")
	}
}

// all is what came, when every connection has been closed. One of our own is the last to be accepted, so that none is missed.
func (r *recorder) all(t *testing.T) string {
	t.Helper()
	const last = "last"
	c, err := net.Dial("tcp", r.address)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, last)
	c.(*net.TCPConn).CloseWrite()
	io.ReadAll(c)
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, c := range r.conns {
		<-c.ended
		if c.String() != last {
			b.Write(c.Bytes())
		}
	}
	return b.String()
}

// ownFields are what the proxy adds to each request.
var ownFields = regexp.MustCompile(`X-Forwarded-For: 127\.0\.0\.1\r\n|X-Forwarded-Host: [^\r]+\r\n|X-Forwarded-Proto: http\r\n|X-Forwarded-Port: \d+\r\n|X-Request-Id: [0-9a-v]{20}\r\n`)

// statuses are those of all answers in what a client got; an error if that is not answers and nothing else.
func statuses(got []byte) ([]int, error) {
	in := bufio.NewReader(bytes.NewReader(got))
	var all []int
	for {
		if _, err := in.Peek(1); err != nil {
			return all, nil
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			return all, err
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return all, err
		}
		all = append(all, res.StatusCode)
	}
}

// send sends bytes in one piece, and returns all that comes until the proxy closes the connection.
func send(t *testing.T, at, text string) []byte {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	sent := make(chan struct{})
	go func() { // the proxy may stop to read
		io.WriteString(c, text)
		close(sent)
	}()
	got, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("%.300q: the connection did not end well: %v, after %q", text, err, got)
	}
	c.Close()
	<-sent
	return got
}

// try sends an attack and looks at both sides of it.
func (r *rig) try(t *testing.T, a attack) {
	server := record(t)
	config, at := r.config(server.address)
	r.apply(config)
	got := send(t, at, a.request+second)
	config.Services["web"] = service(deadAddress(t)) // closes all connections to the server
	r.apply(config)

	want := fmt.Sprint([]int{a.status})
	if a.next != 0 {
		want = fmt.Sprint([]int{a.status, a.next})
	}
	all, err := statuses(got)
	if err != nil || fmt.Sprint(all) != want {
		t.Errorf("%.300q\nanswers %v, want %s; error %v\n%.1000q", a.request, all, want, err, got)
	}
	saw := ownFields.ReplaceAllString(server.all(t), "")
	expected := a.server
	if a.next == 200 {
		expected += secondRebuilt
	}
	if saw != expected {
		t.Errorf("%.300q\nthe server got %.1000q\nwant           %.1000q", a.request, saw, expected)
	}
}

// attacks runs a table of them.
func attacks(t *testing.T, all []attack) {
	r := start(t)
	for _, a := range all {
		t.Run(a.rule+" "+fmt.Sprintf("%.60q", a.request), func(t *testing.T) { r.try(t, a) })
	}
}

const (
	get1  = "GET / HTTP/1.1\r\nHost: a.test\r\n"
	post1 = "POST / HTTP/1.1\r\nHost: a.test\r\n"
	// inner is a request that an attacker would like to hide in content.
	inner = "GET /admin HTTP/1.1\r\nHost: a.test\r\n\r\n"
	// chunkedUp is how a head goes on to the server when the content is chunked.
	chunkedUp = post1 + "Transfer-Encoding: chunked\r\n\r\n"
)

func TestSmugglingByTransferEncoding(t *testing.T) {
	all := []attack{
		accepted("RFC 9112 §6.1", post1+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", chunkedUp+"5\r\nhello\r\n0\r\n\r\n"),
		accepted("RFC 9112 §6.1", post1+"transfer-ENCODING:\t cHuNkEd \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n", chunkedUp+"5\r\nhello\r\n0\r\n\r\n"),
		accepted("RFC 9110 §5.1", post1+"X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
			post1+"X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
		// Chunked content that is a request is content.
		accepted("RFC 9112 §7.1", post1+"Transfer-Encoding: chunked\r\n\r\n"+fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner),
			chunkedUp+fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(inner), inner)),
	}
	// With the one word there must not be a length, wherever it stands (CL.TE, TE.CL).
	for _, length := range []string{"0", "5", "6", "30"} {
		all = append(all,
			refused("RFC 9112 §6.3", post1+"Content-Length: "+length+"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+inner, 400),
			refused("RFC 9112 §6.3", post1+"Transfer-Encoding: chunked\r\nContent-Length: "+length+"\r\n\r\n0\r\n\r\n"+inner, 400),
			refused("RFC 9112 §6.3", post1+"transfer-encoding: CHUNKED\r\nX: 1\r\ncontent-length: "+length+"\r\n\r\n0\r\n\r\n"+inner, 400))
	}
	// TE.TE: what one program takes for chunked and another does not.
	for _, c := range []struct{ rule, line string }{
		{"RFC 9112 §5.1", "Transfer-Encoding : chunked\r\n"}, {"RFC 9112 §5.1", "Transfer-Encoding\t: chunked\r\n"},
		{"RFC 9112 §5.1", "Transfer-Encoding \t : chunked\r\n"}, {"RFC 9110 §5.1", "Transfer-Encoding\x00: chunked\r\n"},
		{"RFC 9110 §5.1", "Transfer-Encoding\x0b: chunked\r\n"}, {"RFC 9110 §5.1", "Transfer-Encoding\x0c: chunked\r\n"},
		{"RFC 9110 §5.1", "Transfer-Encoding\xa0: chunked\r\n"}, {"RFC 9110 §5.1", "Transfer-Encoding\xff: chunked\r\n"},
		{"RFC 9110 §5.1", "Transfer\\Encoding: chunked\r\n"}, {"RFC 9110 §5.1", "(Transfer-Encoding): chunked\r\n"},
		{"RFC 9112 §5.2", " Transfer-Encoding: chunked\r\n"}, {"RFC 9112 §5.2", "\tTransfer-Encoding: chunked\r\n"},
		{"RFC 9110 §5.1", "\x0bTransfer-Encoding: chunked\r\n"}, {"RFC 9110 §5.1", "\x00Transfer-Encoding: chunked\r\n"},
		{"RFC 9112 §5.2", "X: y\r\n Transfer-Encoding: chunked\r\n"}, {"RFC 9112 §5.2", "Transfer-Encoding:\r\n chunked\r\n"},
		{"RFC 9112 §5.2", "Transfer-Encoding: chunked\r\n \r\n"}, {"RFC 9112 §5.2", "Transfer-Encoding:\r\n\tchunked\r\n"},
		{"RFC 9112 §5.2", "Transfer-Encoding: chun\r\n ked\r\n"}, {"RFC 9112 §5.2", "Transfer-Encoding\r\n : chunked\r\n"},
		{"RFC 9112 §2.2", "X: y\nTransfer-Encoding: chunked\r\n"}, {"RFC 9112 §2.2", "X: y\rTransfer-Encoding: chunked\r\n"},
		{"RFC 9112 §2.2", "Transfer-Encoding: chunked\n"}, {"RFC 9112 §2.2", "Transfer-Encoding: chunked\r"},
		{"RFC 9112 §2.2", "Transfer-Encoding:\nchunked\r\n"}, {"RFC 9112 §2.2", "Transfer-Encoding\n: chunked\r\n"},
		{"RFC 9112 §2.2", "Transfer-Encoding: chunked\r\r\n"}, {"RFC 9110 §5.5", "Transfer-Encoding: \x0bchunked\r\n"},
		{"RFC 9110 §5.5", "Transfer-Encoding: \x0cchunked\r\n"}, {"RFC 9110 §5.5", "Transfer-Encoding: \x00chunked\r\n"},
		{"RFC 9110 §5.5", "Transfer-Encoding: chunked\x00\r\n"}, {"RFC 9110 §5.5", "Transfer-Encoding: chunked\x0b\r\n"},
		{"RFC 9110 §5.5", "Transfer-Encoding: chunked\x0c\r\n"}, {"RFC 9110 §5.5", "Transfer-Encoding: chunked\x7f\r\n"},
		{"RFC 9110 §5.5", "Transfer-Encoding: \x08chunked\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: \xa0chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked\xa0\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: \xef\xbb\xbfchunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: xchunked\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: chunkedx\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: x chunked\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: chunked x\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunk\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: chunked;q=0\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked; x\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: \"chunked\"\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: 'chunked'\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: [chunked]\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: =chunked\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: :chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding:: chunked\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding:\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: ,\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: chunked,\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: ,chunked\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: chunked, chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: identity\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: identity, chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked, identity\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: gzip, chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked, cow\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: cow, chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: gzip\r\n"}, {"RFC 9112 §6.1", "Transfer-Encoding: deflate\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: identity\r\ntransfer-encoding: chunked\r\n"},
		{"RFC 9112 §6.1", "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n"},
		{"RFC 9112 §6.1", "Transfer-encoding: identity\r\n"},
		// CGI variables do not tell underscores from hyphens.
		{"RFC 3875 §4.1.18", "Transfer_Encoding: chunked\r\n"}, {"RFC 3875 §4.1.18", "TRANSFER_encoding: x\r\n"},
	} {
		for _, head := range []string{c.line, "Content-Length: 5\r\n" + c.line, c.line + "Content-Length: 5\r\n"} {
			all = append(all, refused(c.rule, post1+head+"\r\n0\r\n\r\n"+inner, 400))
		}
	}
	for _, version := range []string{"Host: a.test\r\n", "Host: a.test\r\nConnection: keep-alive\r\n", ""} {
		all = append(all, refused("RFC 9112 §6.1", "POST / HTTP/1.0\r\n"+version+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+inner, 400),
			refused("RFC 9112 §6.1", "POST / HTTP/1.0\r\n"+version+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"+inner, 400))
	}
	attacks(t, all)
}

func TestSmugglingByContentLength(t *testing.T) {
	all := []attack{
		accepted("RFC 9110 §8.6", post1+"Content-Length: 5\r\n\r\nhello", post1+"Content-Length: 5\r\n\r\nhello"),
		// Digits are digits, with zeros before them too; the server gets the number without.
		accepted("RFC 9110 §8.6", post1+"Content-Length: 005\r\n\r\nhello", post1+"Content-Length: 5\r\n\r\nhello"),
		accepted("RFC 9110 §5.5", post1+"content-length:\t 5 \t\r\n\r\nhello", post1+"Content-Length: 5\r\n\r\nhello"),
		accepted("RFC 9110 §8.6", post1+"Content-Length: 0\r\n\r\n", post1+"Content-Length: 0\r\n\r\n"),
		accepted("RFC 9110 §8.6", post1+"\r\n", post1+"Content-Length: 0\r\n\r\n"),
		// CL.0: content of requests that have none in general is content.
		accepted("RFC 9110 §9.3.1", get1+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner),
			get1+fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(inner), inner)),
		accepted("RFC 9110 §9.3.1", get1+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", get1+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
		accepted("RFC 9110 §9.3.5", strings.Replace(post1, "POST", "DELETE", 1)+"Content-Length: 5\r\n\r\nhello", strings.Replace(post1, "POST", "DELETE", 1)+"Content-Length: 5\r\n\r\nhello"),
		accepted("RFC 9110 §9.3.1", get1+"Content-Length: 0\r\n\r\n", get1+"\r\n"),
		// An empty line before a request is what some clients send behind content (RFC 9112 §2.2); two are not.
		accepted("RFC 9112 §2.2", post1+"Content-Length: 5\r\n\r\nhello\r\n", post1+"Content-Length: 5\r\n\r\nhello"),
		refused("RFC 9112 §2.2", "\r\n\r\n"+get1+"\r\n", 400),
		refused("RFC 9110 §8.6", post1+"Content_Length: 5\r\n\r\nhello", 400),
		refused("RFC 9110 §8.6", post1+"Content-Length: 5\r\nContent_Length: 0\r\n\r\nhello", 400),
	}
	for _, value := range []string{"5, 5", "5,5", "5,", ",5", "5, 6", "+5", "-1", "-0", "-5", "0x5", "0X5", "5h", "0b1", "0o5", "5 5", "5\t5", "5 0", "5.0", "5e0", "1e1",
		"5;", "5;a=b", "\"5\"", "'5'", "(5)", "5_0", "1_", "", "chunked", "five", "٥", "\xa05", "5\xa0", "\x005", "5\x00", "\x0b5", "5\x0b", "5\x0c", "5\n", "\n5",
		"5\r", "\r5", "5\r\n ", "\r\n 5", "99999999999999999999", "18446744073709551616", "18446744073709551621", "9223372036854775808",
		"9223372036854775807", "1000000000000000000", "4294967296000000000000", strings.Repeat("0", 30) + "5", strings.Repeat("9", 400)} {
		all = append(all, refused("RFC 9112 §6.3", post1+"Content-Length: "+value+"\r\n\r\nhello", 400))
	}
	for _, lines := range []string{
		"Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 0\r\nContent-Length: 5\r\n",
		"Content-Length: 5\r\nX: y\r\ncontent-length: 0\r\n", "Content-Length: 5\r\nContent-Length:\r\n", "Content-Length: 5\r\nContent-Length: x\r\n",
		"Content-Length : 5\r\n", "Content-Length\t: 5\r\n", " Content-Length: 5\r\n", "Content-Length\x00: 5\r\n", "Content-Length\x0b: 5\r\n",
		"X: y\r\n Content-Length: 5\r\n", "X: y\nContent-Length: 5\r\n", "X: y\rContent-Length: 5\r\n", "Content-Length\r\n: 5\r\n",
		"Content-Length: 5\r\nContent-Length : 0\r\n", "Content Length: 5\r\n", "Content-Length\xa0: 5\r\n",
	} {
		all = append(all, refused("RFC 9112 §6.3", post1+lines+"\r\nhello", 400), refused("RFC 9112 §6.3", get1+lines+"\r\nhello", 400))
	}
	attacks(t, all)
}

func TestSmugglingByChunks(t *testing.T) {
	head := post1 + "Transfer-Encoding: chunked\r\n\r\n"
	const hello = "5\r\nhello\r\n"
	all := []attack{
		accepted("RFC 9112 §7.1.1", head+"5;a=b;c=\"d\"; ;\r\nhello\r\n0;last\r\n\r\n", chunkedUp+hello+"0\r\n\r\n"),
		accepted("RFC 9112 §7.1", head+"005\r\nhello\r\n000\r\n\r\n", chunkedUp+hello+"0\r\n\r\n"),
		accepted("RFC 9112 §7.1", head+"5\r\n0\r\n\r\n\r\n0\r\n\r\n", chunkedUp+"5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
		accepted("RFC 9112 §7.1", head+"0\r\n\r\n", chunkedUp+"0\r\n\r\n"),
		// Trailers go on if they may, and frame nothing.
		accepted("RFC 9110 §6.5.1", head+hello+"0\r\nX-Sum: 1\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\nHost: evil\r\nX-Forwarded-For: 6.6.6.6\r\n"+
			"X_Forwarded_Proto: https\r\nAuthorization: x\r\nCookie: x\r\nConnection: close\r\nUpgrade: h2c\r\nTE: x\r\nExpect: x\r\nContent-Type: x\r\nContent-Encoding: x\r\n"+
			"Content-Range: x\r\nTrailer: x\r\nSet-Cookie: x\r\nCache-Control: x\r\nMax-Forwards: 0\r\n\r\n", chunkedUp+hello+"0\r\nX-Sum: 1\r\n\r\n"),
	}
	for _, c := range []struct{ rule, content string }{
		{"RFC 9112 §7.1", "\r\n\r\n"}, {"RFC 9112 §7.1", "G\r\n"}, {"RFC 9112 §7.1", "-1\r\n"}, {"RFC 9112 §7.1", "+5\r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §7.1", "0x5\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", " 5\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "5 \r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §7.1", "5\t\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "5 ;a\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "5 5\r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §7.1", "5,5\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "5.\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "5_\r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §7.1", "5\x00\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "5\xa0\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", ";5\r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §7.1", "ffffffffffffffff\r\n"}, {"RFC 9112 §7.1", "8000000000000000\r\n"}, {"RFC 9112 §7.1", "7fffffffffffffff\r\n"},
		{"RFC 9112 §7.1", "10000000000000005\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "100000005;" + strings.Repeat("x", 1100) + "\r\n"},
		{"RFC 9112 §7.1", strings.Repeat("0", 16) + "5\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1", "fffffffffffffffffffff0\r\n"},
		{"RFC 9112 §7.1.1", "5;a\nb\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1.1", "5;a\rb\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1.1", "5;\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §7.1.1", "5;a\x00b\r\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §7.1.1", "5;" + strings.Repeat("x", 5000) + "\r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §2.2", "5\nhello\r\n0\r\n\r\n"}, {"RFC 9112 §2.2", "5\rhello\r\n0\r\n\r\n"}, {"RFC 9112 §2.2", "5\r\r\nhello\r\n0\r\n\r\n"},
		{"RFC 9112 §2.2", "0\n\n"}, {"RFC 9112 §2.2", "0\n\r\n"}, {"RFC 9112 §2.2", "0\r\r\n\r\n"},
	} {
		all = append(all, broken(c.rule, head+c.content, chunkedUp),
			broken(c.rule, head+hello+c.content, chunkedUp+hello))
	}
	for _, c := range []struct{ rule, end, server string }{
		{"RFC 9112 §7.1", "5\r\nhello", "5\r\nhello\r\n"}, // the data is longer than its size, by second
		{"RFC 9112 §7.1", "5\r\nhello\n0\r\n\r\n", "5\r\nhello\r\n"},
		{"RFC 9112 §7.1", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\r\n"},
		{"RFC 9112 §7.1", "5\r\nhello0\r\n\r\n", "5\r\nhello\r\n"},
		{"RFC 9112 §7.1", "5\r\nhello!\r\n0\r\n\r\n", "5\r\nhello\r\n"},
		{"RFC 9112 §7.1", "5\r\nhell\r\n0\r\n\r\n", "5\r\nhell\r\r\n"},
		{"RFC 9112 §7.1", "5\r\nhello\r\n", "5\r\nhello\r\n"}, // no last chunk: second is none
		{"RFC 9112 §7.1.2", "0\r\n", ""},                      // nor a trailer
		{"RFC 9112 §7.1.2", "0\r\n\n", ""},
		{"RFC 9112 §7.1.2", "0\r\n\r\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\n\rX\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nX: 1\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nX: 1\r\n Y: 2\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nX : 1\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nX\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\n: 1\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nX: \x00\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nX: 1\rY: 2\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nTransfer-Encoding: x\r\n\r\n", ""},
		{"RFC 9112 §7.1.2", "0\r\nTransfer_Encoding: chunked\r\n\r\n", ""},
	} {
		all = append(all, broken(c.rule, head+c.end, chunkedUp+c.server))
	}
	all = append(all, attack{rule: "RFC 6585 §5", request: head + "0\r\n" + strings.Repeat("X: 1\r\n", 257) + "\r\n", status: 431, server: chunkedUp},
		attack{rule: "RFC 6585 §5", request: head + "0\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", status: 431, server: chunkedUp})
	// What comes behind the last chunk is the next request, or none.
	for _, junk := range []string{"X(", "\r\n:X", "0\r\n\r\n", "5\r\n", "\n", "\r", "\x00", " "} {
		a := attack{rule: "RFC 9112 §7.1", request: head + "0\r\n\r\n" + junk, status: 200, server: chunkedUp + "0\r\n\r\n", next: 400}
		all = append(all, a)
	}
	attacks(t, all)
}
