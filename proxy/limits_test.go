package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/web/rule"
)

// limited makes the first route take 10 bytes of content, whatever its service does.
func limited(c *Config) {
	route, s := rule.Size(10), c.Services["web"]
	of := rule.Size(5)
	s.Rules.MaxBody = &of
	c.Services["web"] = s
	none := rule.Size(0)
	c.Routes = []RouteConfig{
		{Path: "/", Service: "web", Rules: rule.Config{Common: rule.Common{MaxBody: &route}}},
		{Path: "/service", Service: "web"},
		{Path: "/unlimited", Service: "web", Rules: rule.Config{Common: rule.Common{MaxBody: &none}}},
	}
}

// reader is a server that answers with its request's content, and counts those that came whole and those that did not.
type reader struct{ reached, whole, broken atomic.Int32 }

func (s *reader) serve(w http.ResponseWriter, r *http.Request) {
	s.reached.Add(1)
	b, err := io.ReadAll(r.Body)
	if err != nil {
		s.broken.Add(1)
		return
	}
	s.whole.Add(1)
	w.Write(b)
}

func TestMaxBodyByLength(t *testing.T) {
	var s reader
	everyWay(t, s.serve, limited, func(t *testing.T, w *way) {
		for _, tt := range []struct {
			path   string
			size   int
			status int
		}{
			{"/", 10, 200}, {"/", 11, 413}, {"/", 100_000, 413}, {"/service", 5, 200}, {"/service", 6, 413}, {"/unlimited", 100_000, 200},
		} {
			before := s.reached.Load()
			a := w.do(t, "PUT", tt.path, strings.Repeat("x", tt.size))
			want(t, fmt.Sprint(tt.path, tt.size), a.StatusCode, tt.status)
			want(t, fmt.Sprint(tt.path, tt.size, " at the server"), s.reached.Load() > before, tt.status == 200)
			if tt.status == 200 {
				want(t, "content", len(a.text), tt.size)
			} else {
				want(t, "closing", a.Close, !w.h2)
			}
		}
	})
}

// A length that is not told is found out on the way: the server then sees a request that breaks off, and never a whole one.
func TestMaxBodyWithoutLength(t *testing.T) {
	for _, path := range []string{"/", "/service"} {
		t.Run(path, func(t *testing.T) {
			var s reader
			everyWay(t, s.serve, limited, func(t *testing.T, w *way) {
				send := func(parts ...string) answered {
					r, sent := io.Pipe()
					go func() {
						for _, p := range parts {
							if _, err := io.WriteString(sent, p); err != nil {
								return
							}
						}
						sent.Close()
					}()
					req, _ := http.NewRequestWithContext(t.Context(), "PUT", w.url+path, r)
					return w.send(t, req)
				}
				whole, broken := s.whole.Load(), s.broken.Load()
				a := send("01", "234")
				want(t, "fits", a.StatusCode, 200)
				want(t, "content", a.text, "01234")
				want(t, "whole", s.whole.Load(), whole+1)
				a = send("01234", "5678", "9a", strings.Repeat("x", 50_000))
				want(t, "too large", a.StatusCode, 413)
				eventually(t, "a broken request", func() bool { return s.broken.Load() == broken+1 })
				want(t, "whole", s.whole.Load(), whole+1)
				w.logged(t, `"status":413`)
			})
		})
	}
}

