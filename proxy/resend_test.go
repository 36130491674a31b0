package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
	"tripod/proxy/web/rule"
)

// fault is what a bad server does with a request that it has read.
type fault func(c net.Conn)

// faults are the ways in which a server that takes a request may fail it.
var faults = map[string]fault{
	"closes":  func(c net.Conn) {},
	"resets":  func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
	"garbage": func(c net.Conn) { io.WriteString(c, "what do you want?\r\n\r\n") },
	"no HTTP": func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\nxx") },
	"hangs":   func(c net.Conn) { io.Copy(io.Discard, c) },
	"breaks off in the head": func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
	},
	"breaks off in the content": func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
	},
	"resets in the content": func(c net.Conn) {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
		c.(*net.TCPConn).SetLinger(0)
	},
}

// bad starts a server that fails every request, and counts them by method.
func bad(t testing.TB, f fault) (address string, seen func(method string) int) {
	t.Helper()
	var mu sync.Mutex
	count := map[string]int{}
	address = rawBackend(t, func(c net.Conn) {
		req, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		mu.Lock()
		count[req.Method]++
		mu.Unlock()
		f(c)
	})
	return address, func(method string) int {
		mu.Lock()
		defer mu.Unlock()
		return count[method]
	}
}

// Whatever a server does to an idempotent request, another one answers it; another request is never given to a second server once it was sent.
func TestIdempotentRequestsAreAnsweredByAnotherServer(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t)
			address, seen := bad(t, f)
			c, at := r.config(address, named(t, "hello"))
			s := c.Services["web"]
			s.Passive = &upstream.PassiveConfig{Failures: new(int)} // or it were ejected
			s.Retries = &upstream.RetriesConfig{Try: 50 * time.Millisecond}
			s.Rules.Timeouts = &rule.TimeoutsConfig{FirstByte: ms(300)}
			c.Services["web"] = s
			r.apply(c)
			b, retries := client(t, false), 0
			for method := range map[string]bool{"GET": true, "PUT": true, "DELETE": true, "OPTIONS": true, "POST": false, "PATCH": false} {
				idempotent := method != "POST" && method != "PATCH"
				failed := 0
				const n = 6
				for range n {
					req, _ := http.NewRequest(method, "http://"+at, strings.NewReader("content"))
					res, err := b.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					text, err := io.ReadAll(res.Body)
					res.Body.Close()
					switch {
					case res.StatusCode == 200 && err == nil && string(text) == "hello":
					case idempotent:
						t.Errorf("%s: %d %q %v", method, res.StatusCode, text, err)
					default:
						failed++
					}
				}
				if seen(method) == 0 || failed != 0 && failed != seen(method) || failed == 0 != idempotent {
					t.Errorf("%s: %d of %d failed, the bad server saw %d", method, failed, n, seen(method))
				}
				if idempotent {
					retries += seen(method)
				}
			}
			if got := r.p.Status().Services[0]; got.Retries != uint64(retries) || got.Servers[0].Faults < uint64(retries) {
				t.Errorf("retries: %d, faults: %d, want %d", got.Retries, got.Servers[0].Faults, retries)
			}
		})
	}
}

// A server that does so cannot be made good for: the client has a part of the answer.
func TestLongAnswersAreNotBegunAnew(t *testing.T) {
	r := start(t)
	address, seen := bad(t, func(c net.Conn) {
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n%s", strings.Repeat("x", 50000))
	})
	res, err := client(t, false).Get("http://" + r.serve(address, address2(t)))
	for err == nil && res.ContentLength != 100000 {
		res.Body.Close()
		res, err = client(t, false).Get("http://" + r.serve(address, address2(t)))
	}
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(res.Body); err == nil || strings.Trim(string(b), "x") != "" {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	want(t, "times that it was asked", seen("GET"), 1)
}

func address2(t *testing.T) string { return named(t, "whole") }

func TestAllServersFail(t *testing.T) {
	for name, servers := range map[string]func() []string{
		"refuse": func() []string { return []string{deadAddress(t), deadAddress(t), deadAddress(t)} },
		"reset": func() []string {
			a, _ := bad(t, faults["resets"])
			b, _ := bad(t, faults["closes"])
			return []string{a, b}
		},
	} {
		r := start(t)
		res, err := client(t, false).Get("http://" + r.serve(servers()...))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %s, Retry-After %q", name, res.Status, res.Header.Get("Retry-After"))
		}
	}
}

