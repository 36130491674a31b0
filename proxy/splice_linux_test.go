package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// A client that takes a long answer slowly gets all of it, as it is, however much longer than the time to stand still that takes.
func TestSlowClientGetsALongAnswerWhole(t *testing.T) {
	content := make([]byte, 12<<20)
	for i := range content {
		content[i] = byte(i>>16) ^ byte(i>>8) ^ byte(i)
	}
	r := start(t, func(o *Options) { o.Timeouts.Stall = time.Second })
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		w.Write(content)
	}))
	c := dial(t, at)
	c.SetReadBuffer(64 << 10)
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	var got []byte
	part := make([]byte, 64<<10)
	for err := error(nil); err == nil; {
		var n int
		n, err = io.ReadFull(c, part)
		got = append(got, part[:n]...)
		time.Sleep(20 * time.Millisecond) // the client's pace; nothing waits on it
	}
	if _, body, _ := bytes.Cut(got, []byte("\r\n\r\n")); !bytes.Equal(body, content) {
		same := 0
		for same < min(len(body), len(content)) && body[same] == content[same] {
			same++
		}
		t.Errorf("%d bytes of %d, %d of them right", len(body), len(content), same)
	}
}

// Long contents reach the server as they are, by the kernel, at whatever pace, and what follows on the connection is the next request.
func TestLongContentReachesTheServerWhole(t *testing.T) {
	content := make([]byte, 5<<20)
	for i := range content {
		content[i] = byte(i>>16) ^ byte(i>>8) ^ byte(i)
	}
	var sum atomic.Uint64
	r := start(t)
	at := r.serve(backend(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" { // it does not want the rest
			w.WriteHeader(413)
			return
		}
		got, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		sum.Add(1)
	}))
	c := dial(t, at)
	c.SetDeadline(time.Now().Add(time.Minute))
	in := bufio.NewReader(c)
	for range 3 {
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(content))
		for rest := content; len(rest) > 0; {
			n, err := c.Write(rest[:min(len(rest), 700_000)])
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
		io.Copy(io.Discard, res.Body)
	}
	want(t, "contents", sum.Load(), 3)
	// The answer comes although the content does not end.
	fmt.Fprintf(c, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", len(content))
	c.Write(content[:1<<20])
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != 413 {
		t.Errorf("%v %v", res, err)
	}
}
