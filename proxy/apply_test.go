package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
)

func TestApplyUnderLoadDropsNothing(t *testing.T) {
	r := start(t)
	a, b, c := named(t, "ok"), named(t, "ok"), named(t, "ok")
	config, at := r.config(a, b)
	r.apply(config)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var sent, failed atomic.Int64
	for range 8 {
		cl := client(t, false)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				res, err := cl.Post("http://"+at, "text/plain", strings.NewReader("x"))
				sent.Add(1)
				if err != nil {
					failed.Add(1)
					t.Log(err)
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || string(body) != "ok" {
					failed.Add(1)
					t.Logf("%v %d %q", err, res.StatusCode, body)
				}
			}
		})
	}
	health := &health.Config{Interval: 20 * time.Millisecond}
	for i := range 60 {
		next := config
		next.Services = map[string]upstream.Config{"web": service([]string{a, b, c}[i%3], []string{b, c, a}[i%3])}
		if i%4 > 1 { // a service that is all new, checked
			next.Services = map[string]upstream.Config{fmt.Sprint("s", i): {Servers: service(b).Servers, Health: health}}
		}
		for name := range next.Services {
			next.Routes = []RouteConfig{{Service: name}}
		}
		next.Listeners = map[string]ListenerConfig{fmt.Sprint("l", i%2): config.Listeners["http"]}
		r.apply(next)
		time.Sleep(5 * time.Millisecond) // the rhythm of the changes; nothing waits on it
	}
	close(stop)
	wg.Wait()
	if failed.Load() > 0 || sent.Load() < 100 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
}

func TestFailedApplyLeavesEverything(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "former"))
	r.apply(config)
	taken, err := net.Listen("tcp", r.local.String()+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	conn, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	before := openFiles(t)

	free := fmt.Sprintf(":%d", r.port())
	next := Config{
		Listeners: map[string]ListenerConfig{"free": {Address: free}, "extra": {Address: taken.Addr().String()}},
		Routes:    []RouteConfig{{Service: "new"}},
		Services:  map[string]upstream.Config{"new": service(named(t, "new"))},
	}
	before++ // the new server's own socket
	err = r.p.Apply(t.Context(), next)
	if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatalf("apply: %v", err)
	}
	for _, s := range []string{"listener extra", taken.Addr().String(), "stop it, or give the listener another address"} {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in %q", s, err)
		}
	}
	want(t, "open files", openFiles(t), before)
	if c, err := net.Dial("tcp", r.local.String()+free); err == nil {
		c.Close()
		t.Error("the other new address is served")
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	want(t, "answer on the old connection", string(body), "former")
	for name, bad := range map[string]Config{
		"no service":      {Routes: []RouteConfig{{Service: "nil"}}},
		"same listeners":  {Listeners: map[string]ListenerConfig{"a": {Address: ":8080"}, "b": {Address: ":8080"}}},
		"same routes":     {Services: next.Services, Routes: []RouteConfig{{Host: "a", Service: "new"}, {Host: "A", Path: "/", Service: "new"}}},
		"invalid service": {Services: map[string]upstream.Config{"x": {Balance: "x"}}},
	} {
		if err := r.p.Apply(t.Context(), bad); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	_, text := get(t, client(t, false), "http://"+at)
	want(t, "answer at the end", text, "former")
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	n := 0
	for _, e := range list {
		if l, _ := os.Readlink("/proc/self/fd/" + e.Name()); strings.HasPrefix(l, "socket:") {
			n++
		}
	}
	return n
}

func TestSwapsOnOneAddress(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "x"))
	r.apply(config)
	plain := client(t, false)
	get(t, plain, "http://"+at)

	address := config.Listeners["http"].Address
	config.Listeners = map[string]ListenerConfig{"renamed": {Address: address}}
	r.apply(config)
	get(t, plain, "http://"+at)
	want(t, "name", r.p.Status().Listeners[0].Name, "renamed")

	config.Listeners = map[string]ListenerConfig{"renamed": {Address: address, TLS: true}}
	r.apply(config)
	status, _ := get(t, plain, "http://"+at) // on the connection of before
	want(t, "old connection", status, 200)
	status, _ = get(t, client(t, true), "https://"+at)
	want(t, "new connection", status, 200)

	config.Listeners = map[string]ListenerConfig{"renamed": {Address: address}}
	r.apply(config)
	status, _ = get(t, client(t, false), "http://"+at)
	want(t, "back", status, 200)

	// Two listeners change places.
	second := fmt.Sprintf(":%d", r.port())
	config.Listeners = map[string]ListenerConfig{"a": {Address: address}, "b": {Address: second, TLS: true}}
	r.apply(config)
	config.Listeners = map[string]ListenerConfig{"b": {Address: address, TLS: true}, "a": {Address: second}}
	r.apply(config)
	get(t, client(t, false), "http://"+r.local.String()+second)
	get(t, client(t, false), "https://"+at)
}

