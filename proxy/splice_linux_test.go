package proxy

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
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
