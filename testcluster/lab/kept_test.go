//go:build linux

package lab

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
)

// kept is a connection to a VIP that has lines coming all the time.
type kept struct {
	what  string
	conn  net.Conn
	lines atomic.Int64
	ended atomic.Pointer[error]
}

// keep makes a request whose answer does not end.
func (l *Lab) keep(what, vip, path, headers string, wrap func(net.Conn) net.Conn, port string) *kept {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := l.Client.Dial(ctx, "tcp", net.JoinHostPort(vip, port))
	if err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	if wrap != nil {
		conn = wrap(conn)
	}
	l.t.Cleanup(func() { conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: lab.test\r\n%s\r\n", path, headers); err != nil {
		l.t.Fatalf("%s: %v", what, err)
	}
	k := &kept{what: what, conn: conn}
	go func() {
		in := bufio.NewReader(conn)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				k.ended.Store(&err)
				return
			}
			if strings.HasPrefix(line, "n") { // a node's name; the rest is the head, and lengths of chunks
				k.lines.Add(1)
			}
		}
	}()
	return k
}

// goesOn waits for more lines.
func (k *kept) goesOn(l *Lab) {
	l.t.Helper()
	from := k.lines.Load()
	l.Wait(k.what+" to go on", func() error {
		if err := k.ended.Load(); err != nil {
			l.t.Fatalf("%s has ended: %v", k.what, *err)
		}
		if n := k.lines.Load() - from; n < 6 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
}

// kinds opens a connection of each kind.
func (l *Lab) kinds(vip string, ca *x509.CertPool) []*kept {
	l.t.Helper()
	secure := func(c net.Conn) net.Conn {
		return tls.Client(c, &tls.Config{RootCAs: ca, ServerName: "lab.test"})
	}
	const websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEC==\r\n"
	all := []*kept{
		l.keep("a download over "+vip, vip, "/stream", "", nil, "80"),
		l.keep("TLS over "+vip, vip, "/stream", "", secure, "443"),
		l.keep("a WebSocket over "+vip, vip, "/upgrade", websocket, nil, "80"),
	}
	for _, k := range all {
		k.goesOn(l)
	}
	return all
}

// waitLingering waits until tripod status shows the three connections that go on at a node.
func (l *Lab) waitLingering(vip string, at *Node) {
	l.t.Helper()
	l.Wait("what lingers in status", func() error {
		out, _ := l.Node(0).Tripod("status")
		for line := range strings.Lines(out) {
			// MOVED VIP, CONNECTIONS GO ON AT, COUNT, CLOSED IN
			if f := strings.Fields(line); len(f) > 3 && f[0] == vip && f[1] == at.Name && f[2] == "3" && strings.HasPrefix(f[3], "9m") {
				return nil
			}
		}
		return errors.New(out)
	})
}

// A move, a drain and a clean stop leave connections of every kind alone, on IPv4 and IPv6, for as long as they last; status
// shows what is left. When the old holder dies, those end, and no others.
func TestVIPMovesKeepEveryKind(t *testing.T) {
	l := Start(t, 3)
	l.Apply(strings.Replace(l.Site(l.VIP(0), l.VIP6(0)), "routes:\n", "  https: { address: \":443\", tls: true }\nroutes:\n  - { host: lab.test, service: web }\n", 1))
	pem, err := l.Node(0).Tripod("cert", "ca")
	if err != nil {
		t.Fatal(err, pem)
	}
	ca := x509.NewCertPool()
	if !ca.AppendCertsFromPEM([]byte(pem)) {
		t.Fatalf("no certificate: %s", pem)
	}
	probes := []*Probe{l.Probe(l.VIP(0)), l.Probe(l.VIP6(0))}
	for i, vip := range []string{l.VIP(0), l.VIP6(0)} {
		p := probes[i]
		operator := func(args ...string) {
			t.Helper()
			if out, err := l.Node(0).Tripod(args...); err != nil {
				t.Fatalf("tripod %s: %v\n%s", strings.Join(args, " "), err, out)
			}
		}
		at := map[*Node][]*kept{}
		open := func(n *Node) { at[n] = append(at[n], l.kinds(vip, ca)...) }
		check := func(old *Node) *Node {
			t.Helper()
			next := p.WaitHolder(Not(old))
			for _, all := range at {
				for _, k := range all {
					k.goesOn(l)
				}
			}
			return next
		}
		first := p.WaitHolder()
		open(first)
		operator("vip", "move", vip)
		second := check(first)
		l.waitLingering(vip, first)
		open(second)
		operator("node", "drain", second.Name)
		third := check(second)
		operator("node", "undrain", second.Name)
		open(third)
		stopped := make(chan struct{})
		go func() { defer close(stopped); third.Stop() }()
		check(third)
		for _, k := range at[third] {
			k.conn.Close()
		}
		delete(at, third)
		<-stopped
		third.Restart()
		operator("vip", "move", vip, third.Name)
		check(second)
		open(third)
		second.Kill()
		l.Wait("the end of what the dead node had", func() error {
			for _, k := range at[second] {
				if k.ended.Load() == nil {
					return fmt.Errorf("%s goes on", k.what)
				}
			}
			return nil
		})
		delete(at, second)
		check(second)
		second.Restart()
		p.NeverTwoAnswering()
	}
}
