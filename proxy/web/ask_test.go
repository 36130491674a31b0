package web

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/h1"
)

// asking is an engine for a service of the given servers, and a function that gives an exchange for a request.
func asking(t *testing.T, servers ...string) (e *Engine, service *upstream.Service, begin func(method string) *exchange) {
	pool := upstream.New(upstream.Options{})
	if err := pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	config := upstream.Config{Balance: upstream.First}
	for _, address := range servers {
		config.Servers = append(config.Servers, upstream.ServerConfig{Address: address})
	}
	plan := pool.Plan(map[string]upstream.Config{"web": config})
	plan.Commit()
	e = New(Options{})
	table, err := e.Compile(Rules{Routes: []Route{{Service: plan.Service("web")}}})
	if err != nil {
		t.Fatal(err)
	}
	e.Swap(table, func(string) bool { return true })
	f := e.Front(&Listener{Name: "in"})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		ln.Close()
		f.Close(context.Background())
		pool.Close(context.Background())
	})
	c := &client1{front: f, conn: conn, tcp: conn.(*net.TCPConn), in: newInput(conn, &e.buffers)}
	return e, plan.Service("web"), func(method string) *exchange {
		if _, err := h1.ParseRequest(&c.req, []byte(method+" / HTTP/1.1\r\nHost: a\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		c.begin()
		x := e.exchange()
		x.begin(f, c, &c.link, &c.req, netip.Addr{}, "", false)
		return x
	}
}

// A node that was held up before it got to send a request sends it all the same: the server has had no time for it yet.
func TestANodeThatIsHeldUpAsks(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	t.Cleanup(s.Close)
	e, service, begin := asking(t, s.Listener.Addr().String())
	for _, held := range []time.Duration{0, 0, time.Hour} { // the first makes the connection
		x := begin("GET")
		x.now = x.now.Add(-held)
		service.Pools(func(c io.Closer) bool {
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

// A server that closes a connection before it is asked has seen nothing, so that another one is asked, whatever the request is.
func TestWhatWasNeverSentIsGivenToAnother(t *testing.T) {
	closing, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closing.Close()
	e, service, begin := asking(t, closing.Addr().String(), "127.0.0.1:1")
	x := begin("POST")
	x.find()
	x.openContent()
	x.know()
	server, err := service.AcquireNow(&x.choice)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Release()
	x.server = server
	s, err := e.poolOf(server).dial(t.Context(), server, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	in, err := closing.Accept()
	if err != nil {
		t.Fatal(err)
	}
	in.Close()
	for limit := time.Now().Add(20 * time.Second); s.in.wait.alive(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatal("the connection stays open")
		}
	}
	if err := x.converse(s, false); err != errUsed {
		t.Errorf("it was asked: %v", err)
	} else if !x.again(err) {
		t.Error("it is not given to another server")
	}
}
