package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/h1"
)

// A node that was held up before it got to send a request sends it all the same: the server has had no time for it yet.
func TestANodeThatIsHeldUpAsks(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	t.Cleanup(s.Close)
	pool := upstream.New(upstream.Options{})
	if err := pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer pool.Close(context.Background())
	plan := pool.Plan(map[string]upstream.Config{"web": {Servers: []upstream.ServerConfig{{Address: s.Listener.Addr().String()}}}})
	plan.Commit()
	e := New(Options{})
	table, err := e.Compile(Rules{Routes: []Route{{Service: plan.Service("web")}}})
	if err != nil {
		t.Fatal(err)
	}
	e.Swap(table, func(string) bool { return true })
	f := e.Front(&Listener{Name: "in"})
	defer f.Close(context.Background())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := &client1{front: f, conn: conn, tcp: conn.(*net.TCPConn), in: newInput(conn, &e.buffers)}
	for _, held := range []time.Duration{0, 0, time.Hour} { // the first makes the connection
		if _, err := h1.ParseRequest(&c.req, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		c.begin()
		x := e.exchange()
		x.begin(f, c, &c.link, &c.req, netip.Addr{}, "", false)
		x.now = x.now.Add(-held)
		plan.Service("web").Pools(func(c io.Closer) bool {
			for _, s := range c.(*serverPool).idle {
				s.readBy.forget() // or the former deadline would still do
			}
			return false
		})
		x.serve()
		if x.status != 200 || x.tries != 1 {
			t.Errorf("held up for %s: %d after %d tries", held, x.status, x.tries)
		}
		e.recycle(x)
	}
}
