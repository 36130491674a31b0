package proxy

import (
	"bufio"
	"context"
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

// mortal is a server that can be made to fail in any way, and to come back. It notes whom it has seen.
type mortal struct {
	t       *testing.T
	address string

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]bool
	mode  fault // nil is well
	seen  map[string]int
	work  sync.WaitGroup
}

func newMortal(t *testing.T) *mortal {
	m := &mortal{t: t, conns: map[net.Conn]bool{}, seen: map[string]int{}}
	a := loopback()
	m.address = fmt.Sprintf("%s:%d", a, freePort(t, a))
	m.start()
	t.Cleanup(func() {
		m.crash()
		m.work.Wait()
	})
	return m
}

// start begins to listen.
func (m *mortal) start() {
	ln, err := net.Listen("tcp", m.address)
	if err != nil {
		m.t.Error(err)
		return
	}
	m.mu.Lock()
	m.ln = ln
	m.mu.Unlock()
	m.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns[c] = true
			m.mu.Unlock()
			m.work.Go(func() { m.serve(c) })
		}
	})
}

// crash ends the listener and all connections at once.
func (m *mortal) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ln.Close()
	for c := range m.conns {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (m *mortal) fail(f fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mode = f
	if f == nil { // what hangs is let go
		for c := range m.conns {
			c.Close()
		}
	}
}

func (m *mortal) serve(c net.Conn) {
	defer func() {
		c.Close()
		m.mu.Lock()
		delete(m.conns, c)
		m.mu.Unlock()
	}()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body)
		m.mu.Lock()
		m.seen[req.Header.Get("X-Number")]++
		mode := m.mode
		m.mu.Unlock()
		if mode != nil {
			mode(c)
			return
		}
		time.Sleep(time.Millisecond)
		if _, err := io.WriteString(c, okHello); err != nil {
			return
		}
	}
}

func (m *mortal) times(number string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[number]
}

// load is a steady stream of requests, and what became of it.
type load struct {
	mu     sync.Mutex
	asked  map[string]string // method, by number
	failed map[string]string // what was seen, by number
	count  atomic.Int64
}

// run asks until ctx ends.
func (l *load) run(ctx context.Context, t *testing.T, url, method string) {
	b := client(t, false)
	b.Timeout = 10 * time.Second
	for ctx.Err() == nil {
		number := fmt.Sprint(l.count.Add(1))
		req, _ := http.NewRequest(method, url, strings.NewReader("content"))
		req.Header.Set("X-Number", number)
		text := ""
		res, err := b.Do(req)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(res.Body)
			res.Body.Close()
			text = fmt.Sprint(res.StatusCode, " ", string(body))
		}
		l.mu.Lock()
		l.asked[number] = method
		if err != nil || text != "200 hello" {
			l.failed[number] = fmt.Sprint(text, err)
		}
		l.mu.Unlock()
	}
}

// With one of three servers failing in each way, at most the requests that were sent to it fail, no idempotent one, and none is sent twice that must not
// be. When it is well again it gets requests again.
func TestServicesSurviveTheirServers(t *testing.T) {
	modes := map[string]func(*mortal){
		"crashes": (*mortal).crash,
		"is slow": func(m *mortal) {
			m.fail(func(c net.Conn) {
				time.Sleep(100 * time.Millisecond)
				io.WriteString(c, strings.Replace(okHello, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
			})
		},
	}
	for name, f := range faults {
		modes[name] = func(m *mortal) { m.fail(f) }
	}
	for name, begin := range modes {
		t.Run(name, func(t *testing.T) { survives(t, name, begin) })
	}
}

func survives(t *testing.T, name string, begin func(*mortal)) {
	servers := []*mortal{newMortal(t), newMortal(t), newMortal(t)}
	bad := servers[2]
	r := start(t)
	c, at := r.config(servers[0].address, servers[1].address, bad.address)
	s := c.Services["web"]
	s.Health = &health.Config{Interval: 100 * time.Millisecond, Fast: 30 * time.Millisecond, Timeout: 200 * time.Millisecond, Fall: 2}
	s.Passive = &upstream.PassiveConfig{Eject: 200 * time.Millisecond}
	s.Retries = &upstream.RetriesConfig{Try: 300 * time.Millisecond}
	s.Rules.Timeouts = &rule.TimeoutsConfig{FirstByte: ms(500)}
	c.Services["web"] = s
	c.AccessLog = 0
	r.apply(c)
	state := func(i int) upstream.State { return r.p.Status().Services[0].Servers[i].State }
	total := func() uint64 { return r.p.Status().Services[0].Servers[2].Total }
	eventually(t, "all are up", func() bool { return state(0) == "up" && state(1) == "up" && state(2) == "up" })

	l := &load{asked: map[string]string{}, failed: map[string]string{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	for _, method := range []string{"GET", "GET", "GET", "GET", "PUT", "POST", "POST"} {
		all.Go(func() { l.run(ctx, t, "http://"+at, method) })
	}
	before := total()
	eventually(t, "the third server gets its share", func() bool { return total() > before+20 })
	begin(bad)
	if name != "is slow" {
		eventually(t, "it gets nothing any more", func() bool { return state(2) != "up" })
	}
	ran := l.count.Load()
	eventually(t, "the others go on", func() bool { return l.count.Load() > ran+100 })
	if name == "crashes" {
		bad.start()
	} else {
		bad.fail(nil)
	}
	before = total()
	eventually(t, "it gets requests again", func() bool { return state(2) == "up" && total() > before+20 })
	cancel()
	all.Wait()

	posts, unread := 0, 0
	for number, what := range l.failed {
		if l.asked[number] != "POST" {
			t.Errorf("%s %s failed: %s", l.asked[number], number, what)
		} else if posts++; bad.times(number) == 0 {
			// Its connection was closed before the server had read what was sent there.
			if unread++; !strings.Contains(what, "gave no valid answer") {
				t.Errorf("POST %s failed, and was never sent to the bad server: %s", number, what)
			}
		}
	}
	if unread > 4 { // two that post, and two moments in which connections are closed
		t.Errorf("%d POSTs failed that the bad server never saw", unread)
	}
	for number, method := range l.asked {
		if n := servers[0].times(number) + servers[1].times(number) + bad.times(number); method == "POST" && (n > 1 || n == 0 && l.failed[number] == "") {
			t.Errorf("POST %s was sent %d times", number, n)
		}
	}
	t.Logf("%d requests, %d POSTs failed that the bad server had", len(l.asked), posts)
}
