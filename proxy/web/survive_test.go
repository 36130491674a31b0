package web

import (
	"log/slog"
	"net"
	"strings"
	"testing"
)

// A panic of the goroutine that carries content fails the exchange, and nothing else.
func TestPanicWhileContentIsCarried(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var log strings.Builder
	e := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	x := e.exchange()
	x.engine, x.link, x.limits = e, new(link), &e.limits
	x.client = struct{ client }{} // all of its methods panic
	x.send.content = streamContent
	s := &serverConn{tcp: c.(*net.TCPConn)}
	x.startSending(s)
	<-x.send.done
	if got := x.unanswered(s, nil); got != errFault || x.send.wrong() != errPanic {
		t.Errorf("%v, %v", got, x.send.wrong())
	}
	if !strings.Contains(log.String(), "carryContent") {
		t.Errorf("no stack in the log: %s", &log)
	}
}

// The library that speaks HTTP/2 with servers reads the client's content in goroutines of its own.
func TestPanicWhileTheLibraryReads(t *testing.T) {
	e := New(Options{})
	b := &body2{of: &conversation2{x: &exchange{engine: e}, engine: e}} // without a client, which is the mistake
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != errPanic {
		t.Errorf("read %d, %v; want %v", n, err, errPanic)
	}
}