// A request that waits for the answer of a server which the checks find to be down is given to another at once, and not when its own time is over.
func TestRequestsLeaveAServerThatIsDown(t *testing.T) {
	var sick atomic.Bool
	arrived := make(chan struct{}, 16)
	everyWay(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/health" && sick.Load():
			w.WriteHeader(500)
		case r.URL.Path == "/health":
		default:
			arrived <- struct{}{}
			<-r.Context().Done()
		}
	}, func(c *Config) {
		s := c.Services["web"]
		s.Balance = upstream.First
		s.Servers = append(s.Servers, upstream.ServerConfig{Address: bilingual(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "other") })})
		s.Health = &health.Config{Path: "/health", Interval: 10 * time.Millisecond, Fall: 1}
		c.Services["web"] = s
	}, func(t *testing.T, w *way) {
		sick.Store(false)
		eventually(t, "both are up", func() bool {
			servers := w.p.Status().Services[0].Servers
			return servers[0].State == upstream.StateUp && servers[1].State == upstream.StateUp
		})
		got := make(chan answered, 1)
		go func() { got <- w.do(t, "GET", "/", "") }()
		<-arrived
		sick.Store(true)
		a := <-got
		want(t, "status", a.StatusCode, 200)
		want(t, "answer", a.text, "other")
	})
}

func TestStatusesAreTriedElsewhere(t *testing.T) {
	var asked atomic.Int32
	busy := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(503)
		io.WriteString(w, "busy")
	}
	everyWay(t, busy, func(c *Config) {
		s := c.Services["web"]
		s.Servers = append(s.Servers, upstream.ServerConfig{Address: bilingual(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "other") })})
		s.Balance = upstream.First
		s.Retries = &upstream.RetriesConfig{Status: []int{502, 503}}
		c.Services["web"] = s
	}, func(t *testing.T, w *way) {
		asked.Store(0)
		a := w.do(t, "GET", "/", "")
		want(t, "answer", a.text, "other")
		a = w.do(t, "POST", "/", "content")
		want(t, "a POST", a.StatusCode, 503)
		want(t, "its answer", a.text, "busy")
		want(t, "times asked", asked.Load(), 2)
		s := w.config.Services["web"]
		s.Servers = s.Servers[:1]
		w.config.Services["web"] = s
		w.apply(w.config)
		want(t, "with no other server", w.do(t, "GET", "/", "").text, "busy")
	})
}

func TestHedging(t *testing.T) {
	var slow atomic.Bool
	var asked atomic.Int32 // requests that the first server works on
	sluggish := func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() && r.URL.Path != "/late" {
			asked.Add(1)
			defer asked.Add(-1)
			<-r.Context().Done() // the proxy lets it go
			return
		}
		if r.URL.Path == "/late" { // later than the hedge, and still first
			time.Sleep(60 * time.Millisecond)
		}
		io.WriteString(w, "first")
	}
	second := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" || r.URL.Path == "/dead" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, strings.Repeat("second", 10000))
	}
	r := start(t)
	c, at := r.config(backend(t, sluggish), backend(t, second))
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Retries = &upstream.RetriesConfig{Hedge: 30 * time.Millisecond}
	c.Services["web"] = s
	r.apply(c)
	b := client(t, false)
	url := "http://" + at
	ask := func(path, answer string) {
		t.Helper()
		if status, text := get(t, b, url+path); status != 200 || text != answer {
			t.Errorf("%s: %d %.20q", path, status, text)
		}
	}
	ask("/", "first")
	want(t, "hedges while it is quick", r.p.Status().Services[0].Retries, 0)
	ask("/late", "first")
	want(t, "hedges", r.p.Status().Services[0].Retries, 1)
	slow.Store(true)
	for range 5 {
		ask("/", strings.Repeat("second", 10000))
	}
	eventually(t, "the first server is let go", func() bool { return asked.Load() == 0 })
	want(t, "hedges", r.p.Status().Services[0].Retries, 6)
	eventually(t, "nobody is asked any more", func() bool {
		st := r.p.Status().Services[0]
		return st.Running == 0 && st.Servers[0].Active == 0 && st.Servers[1].Active == 0
	})
	// A client that leaves leaves both.
	ctx := t.Context()
	req, _ := http.NewRequestWithContext(ctx, "GET", url+"/dead", nil)
	short := *b
	short.Timeout = 100 * time.Millisecond
	if _, err := short.Do(req); err == nil {
		t.Error("an answer of nobody")
	}
	eventually(t, "both are free", func() bool { return r.p.Status().Services[0].Running == 0 })
}

// A server that fails while a second one is asked does no harm.
func TestHedgeMakesGoodForAFault(t *testing.T) {
	r := start(t)
	address, _ := bad(t, func(c net.Conn) { time.Sleep(60 * time.Millisecond) })
	release := make(chan struct{})
	c, at := r.config(address, backend(t, func(w http.ResponseWriter, r *http.Request) {
		<-release
		io.WriteString(w, "second")
	}))
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Retries = &upstream.RetriesConfig{Hedge: 20 * time.Millisecond}
	c.Services["web"] = s
	r.apply(c)
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	if status, text := get(t, client(t, false), "http://"+at); status != 200 || text != "second" {
		t.Errorf("%d %s", status, text)
	}
}