func TestExpectWithTooMuchIsRefusedWithoutAsking(t *testing.T) {
	var s reader
	w := newWay(t, s.serve, false, "", limited)
	text := raw(t, w.at, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n")
	if !strings.HasPrefix(text, "HTTP/1.1 413 ") || !strings.Contains(text, "\r\nConnection: close\r\n") {
		t.Errorf("got %q", text)
	}
	want(t, "requests at the server", s.reached.Load(), 0)
}

// A client that waits for 100 (Continue) gets it, whatever the server speaks, and its content arrives.
func TestExpectIsMet(t *testing.T) {
	var s reader
	everyWay(t, s.serve, nil, func(t *testing.T, w *way) {
		w.client.Transport.(*http.Transport).ExpectContinueTimeout = 20 * time.Second
		for _, content := range []string{"short", strings.Repeat("long", 50_000)} {
			a := w.do(t, "PUT", "/", content, "Expect", "100-continue")
			want(t, "status", a.StatusCode, 200)
			want(t, "content", a.text == content, true)
		}
		// Without any of the content before the answer to the expectation.
		if !w.h2 {
			c := dial(t, w.at)
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
			in := bufio.NewReader(c)
			line, _ := in.ReadString('\n')
			want(t, "interim", line, "HTTP/1.1 100 Continue\r\n")
			in.ReadString('\n')
			io.WriteString(c, "body")
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			want(t, "content", string(b), "body")
		}
	})
}

// withTimeouts gives the service and its route timeouts.
func withTimeouts(service, route rule.TimeoutsConfig) func(*Config) {
	return func(c *Config) {
		s := c.Services["web"]
		s.Rules.Timeouts = &service
		c.Services["web"] = s
		c.Routes[0].Rules.Timeouts = &route
	}
}

// stalling is a server that does what the path says, and then waits until its client has gone.
func stalling(t *testing.T) (http.HandlerFunc, *atomic.Int32) {
	gone := &atomic.Int32{}
	return func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/middle":
			io.WriteString(w, "begun")
			w.(http.Flusher).Flush()
		case "/long": // enough for the kernel to carry it, if it can
			w.Header().Set("Content-Length", "1000000")
			io.WriteString(w, strings.Repeat("x", 100_000))
			w.(http.Flusher).Flush()
		case "/trickle":
			for r.Context().Err() == nil {
				io.WriteString(w, "x")
				if w.(http.Flusher).Flush(); r.Context().Err() == nil {
					time.Sleep(5 * time.Millisecond) // the rhythm of the answer; nothing waits on it
				}
			}
		case "/upload":
			http.NewResponseController(w).EnableFullDuplex()
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				gone.Add(1)
				return
			}
		}
		<-r.Context().Done()
		gone.Add(1)
	}, gone
}

const soon = 100 * time.Millisecond

func ms(n int) *time.Duration { d := time.Duration(n) * time.Millisecond; return &d }

func TestTimeouts(t *testing.T) {
	hour := time.Hour
	short, long := soon, hour
	for _, tt := range []struct {
		name           string
		service, route rule.TimeoutsConfig
		path           string
		status         int
		broken         bool
	}{
		{"first byte", rule.TimeoutsConfig{}, rule.TimeoutsConfig{FirstByte: &short}, "/", 504, false},
		{"first byte of the service", rule.TimeoutsConfig{FirstByte: &short}, rule.TimeoutsConfig{}, "/", 504, false},
		{"first byte, the route's before the service's", rule.TimeoutsConfig{FirstByte: &long}, rule.TimeoutsConfig{FirstByte: &short}, "/", 504, false},
		{"idle", rule.TimeoutsConfig{}, rule.TimeoutsConfig{Idle: &short}, "/middle", 200, true},
		{"idle, of a long answer", rule.TimeoutsConfig{}, rule.TimeoutsConfig{Idle: &short}, "/long", 200, true},
		{"total before the answer", rule.TimeoutsConfig{}, rule.TimeoutsConfig{Total: &short}, "/", 504, false},
		{"total of the service", rule.TimeoutsConfig{Total: &short}, rule.TimeoutsConfig{}, "/", 504, false},
		{"total in the answer", rule.TimeoutsConfig{}, rule.TimeoutsConfig{Total: &short}, "/middle", 200, true},
		{"total of an answer that goes on", rule.TimeoutsConfig{}, rule.TimeoutsConfig{Total: ms(300), Idle: &long}, "/trickle", 200, true},
		{"total of a long answer", rule.TimeoutsConfig{}, rule.TimeoutsConfig{Total: &short, Idle: new(time.Duration)}, "/long", 200, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server, gone := stalling(t)
			everyWay(t, server, withTimeouts(tt.service, tt.route), func(t *testing.T, w *way) {
				before := gone.Load()
				a := w.do(t, "GET", tt.path, "")
				want(t, "status", a.StatusCode, tt.status)
				if (a.err != nil) != tt.broken {
					t.Errorf("content: %v", a.err)
				}
				if tt.status == 504 && !strings.HasPrefix(a.text, "504 Gateway Timeout: ") {
					t.Errorf("page %q", a.text)
				}
				eventually(t, "the server is let go", func() bool { return gone.Load() > before })
				w.logged(t, fmt.Sprintf(`"status":%d`, tt.status))
				a = w.do(t, "GET", tt.path, "") // and the next request has all of its time
				want(t, "next status", a.StatusCode, tt.status)
			})
		})
	}
}

