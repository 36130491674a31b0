package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"tripod/proxy/upstream"
)

// tcpConfig is a document with one tcp listener.
func (r *rig) tcpConfig(s upstream.Config, encrypted bool) (Config, string) {
	port := r.port()
	return Config{
		Listeners: map[string]ListenerConfig{"tcp": {Address: fmt.Sprintf(":%d", port), Protocol: TCP, Service: "db", TLS: encrypted}},
		Services:  map[string]upstream.Config{"db": s},
		AccessLog: 1,
	}, fmt.Sprintf("%s:%d", r.local, port)
}

// echo answers with a greeting and what it got, once its client has ended.
func echo(t *testing.T, name string) string {
	return rawBackend(t, func(c net.Conn) {
		io.WriteString(c, name+":")
		io.Copy(c, c)
		c.(*net.TCPConn).CloseWrite()
	})
}

func dial(t *testing.T, at string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func TestTCP(t *testing.T) {
	for _, encrypted := range []bool{false, true} {
		t.Run(fmt.Sprint("tls=", encrypted), func(t *testing.T) {
			r := start(t)
			config, at := r.tcpConfig(service(echo(t, "a")), encrypted)
			r.apply(config)
			var c interface {
				io.ReadWriteCloser
				CloseWrite() error
			} = dial(t, at)
			if encrypted {
				// A protocol of its own is no reason to be refused.
				c = tls.Client(c.(*net.TCPConn), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}})
			}
			payload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
			go func() {
				c.Write(payload)
				c.CloseWrite() // the other direction goes on
			}()
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, append([]byte("a:"), payload...)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			c.Close()
			eventually(t, "the log line", func() bool { return strings.Contains(r.access.String(), `"msg":"connection"`) })
			for _, s := range []string{`"listener":"tcp"`, `"service":"db"`, fmt.Sprintf(`"bytes_in":%d`, len(payload)), fmt.Sprintf(`"bytes_out":%d`, len(payload)+2), `"client":"127.0.0.1"`} {
				if !strings.Contains(r.access.String(), s) {
					t.Errorf("%s is missing in %s", s, r.access)
				}
			}
			eventually(t, "no connection", func() bool {
				s := r.p.Status()
				return s.Listeners[0].Connections == 0 && s.Services[0].Servers[0].Active == 0
			})
		})
	}
}

func TestTCPTriesOtherServers(t *testing.T) {
	r := start(t)
	config, at := r.tcpConfig(service(deadAddress(t), deadAddress(t), echo(t, "alive")), false)
	r.apply(config)
	for range 6 {
		c := dial(t, at)
		c.CloseWrite()
		got, err := io.ReadAll(c)
		want(t, "answer", string(got), "alive:")
		want(t, "error", err, nil)
	}
	config.Services["db"] = service(deadAddress(t))
	r.apply(config)
	got, _ := io.ReadAll(dial(t, at))
	want(t, "no server", string(got), "")
}

func TestTCPMaxConnectionsAndBackup(t *testing.T) {
	r := start(t)
	s := service(echo(t, "a"), echo(t, "backup"))
	s.Servers[0].MaxConnections = 1
	s.Servers[1].Backup = true
	s.Limits = &upstream.LimitsConfig{Wait: ms(50)}
	config, at := r.tcpConfig(s, false)
	r.apply(config)
	first := dial(t, at)
	hello := make([]byte, 2)
	if _, err := io.ReadFull(first, hello); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(dial(t, at))
	want(t, "second", string(got), "")
	first.Close()
	eventually(t, "the place is free", func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		defer c.Close()
		_, err = io.ReadFull(c, hello)
		return err == nil
	})
}

func TestTCPConnectionLivesThroughApply(t *testing.T) {
	r := start(t)
	config, at := r.tcpConfig(service(echo(t, "a")), false)
	r.apply(config)
	c := dial(t, at)
	buf := make([]byte, 2)
	io.ReadFull(c, buf)
	l := config.Listeners["tcp"]
	for i := range 5 {
		config.Services = map[string]upstream.Config{fmt.Sprint("db", i): service(echo(t, "b"))}
		l.Service, l.TLS = fmt.Sprint("db", i), i%2 == 0
		config.Listeners = map[string]ListenerConfig{fmt.Sprint("tcp", i): l}
		r.apply(config)
		fmt.Fprintf(c, "%02d", i)
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != fmt.Sprintf("%02d", i) {
			t.Fatalf("%q %v", buf, err)
		}
	}
	c.CloseWrite()
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("%q %v", rest, err)
	}
}

func TestProtocolChangesOnOneAddress(t *testing.T) {
	r := start(t)
	config, at := r.tcpConfig(service(echo(t, "a")), false)
	r.apply(config)
	get := func() string {
		c := dial(t, at)
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		return string(b)
	}
	want(t, "tcp", get(), "a:GET / HTTP/1.0\r\n\r\n")
	web := config
	web.Listeners = map[string]ListenerConfig{"tcp": {Address: config.Listeners["tcp"].Address}}
	r.apply(web)
	if got := get(); !strings.HasPrefix(got, "HTTP/1.1 404 ") {
		t.Errorf("http: %q", got)
	}
	r.apply(config)
	want(t, "tcp again", get(), "a:GET / HTTP/1.0\r\n\r\n")
}

func TestTCPCloseCutsAtTheEnd(t *testing.T) {
	r := start(t)
	config, at := r.tcpConfig(service(echo(t, "a")), false)
	r.apply(config)
	c := dial(t, at)
	buf := make([]byte, 2)
	io.ReadFull(c, buf)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := r.p.Close(ctx); err == nil {
		t.Error("closed in peace with an open connection")
	}
	if _, err := io.ReadFull(c, buf); err == nil {
		t.Error("still open")
	}
}

func TestTCPHandshakeIsBounded(t *testing.T) {
	r := start(t)
	config, at := r.tcpConfig(service(echo(t, "a")), true)
	r.apply(config)
	c := dial(t, at)
	io.WriteString(c, "this is no TLS at all\n")
	got, _ := io.ReadAll(c)
	if strings.Contains(string(got), "a:") {
		t.Errorf("the server was reached: %q", got)
	}
	eventually(t, "an error in the log", func() bool { return strings.Contains(r.access.String(), "TLS handshake") })
}