func TestAccessLogTellsWhatWasWaitedFor(t *testing.T) {
	r := start(t)
	address, _ := bad(t, faults["resets"])
	hold := make(chan struct{})
	entered := make(chan struct{}, 2)
	c, at := r.config(address, backend(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-hold
	}))
	s := c.Services["web"]
	s.Balance = upstream.First
	s.Servers[1].MaxConnections = 1
	c.Services["web"] = s
	r.apply(c)
	var all sync.WaitGroup
	all.Go(func() { get(t, client(t, false), "http://"+at+"/tried") })
	<-entered
	s.Servers = s.Servers[1:]
	c.Services["web"] = s
	r.apply(c)
	all.Go(func() { get(t, client(t, false), "http://"+at+"/queued") })
	eventually(t, "one waits", func() bool { return r.p.Status().Services[0].Queued == 1 })
	close(hold)
	all.Wait()
	for path, fields := range map[string][]string{"/tried": {`"tries":2`, `"connect_ms":`, `"first_byte_ms":`}, "/queued": {`"queued_ms":`}} {
		var line string
		eventually(t, "a line for "+path, func() bool {
			for l := range strings.Lines(r.access.String()) {
				if strings.Contains(l, path) {
					line = l
				}
			}
			return line != ""
		})
		for _, f := range fields {
			if !strings.Contains(line, f) {
				t.Errorf("%s: no %s in %s", path, f, line)
			}
		}
	}
}

// Who comes when as many wait as may is told at once, and when to come again.
func TestAFullServiceSaysWhenToComeAgain(t *testing.T) {
	r := start(t)
	hold := make(chan struct{})
	entered := make(chan struct{})
	c, at := r.config(backend(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-hold
	}))
	s := c.Services["web"]
	none := 0
	s.Limits = &upstream.LimitsConfig{Requests: 1, Pending: &none}
	c.Services["web"] = s
	r.apply(c)
	var first sync.WaitGroup
	first.Go(func() { get(t, client(t, false), "http://"+at) })
	<-entered
	res, err := client(t, false).Get("http://" + at)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("%s, Retry-After %q", res.Status, res.Header.Get("Retry-After"))
	}
	want(t, "refused", r.metric("tripod_service_unserved_requests_total", "service", "web", "reason", "queue_full"), 1)
	close(hold)
	first.Wait()
}

// However many servers might be tried, a request ends with its own time.
func TestRetriesEndWithTheRequestsTime(t *testing.T) {
	r := start(t)
	var servers []string
	for range 8 {
		address, _ := bad(t, faults["hangs"])
		servers = append(servers, address)
	}
	c, at := r.config(servers...)
	s := c.Services["web"]
	many := 10
	s.Retries = &upstream.RetriesConfig{Try: 100 * time.Millisecond, Most: &many}
	s.Rules.Timeouts = &rule.TimeoutsConfig{Total: ms(350)}
	c.Services["web"] = s
	r.apply(c)
	status, _ := get(t, client(t, false), "http://"+at)
	want(t, "status", status, 504)
	if got := r.p.Status().Services[0].Retries; got < 1 || got > 4 {
		t.Errorf("%d retries within 350 ms, 100 ms each", got)
	}
	eventually(t, "nothing runs any more", func() bool { return r.p.Status().Services[0].Running == 0 })
}

// The metrics say what became of servers and of requests.
func TestMetricsOfServices(t *testing.T) {
	r := start(t)
	address, _ := bad(t, faults["resets"])
	c, at := r.config(address, named(t, "well"))
	s := c.Services["web"]
	twice := 2
	s.Balance = upstream.First
	s.Passive = &upstream.PassiveConfig{Failures: &twice, Eject: time.Hour, Longest: time.Hour}
	c.Services["web"] = s
	r.apply(c)
	for range 5 {
		get(t, client(t, false), "http://"+at)
	}
	for _, m := range []struct {
		name   string
		labels []string
		value  float64
	}{
		{"tripod_service_retries_total", nil, 2}, // then it is ejected
		{"tripod_service_ejections_total", nil, 1},
		{"tripod_service_queued_requests", nil, 0},
		{"tripod_server_faults_total", []string{"server", address}, 2},
		{"tripod_server_requests_total", []string{"server", address}, 2},
		{"tripod_server_state", []string{"server", address, "state", "ejected"}, 1},
		{"tripod_server_state", []string{"server", address, "state", "up"}, 0},
		{"tripod_server_weight", []string{"server", address}, 1},
	} {
		want(t, fmt.Sprint(m.name, m.labels), r.metric(m.name, append([]string{"service", "web"}, m.labels...)...), m.value)
	}
}
