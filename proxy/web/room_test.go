package web

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// served is an engine for a service with one server. The functions open a client's connection that gets a path's status, and wait until no
// request is under way.
func served(t *testing.T, o Options, server http.HandlerFunc) (e *Engine, open func() func(path string) int, idle func()) {
	s := httptest.NewServer(server)
	t.Cleanup(s.Close)
	pool := upstream.New(upstream.Options{})
	if err := pool.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan := pool.Plan(map[string]upstream.Config{"web": {Servers: []upstream.ServerConfig{{Address: s.Listener.Addr().String()}}}})
	plan.Commit()
	e = New(o)
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
	t.Cleanup(func() {
		ln.Close()
		f.Close(context.Background())
		pool.Close(context.Background())
		if n := e.room.open.Load(); n != 0 {
			t.Errorf("%d connections to servers are counted when all are closed", n)
		}
	})
	idle = func() {
		for limit := time.Now().Add(20 * time.Second); pool.Status()[0].Servers[0].Active > 0; runtime.Gosched() {
			if time.Now().After(limit) {
				t.Fatal("requests are under way")
			}
		}
	}
	open = func() func(string) int {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if in, err := ln.Accept(); err == nil {
			f.ServeConn(in)
		}
		in := bufio.NewReader(c)
		return func(path string) int {
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Error(err)
				return 0
			}
			res.Body.Close()
			return res.StatusCode
		}
	}
	return e, open, idle
}

// However many requests there are, no more connections to servers are open than may be, and each that ends makes room.
func TestConnectionsToServersAreLimited(t *testing.T) {
	const most = 4
	arrived, release := make(chan bool), make(chan bool)
	e, open, idle := served(t, Options{MaxServers: most}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			arrived <- true
			<-release
		}
	})
	for range 3 {
		statuses := make(chan int)
		for range most {
			get := open()
			go func() { statuses <- get("/hold") }()
			<-arrived
		}
		get := open()
		if status := get("/"); status != 503 {
			t.Errorf("one too many: %d", status)
		}
		for range most {
			release <- true
			if status := <-statuses; status != 200 {
				t.Errorf("one of those before: %d", status)
			}
		}
		idle()
		if n := e.room.open.Load(); n != most/2 { // what idles leaves room for other servers
			t.Errorf("%d connections are kept", n)
		}
		if status := get("/"); status != 200 {
			t.Errorf("after that: %d", status)
		}
		idle()
	}
}