// A limit of 0s is none, also where the default would be passed by.
func TestNoTimeouts(t *testing.T) {
	release := make(chan struct{})
	server := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		if r.URL.Path == "/first" {
			<-release
		}
		io.WriteString(w, strings.Repeat("x", 100_000))
		w.(http.Flusher).Flush()
		<-release
		io.WriteString(w, strings.Repeat("x", 900_000))
	}
	none := new(time.Duration)
	change := func(c *Config) {
		withTimeouts(rule.TimeoutsConfig{}, rule.TimeoutsConfig{Connect: none, FirstByte: none, Idle: none, Total: none})(c)
	}
	tight := func(o *Options) {
		o.Timeouts.Answer, o.Timeouts.Body, o.Timeouts.Stall = soon, soon, soon
	}
	r := start(t, tight)
	config, at := r.config(backend(t, server))
	change(&config)
	r.apply(config)
	done := make(chan error)
	for _, path := range []string{"/first", "/middle"} {
		c := client(t, false)
		go func() {
			res, err := c.Get("http://" + at + path)
			if err == nil {
				var n int64
				if n, err = io.Copy(io.Discard, res.Body); n != 1_000_000 && err == nil {
					err = fmt.Errorf("%d bytes", n)
				}
				res.Body.Close()
			}
			done <- err
		}()
	}
	select {
	case err := <-done:
		t.Fatal("ended without a limit: ", err)
	case <-time.After(5 * soon): // the time of the limits that are not there
	}
	close(release)
	for range 2 {
		want(t, "answer", <-done, nil)
	}
}

func TestIdleUploads(t *testing.T) {
	short := soon
	server, gone := stalling(t)
	everyWay(t, server, withTimeouts(rule.TimeoutsConfig{}, rule.TimeoutsConfig{Idle: &short}), func(t *testing.T, w *way) {
		for _, length := range []int64{-1, 1000} {
			before := gone.Load()
			r, sent := io.Pipe()
			defer sent.Close()
			go io.WriteString(sent, "some of it")
			req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+"/upload", r)
			req.ContentLength = length
			res, err := w.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			want(t, "status", res.StatusCode, 408)
			eventually(t, "the server is let go", func() bool { return gone.Load() > before })
		}
	})
}

// Answers that end just when their time does are whole or not, but whatever comes next on their connection is.
func TestTotalThatPassesAtTheEnd(t *testing.T) {
	server := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/next" {
			return
		}
		w.(http.Flusher).Flush()
		time.Sleep(soon / 2) // as long as the limit; nothing waits on it
		io.WriteString(w, "x")
	}
	change := func(c *Config) {
		withTimeouts(rule.TimeoutsConfig{}, rule.TimeoutsConfig{Total: ms(int(soon/time.Millisecond) / 2)})(c)
		c.Routes = append(c.Routes, RouteConfig{Path: "/next", Service: "web", Rules: rule.Config{Common: rule.Common{Timeouts: &rule.TimeoutsConfig{Total: new(time.Duration)}}}})
	}
	everyWay(t, server, change, func(t *testing.T, w *way) {
		var all sync.WaitGroup
		for range 30 {
			all.Go(func() {
				for range 5 {
					if res, err := w.client.Get(w.url); err == nil {
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					want(t, "next", w.do(t, "GET", "/next", "").StatusCode, 200)
				}
			})
		}
		all.Wait()
	})
}

