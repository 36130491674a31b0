package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"tripod/proxy/upstream"
)

func TestQueuedConnectionsAreNotLost(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	const n = 10
	for range n {
		c := dial(t, ln.Addr().String())
		io.WriteString(c, "hello")
	}
	conns := queued(ln.(*net.TCPListener))
	ln.Close()
	want(t, "connections", len(conns), n)
	for _, c := range conns {
		b := make([]byte, 5)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Error(err)
		}
		c.Close()
	}
}

func onNetwork(o *Options) { o.Local = netip.Addr{} }

func TestWildcardAndAddressReplaceEachOther(t *testing.T) {
	r := start(t, onNetwork)
	port := freePort(t, netip.IPv4Unspecified())
	config := func(address string) Config {
		return Config{
			Listeners: map[string]ListenerConfig{"http": {Address: fmt.Sprintf("%s:%d", address, port)}},
			Routes:    []RouteConfig{{Service: "web"}},
			Services:  map[string]upstream.Config{"web": service(named(t, "x"))},
		}
	}
	at := fmt.Sprintf("%s:%d", r.local, port)
	for _, address := range []string{"", r.local.String(), "", r.local.String()} {
		r.apply(config(address))
		get(t, client(t, false), "http://"+at)
		for _, s := range r.p.sockets {
			raw, err := s.ln.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			raw.Control(func(fd uintptr) {
				if v, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT); v != 0 || err != nil {
					t.Errorf("the port may be shared: %d %v", v, err)
				}
			})
		}
		if ln, err := net.Listen("tcp", at); !errors.Is(err, syscall.EADDRINUSE) {
			ln.Close()
			t.Errorf("somebody else got the address: %v", err)
		}
	}
}

func TestAddressThatComesLater(t *testing.T) {
	r := start(t, onNetwork)
	r.apply(Config{Listeners: map[string]ListenerConfig{"v4": {Address: "192.0.2.77:8080"}, "v6": {Address: "[2001:db8::77]:8080"}}})
	for _, l := range r.p.Status().Listeners {
		want(t, l.Name, len(l.Bound), 1)
	}
}
