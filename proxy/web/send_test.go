package web

import (
	"net"
	"testing"
	"time"
)

// lateClient has content just when nobody wants it any more.
type lateClient struct {
	client
	server  net.Conn
	stopped chan struct{}
}

func (c *lateClient) interrupt() { close(c.stopped) }

func (c *lateClient) content() ([]byte, error) {
	<-c.stopped
	for { // until the server's connection takes nothing more
		if _, err := c.server.Write([]byte("x")); isTimeout(err) {
			return make([]byte, 64<<20), nil
		}
	}
}

func (c *lateClient) ended() bool { return false }

// A server that takes no content is not waited for once its answer is there, even if a piece has come at that very moment.
func TestStopSendingAsAPieceComes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody reads there
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := New(Options{Timeouts: Timeouts{Body: time.Hour}})
	x := e.exchange()
	x.engine, x.link, x.limits = e, new(link), &e.limits
	x.client = &lateClient{server: conn, stopped: make(chan struct{})}
	x.send.content = streamContent
	s := &serverConn{tcp: conn.(*net.TCPConn)}
	x.startSending(s)
	x.send.answer()
	done := make(chan bool)
	go func() { done <- x.stopSending(s) }()
	select {
	case sent := <-done:
		if sent {
			t.Error("the content counts as sent")
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server is waited for")
	}
}

// slowClient has content only when it is interrupted.
type slowClient struct {
	client
	stopped chan struct{}
}

func (c *slowClient) interrupt() { close(c.stopped) }

func (c *slowClient) content() ([]byte, error) {
	<-c.stopped
	return nil, errGone
}

// That nobody waits for an answer any more is not forgotten when the content begins to be carried.
func TestSendingBeginsAsTheClientLeaves(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // nobody answers there
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := New(Options{})
	x := e.exchange()
	x.engine, x.link, x.limits = e, new(link), &e.limits
	x.client = &slowClient{stopped: make(chan struct{})}
	x.send.content = streamContent
	s := &serverConn{tcp: conn.(*net.TCPConn), in: newInput(conn, &e.buffers)}
	x.link.attach(s.tcp)
	x.link.ClientGone()
	x.startSending(s)
	done := make(chan error)
	go func() { done <- s.in.read() }()
	select {
	case err := <-done:
		if !isTimeout(err) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("an answer is waited for")
		conn.Close()
		<-done
	}
	x.stopSending(s)
}