// Idle is who is silent in both directions: one side may listen for as long as the other speaks.
func TestIdleIsSilenceOfBoth(t *testing.T) {
	t.Parallel()
	const limit, rhythm, times = 2 * time.Second, 50 * time.Millisecond, 60 // which is half as long again
	server := func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.WriteString(w, ".")
		w.(http.Flusher).Flush()
		in := bufio.NewReader(r.Body)
		if r.URL.Path == "/client-listens" {
			for range times {
				time.Sleep(rhythm)
				io.WriteString(w, ".")
				w.(http.Flusher).Flush()
			}
		}
		line, err := in.ReadString('\n')
		fmt.Fprint(w, line, err)
	}
	idle := limit
	everyWay(t, server, withTimeouts(rule.TimeoutsConfig{}, rule.TimeoutsConfig{Idle: &idle}), func(t *testing.T, w *way) {
		t.Parallel()
		for _, path := range []string{"/client-listens", "/server-listens"} {
			r, sent := io.Pipe()
			req, _ := http.NewRequestWithContext(t.Context(), "POST", w.url+path, r)
			res, err := w.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			dots := make([]byte, 1)
			if path == "/client-listens" {
				dots = make([]byte, times+1)
			}
			if _, err := io.ReadFull(res.Body, dots); err != nil {
				t.Fatal(path, err)
			}
			if path == "/server-listens" {
				for range times {
					time.Sleep(rhythm)
					io.WriteString(sent, ".")
				}
			}
			io.WriteString(sent, "end\n")
			sent.Close()
			b, err := io.ReadAll(res.Body)
			want(t, path, strings.TrimLeft(string(b), "."), "end\n<nil>")
			want(t, path, err, nil)
		}
	})
}

// A client that does not take its answer is let go in time too.
func TestTotalOfAClientThatTakesNothing(t *testing.T) {
	ended := make(chan struct{}, 1)
	server := func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				ended <- struct{}{}
				return
			}
		}
	}
	everyWay(t, server, withTimeouts(rule.TimeoutsConfig{}, rule.TimeoutsConfig{Total: ms(300)}), func(t *testing.T, w *way) {
		res, err := w.client.Get(w.url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		<-ended
		eventually(t, "no request", func() bool { return w.p.Status().Services[0].Servers[0].Active == 0 })
		if _, err := io.Copy(io.Discard, res.Body); err == nil {
			t.Error("the answer looks whole")
		} else if errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// A limit of connections to a service holds over all of its servers: idle ones give way, and requests wait for their turn.
func TestConnectionsToAService(t *testing.T) {
	const most = 3
	var open, peak atomic.Int64
	server := func() string {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Millisecond)
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				if n := open.Add(1); n > peak.Load() {
					peak.Store(n)
				}
			case http.StateClosed:
				open.Add(-1)
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	r := start(t)
	c, at := r.config(server(), server(), server(), server())
	s := c.Services["web"]
	s.Limits = &upstream.LimitsConfig{Connections: most}
	c.Services["web"] = s
	r.apply(c)
	var all sync.WaitGroup
	for range 12 {
		b := client(t, false)
		all.Go(func() {
			for range 20 {
				if status, _ := get(t, b, "http://"+at); status != 200 {
					t.Errorf("status %d", status)
				}
			}
		})
	}
	all.Wait()
	if n := peak.Load(); n > most+4 { // a server sees that one was closed a moment after the next has come
		t.Errorf("%d connections", n)
	}
	eventually(t, "what idles is within the limit", func() bool { return open.Load() <= most })
}