func TestRemovedListenerFinishesItsRequests(t *testing.T) {
	r := start(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	config, at := r.config(backend(t, func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "finished")
	}))
	r.apply(config)
	done := make(chan string)
	go func() {
		res, err := http.Get("http://" + at)
		if err != nil {
			done <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		done <- string(b)
	}()
	<-arrived
	r.apply(Config{})
	if c, err := net.Dial("tcp", at); err == nil {
		c.Close()
		t.Error("still accepting")
	}
	close(release)
	want(t, "the running request", <-done, "finished")
}

func TestBusyClientsAreToldBeforeTheSocketCloses(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("h2=%v", h2), func(t *testing.T) {
			r := start(t)
			config, at := r.config(backend(t, func(w http.ResponseWriter, req *http.Request) { io.Copy(io.Discard, req.Body) }))
			config.Listeners["http"] = ListenerConfig{Address: config.Listeners["http"].Address, TLS: true}
			config.AccessLog = 0
			r.apply(config)
			var wg sync.WaitGroup
			var sent atomic.Int64
			for range 4 {
				c := client(t, h2)
				wg.Go(func() {
					for {
						res, err := c.Post("https://"+at, "text/plain", io.MultiReader(strings.NewReader("not to be repeated")))
						if errors.Is(err, syscall.ECONNREFUSED) {
							return // closed, and said so
						}
						if err != nil {
							t.Error(err)
							return
						}
						res.Body.Close()
						want(t, "status", res.StatusCode, 200)
						sent.Add(1)
					}
				})
			}
			eventually(t, "traffic", func() bool { return sent.Load() > 20 })
			config.Listeners = nil
			r.apply(config)
			wg.Wait()
		})
	}
}

