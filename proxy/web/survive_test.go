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
