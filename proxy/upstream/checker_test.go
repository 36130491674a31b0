package upstream

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream/health"
)

// Many first checks are spread over a second, evenly; few come at once.
func TestFirstChecksAreSpread(t *testing.T) {
	for _, tt := range []struct {
		n        int
		interval time.Duration
		span     time.Duration
	}{{crowd, time.Minute, 0}, {1000, time.Minute, maxSpread}, {1000, 100 * time.Millisecond, 100 * time.Millisecond}} {
		c := newChecker()
		checks := make([]*check, tt.n)
		for i := range checks {
			checks[i] = &check{probe: health.Config{Interval: tt.interval}.Compile()}
		}
		c.add(checks)
		first := checks[0].due
		for i, ch := range checks {
			if want := tt.span * time.Duration(i) / time.Duration(tt.n); ch.due.Sub(first) != want || ch.next.Load() != ch.due.UnixNano() {
				t.Fatalf("check %d of %d after %s, want %s", i, tt.n, ch.due.Sub(first), want)
			}
		}
	}
}

// Intervals differ by up to a tenth either way, and use all of that.
func TestIntervalsVary(t *testing.T) {
	for _, d := range []time.Duration{time.Millisecond, time.Second, time.Hour} {
		least, most := 2*d, time.Duration(0)
		for range 10000 {
			j := jitter(d)
			least, most = min(least, j), max(most, j)
		}
		if least < d*9/10 || least > d*92/100 || most > d*11/10 || most < d*108/100 {
			t.Errorf("%s varies from %s to %s", d, least, most)
		}
	}
}

// However many servers are due, no more are asked at a time than may be; and all are, in the end.
func TestManyChecksAreBounded(t *testing.T) {
	var now, most, total atomic.Int32
	release := make(chan struct{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		total.Add(1)
		<-release
	})}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	services := map[string]Config{}
	const n = 1000
	for i := range n {
		services[fmt.Sprint("s", i)] = Config{Servers: []ServerConfig{{Address: ln.Addr().String()}}, Health: &health.Config{Interval: time.Hour, Timeout: time.Minute}}
	}
	p, _ := pool(t, Config{Servers: []ServerConfig{{Address: "127.0.0.1:1"}}})
	commit(p, services)
	eventually(t, "as many checks as may run", func() bool { return now.Load() == maxChecks })
	eventually(t, "all others due", func() bool {
		p.checker.mu.Lock()
		defer p.checker.mu.Unlock()
		for _, c := range p.checker.queue {
			if time.Until(c.due) > 0 {
				return false
			}
		}
		return true
	})
	close(release)
	eventually(t, "every server up", func() bool {
		for _, s := range p.Status() {
			if !s.Servers[0].Up {
				return false
			}
		}
		return true
	})
	if most.Load() != maxChecks || total.Load() != n {
		t.Errorf("%d checks, %d at once", total.Load(), most.Load())
	}
	commit(p, nil)
	p.checker.mu.Lock()
	defer p.checker.mu.Unlock()
	if left := len(p.checker.queue); left != 0 {
		t.Errorf("%d checks left", left)
	}
}

// Commands are few at a time; those that wait hold nobody else up, and each has its turn.
func TestCommandsAreFewAtATime(t *testing.T) {
	dir := t.TempDir()
	running := func() int {
		all, err := os.ReadDir(filepath.Join(dir, "running"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	if err := os.Mkdir(filepath.Join(dir, "running"), 0o700); err != nil {
		t.Fatal(err)
	}
	const n = 3*maxCommands + 1
	c := Config{Health: &health.Config{Type: health.Exec, Interval: time.Hour, Timeout: time.Minute,
		Command: []string{"/bin/sh", "-c", `: >"$1/running/$TRIPOD_PORT"; while ! [ -e "$1/release" ]; do sleep 0.02; done; ls "$1/running" | wc -l >"$1/seen.$TRIPOD_PORT"; rm "$1/running/$TRIPOD_PORT"`, "check", dir}}}
	for i := range n {
		c.Servers = append(c.Servers, ServerConfig{Address: fmt.Sprintf("127.0.0.1:%d", 1000+i)})
	}
	web := newChecked(t, 200)
	p, _ := pool(t, c)
	commit(p, map[string]Config{"s": c, "web": {Servers: []ServerConfig{{Address: web.address}}, Health: &health.Config{Interval: time.Millisecond}}})
	eventually(t, "as many commands as may run", func() bool { return running() == maxCommands })
	checks := web.checks.Load()
	eventually(t, "other checks", func() bool { return web.checks.Load() > checks+10 })
	// One that leaves while it waits is forgotten.
	for i, server := range c.Servers {
		_, port, _ := net.SplitHostPort(server.Address)
		if _, err := os.Stat(filepath.Join(dir, "running", port)); err != nil {
			c.Servers = slices.Delete(c.Servers, i, i+1)
			break
		}
	}
	commit(p, map[string]Config{"s": c})
	if r := running(); r != maxCommands {
		t.Errorf("%d commands at a time", r)
	}
	if err := os.WriteFile(filepath.Join(dir, "release"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every server up", func() bool {
		for _, s := range p.Status()[0].Servers {
			if !s.Up {
				return false
			}
		}
		return true
	})
	seen, err := filepath.Glob(filepath.Join(dir, "seen.*"))
	if err != nil || len(seen) != n-1 {
		t.Errorf("%d commands ran, want %d: %v", len(seen), n-1, err)
	}
	for _, name := range seen {
		text, err := os.ReadFile(name)
		var at int
		if fmt.Sscan(strings.TrimSpace(string(text)), &at); err != nil || at > maxCommands {
			t.Errorf("%q commands at a time: %v", text, err)
		}
	}
	p.checker.mu.Lock()
	defer p.checker.mu.Unlock()
	if p.checker.commands != 0 || len(p.checker.waiting) != 0 {
		t.Errorf("%d commands run, %d wait", p.checker.commands, len(p.checker.waiting))
	}
}

func TestCommandsThatAreRemovedTakeNoTurn(t *testing.T) {
	c := newChecker()
	probe := (&health.Config{Type: health.Exec, Command: []string{"true"}}).WithDefaults().Compile()
	var running, waiting []*check
	for range maxCommands {
		ch := &check{probe: probe}
		if _, _, ok := c.begin(ch); !ok {
			t.Fatal("there is no room for the first ones")
		}
		running = append(running, ch)
	}
	for range maxCommands + 1 {
		ch := &check{probe: probe}
		if _, _, ok := c.begin(ch); ok {
			t.Fatal("more run than may")
		}
		waiting = append(waiting, ch)
	}
	last := waiting[maxCommands]
	for _, ch := range append(running, waiting[:maxCommands]...) {
		c.remove(ch)
	}
	for _, ch := range running {
		c.end(ch, probe, false, false)
	}
	for {
		ch, _ := c.pop()
		if ch == nil {
			t.Fatal("the last one never gets its turn")
		}
		if ch == last {
			return
		}
	}
}