func TestCloseFinishesAndThenCuts(t *testing.T) {
	r := start(t)
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	config, at := r.config(backend(t, func(w http.ResponseWriter, req *http.Request) {
		arrived <- struct{}{}
		if req.URL.Path == "/ends" {
			<-release
			io.WriteString(w, "finished")
			return
		}
		<-req.Context().Done()
	}))
	r.apply(config)
	results := make(chan string, 2)
	for _, path := range []string{"/ends", "/never"} {
		c := client(t, false)
		go func() {
			res, err := c.Get("http://" + at + path)
			if err != nil {
				results <- path + " failed"
				return
			}
			defer res.Body.Close()
			b, _ := io.ReadAll(res.Body)
			results <- path + " " + string(b)
		}()
	}
	<-arrived
	<-arrived
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error)
	go func() { closed <- r.p.Close(ctx) }()
	eventually(t, "the port is closed", func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(release)
	want(t, "first", <-results, "/ends finished")
	cancel()
	want(t, "second", <-results, "/never failed")
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if err := r.p.Close(t.Context()); err != nil {
		t.Errorf("second close: %v", err)
	}
	if err := r.p.Apply(t.Context(), config); !errors.Is(err, ErrNotOpen) {
		t.Errorf("apply after close: %v", err)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	r := start(t)
	config, at := r.config(named(t, "x"))
	config.Listeners["tcp"] = ListenerConfig{Address: fmt.Sprintf(":%d", r.port()), Protocol: TCP, Service: "web"}
	s := config.Services["web"]
	s.Health = &health.Config{Interval: time.Millisecond}
	config.Services["web"] = s
	r.apply(config)
	get(t, client(t, false), "http://"+at)
	dial(t, at) // and says nothing
	dial(t, strings.Replace(at, at[strings.Index(at, ":"):], config.Listeners["tcp"].Address, 1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	r.p.Close(ctx)
	var b strings.Builder
	pprof.Lookup("goroutine").WriteTo(&b, 2)
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(stack, "tripod/proxy") && !strings.Contains(stack, "_test.go") {
			t.Errorf("left behind:\n%s", stack)
		}
	}
}

func TestHold(t *testing.T) {
	vip := loopback()
	a, b := start(t), start(t)
	port := freePort(t, vip)
	document := func(name string) Config {
		return Config{
			Listeners: map[string]ListenerConfig{
				"http": {Address: fmt.Sprintf(":%d", port)},
				"vip":  {Address: fmt.Sprintf("%s:%d", vip, port+1)},
			},
			Routes:   []RouteConfig{{Service: "web"}},
			Services: map[string]upstream.Config{"web": service(named(t, name))},
			VIPs:     []netip.Addr{vip},
		}
	}
	a.apply(document("a"))
	b.apply(document("b"))
	answer := func(p int) string {
		res, err := client(t, false).Get(fmt.Sprintf("http://%s:%d", vip, p))
		if err != nil {
			return "nobody"
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return string(body)
	}
	want(t, "before", answer(port)+answer(port+1), "nobodynobody")
	a.p.Hold([]netip.Addr{vip})
	want(t, "a holds", answer(port)+answer(port+1), "aa")
	a.p.Hold(nil)
	want(t, "dropped", answer(port)+answer(port+1), "nobodynobody") // the moment Hold returns
	b.p.Hold([]netip.Addr{vip})
	want(t, "b holds", answer(port)+answer(port+1), "bb")

	// The new holder is early: it serves as soon as the former one lets go.
	a.p.Hold([]netip.Addr{vip})
	if s := a.p.Status(); !strings.Contains(s.Listeners[0].Error, "taken") {
		t.Errorf("status: %+v", s.Listeners)
	}
	if !strings.Contains(a.log.String(), "bind virtual address") {
		t.Error("nothing in the log")
	}
	a.apply(document("a")) // waiting for a VIP is no reason to refuse a document
	want(t, "still b", answer(port), "b")
	b.p.Hold(nil)
	eventually(t, "a takes over", func() bool { return answer(port)+answer(port+1) == "aa" })
	want(t, "error", a.p.Status().Listeners[0].Error, "")

	b.p.Hold([]netip.Addr{vip})
	b.p.Hold(nil) // and gives up waiting
	a.p.Hold(nil)
	want(t, "at the end", answer(port), "nobody")
	eventually(t, "the nodes' own addresses answer", func() bool {
		_, text := get(t, client(t, false), fmt.Sprintf("http://%s:%d", a.local, port))
		return text == "a"
	})
}

func TestMetrics(t *testing.T) {
	r := start(t)
	server := named(t, "x")
	config, at := r.config(server)
	s := config.Services["web"]
	s.Health = &health.Config{Interval: 10 * time.Millisecond}
	config.Services["web"] = s
	r.apply(config)
	c := client(t, false)
	for range 3 {
		get(t, c, "http://"+at)
	}
	metric := r.metric
	eventually(t, "three requests", func() bool {
		return metric("tripod_http_requests_total", "listener", "http", "service", "web", "code", "200") == 3
	})
	want(t, "durations", metric("tripod_http_request_duration_seconds", "service", "web"), 3)
	want(t, "connections", metric("tripod_http_connections", "listener", "http"), 1)
	want(t, "up", metric("tripod_server_up", "service", "web", "server", server), 1)
	want(t, "server's requests", metric("tripod_server_requests_total", "service", "web", "server", server), 3)
	want(t, "active", metric("tripod_server_active_requests", "service", "web", "server", server), 0)
	if n := metric("tripod_health_checks_total", "service", "web", "server", server, "result", "pass"); n < 1 {
		t.Errorf("checks: %v", n)
	}
	other := config
	other.Services = map[string]upstream.Config{"other": service(server)}
	other.Routes = []RouteConfig{{Service: "other"}}
	other.Listeners = map[string]ListenerConfig{"renamed": config.Listeners["http"]}
	r.apply(other)
	for _, name := range []string{"tripod_http_requests_total", "tripod_http_request_duration_seconds", "tripod_server_up", "tripod_server_requests_total", "tripod_health_checks_total"} {
		want(t, name+" of the former service", metric(name, "service", "web"), -1)
	}
	want(t, "former listener", metric("tripod_http_connections", "listener", "http"), -1)
	want(t, "connections stay", metric("tripod_http_connections", "listener", "renamed"), 1)
}

func TestHealthDecidesWhoAnswers(t *testing.T) {
	r := start(t)
	var sick atomic.Bool
	flaky := backend(t, func(w http.ResponseWriter, r *http.Request) {
		if sick.Load() && r.URL.Path == "/healthz" {
			w.WriteHeader(500)
		}
		io.WriteString(w, "flaky")
	})
	config, at := r.config()
	s := service(flaky, named(t, "spare"))
	s.Servers[1].Backup = true
	s.Health = &health.Config{Path: "/healthz", Interval: 5 * time.Millisecond}
	config.Services["web"] = s
	r.apply(config)
	c := client(t, false)
	answer := func() string {
		_, text := get(t, c, "http://"+at)
		return text
	}
	want(t, "the first request waits for the first check", answer() != "", true)
	eventually(t, "flaky up", func() bool { return answer() == "flaky" })
	sick.Store(true)
	eventually(t, "the backup answers", func() bool { return answer() == "spare" })
	status := r.p.Status().Services[0].Servers[0]
	if status.Up || !strings.Contains(status.Error, "500") {
		t.Errorf("status: %+v", status)
	}
	r.apply(config) // does not bring it back
	want(t, "after an apply", answer(), "spare")
	sick.Store(false)
	eventually(t, "flaky again", func() bool { return answer() == "flaky" })
}
