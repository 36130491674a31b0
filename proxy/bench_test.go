package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/health"
)

func opened(tb testing.TB) *Proxy {
	tb.Helper()
	p := New(Options{Local: loopback()})
	if err := p.Open(context.Background()); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		p.Close(ctx)
	})
	return p
}

// BenchmarkRequest is one small keep-alive request through the proxy; client and server take part of the time.
func BenchmarkRequest(b *testing.B) {
	server := rawBackend(b, func(c net.Conn) {
		br := bufio.NewReader(c)
		for {
			for {
				line, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) == 2 {
					break
				}
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello")
		}
	})
	p := opened(b)
	port := freePort(b, p.opts.Local)
	err := p.Apply(context.Background(), Config{
		Listeners: map[string]ListenerConfig{"http": {Address: fmt.Sprintf(":%d", port)}},
		Routes:    []RouteConfig{{Service: "web"}},
		Services:  map[string]upstream.Config{"web": service(server)},
	})
	if err != nil {
		b.Fatal(err)
	}
	at := netip.AddrPortFrom(p.opts.Local, uint16(port)).String()
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", at)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		br := bufio.NewReader(c)
		for pb.Next() {
			io.WriteString(c, "GET /a/b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: bench\r\n\r\n")
			res, err := http.ReadResponse(br, nil)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, res.Body)
		}
	})
}

// large is a document with n routes and n services of one checked server each.
func large(n int) Config {
	c := Config{Services: map[string]upstream.Config{}}
	for i := range n {
		name := fmt.Sprint("s", i)
		c.Services[name] = upstream.Config{
			Servers: []upstream.ServerConfig{{Address: fmt.Sprintf("127.62.%d.%d:9", i>>8, i&255)}},
			Health:  &health.Config{Interval: time.Hour},
		}
		c.Routes = append(c.Routes, RouteConfig{Host: fmt.Sprintf("h%d.test", i), Path: "/api", Service: name})
	}
	return c
}

func BenchmarkApply5000(b *testing.B) {
	c := large(5000)
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			p := opened(b)
			b.StartTimer()
			if err := p.Apply(context.Background(), c); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			p.Close(context.Background())
			b.StartTimer()
		}
	})
	b.Run("again", func(b *testing.B) {
		p := opened(b)
		for b.Loop() {
			if err := p.Apply(context.Background(), c); err != nil {
				b.Fatal(err)
			}
		}
	})
}
