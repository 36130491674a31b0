package health

import (
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc/health"
)

// files counts the process's open files, 0 where the system does not tell.
func files() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}

// After a hundred probes of every type, of servers that are well and of such that are not, there is no goroutine and no connection more than before; on
// the servers' side neither.
func TestProbesLeaveNothing(t *testing.T) {
	a := newAuthority(t)
	ok := func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 1000)) }
	endless := func(w http.ResponseWriter, r *http.Request) {
		for text := make([]byte, 4096); ; {
			if _, err := w.Write(text); err != nil {
				return
			}
		}
	}
	h1, h2c, h1e, h2e := web(t, "http", ok), web(t, "h2c", ok), web(t, "http", endless), web(t, "h2c", endless)
	port := netip.MustParseAddrPort(say(t, "up\n", true)).Port()
	quiet := silent(t)
	cases := []struct {
		config Config
		target Target
		fails  bool
	}{
		{Config{}, Target{Address: h1.Listener.Addr().String()}, false},
		{Config{Body: "x"}, Target{Address: h1e.Listener.Addr().String()}, true},
		{Config{}, Target{Address: h2c.Listener.Addr().String(), HTTP2: true}, false},
		{Config{Status: []string{"404"}}, Target{Address: h2e.Listener.Addr().String(), HTTP2: true}, true},
		{Config{Body: "x"}, Target{Address: h2e.Listener.Addr().String(), HTTP2: true}, true},
		{Config{}, Target{Address: h2c.Listener.Addr().String()}, true},
		{Config{}, Target{Address: h1.Listener.Addr().String(), HTTP2: true}, true},
		{Config{Type: GRPC}, Target{Address: grpcServer(t, health.NewServer()), HTTP2: true}, false},
		{Config{Type: GRPC, Service: "x"}, Target{Address: grpcServer(t, health.NewServer()), HTTP2: true}, true},
		{Config{Type: TCP}, Target{Address: quiet}, false},
		{Config{Type: TLS}, Target{Address: secure(t, a.issue(t, "a.test", time.Now().Add(time.Hour)), nil)}, false},
		{Config{Type: TLS}, Target{Address: say(t, "SSH-2.0-OpenSSH\r\n", true)}, true},
		{Config{Type: Agent, Port: int(port)}, Target{Address: "127.0.0.1:1"}, false},
		{Config{Timeout: 2 * time.Millisecond}, Target{Address: quiet}, true},
		{Config{Timeout: 2 * time.Millisecond}, Target{Address: quiet, HTTP2: true}, true},
		{Config{Type: GRPC, Timeout: 2 * time.Millisecond}, Target{Address: quiet, HTTP2: true}, true},
		{Config{Type: TLS, Timeout: 2 * time.Millisecond}, Target{Address: quiet}, true},
		{Config{Type: Agent, Port: int(netip.MustParseAddrPort(quiet).Port()), Timeout: 2 * time.Millisecond}, Target{Address: "127.0.0.1:1"}, true},
		{Config{Type: Exec, Command: []string{"sleep", "1000"}, Timeout: 2 * time.Millisecond}, Target{Address: quiet}, true},
	}
	goroutines, open := runtime.NumGoroutine(), files()
	for _, c := range cases {
		if c.config.Timeout == 0 {
			c.config.Timeout = patient
		}
		p := c.config.Compile()
		for range 100 {
			if _, err := p.Ask(t.Context(), c.target); (err != nil) != c.fails {
				t.Fatalf("%+v: %v", c.config, err)
			}
		}
		eventually(t, "the end of all goroutines and connections", func() bool { return runtime.NumGoroutine() <= goroutines && files() <= open })
	}
}
