package upstream

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/proxy/upstream/health"
)

// agent stands beside a server, and says what it is told to.
type agent struct {
	address netip.AddrPort
	line    atomic.Value
}

func newAgent(t *testing.T, line string) *agent {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{address: netip.MustParseAddrPort(ln.Addr().String())}
	a.line.Store(line)
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, a.line.Load().(string)+"\n")
			c.Close()
		}
	})
	return a
}

// What an agent says decides what its server gets.
func TestServersObeyTheirAgents(t *testing.T) {
	a := newAgent(t, "up")
	h := &health.Config{Type: health.Agent, Port: int(a.address.Port()), Interval: 5 * time.Millisecond, Timeout: 20 * time.Second, Fall: 1 << 30, Rise: 2}
	config := Config{Servers: []ServerConfig{{Address: "127.0.0.1:1"}, {Address: "127.0.0.2:1", Weight: ptr(0)}}, Health: h}
	p, s := pool(t, config)
	server := func() ServerStatus { return p.Status()[0].Servers[0] }
	is := func(state State, percent int) {
		t.Helper()
		eventually(t, string(state), func() bool { st := server(); return st.State == state && st.Percent == percent })
	}
	taken := func(want error) {
		t.Helper()
		server, err := s.Acquire(t.Context(), &Ask{})
		if !errors.Is(err, want) {
			t.Errorf("a request: %v, want %v", err, want)
		}
		if server != nil {
			server.Release()
		}
	}
	is(StateUp, 100)
	taken(nil)
	a.line.Store("up 50%")
	is(StateUp, 50)
	taken(nil)
	a.line.Store("drain")
	is(StateDrain, 100)
	taken(ErrNoneUp)
	a.line.Store("maint # upgrade")
	is(StateMaint, 100)
	if st := server(); !st.Up || st.Why != "asked for by its agent" {
		t.Errorf("status %+v", st)
	}
	a.line.Store("ready")
	is(StateUp, 100)
	a.line.Store("0%")
	is(StateDrain, 100)
	// Of what is no agent's word nothing follows for so long a fall; of the agent's word it does at once, whatever the fall.
	a.line.Store("what?")
	eventually(t, "a failed check", func() bool { return server().Error != "" })
	if st := server(); !st.Up || st.State != StateDrain {
		t.Errorf("status %+v", st)
	}
	a.line.Store("down # disk is full")
	is(StateDown, 100)
	if st := server(); st.Up || st.Why != "agent check: said down: disk is full" {
		t.Errorf("status %+v", st)
	}
	taken(ErrNoneUp)
	a.line.Store("up 10%")
	is(StateUp, 10)
	// Another way to ask forgets what the agent said.
	a.line.Store("maint")
	is(StateMaint, 100)
	other := config
	other.Health = &health.Config{Type: health.TCP, Port: h.Port, Interval: 5 * time.Millisecond, Timeout: 20 * time.Second}
	commit(p, map[string]Config{"s": other})
	if st := server(); st.State != StateUp {
		t.Errorf("status %+v", st)
	}
	taken(nil)
}
