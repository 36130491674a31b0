package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"
)

// rawServer answers each request, which comes in one piece, with the same, and allocates nothing for it.
func rawServer(t testing.TB) string {
	answer := []byte("HTTP/1.1 200 OK\r\nServer: raw\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello")
	return rawBackend(t, func(c net.Conn) {
		buf := make([]byte, 64<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

// quiet is a rig whose logs allocate nothing.
func quiet(o *Options) {
	o.Log = nil
	o.AccessLog = io.Discard
}

// exchanges makes a function that sends a request and reads its answer, which is as long as that to the first, without allocations.
func exchanges(t *testing.T, c net.Conn, request string) func() {
	text := []byte(request)
	if _, err := c.Write(text); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64<<10)
	length, head := 0, 0
	for head == 0 || length < head+len("hello") {
		n, err := c.Read(buf[length:])
		if err != nil {
			t.Fatal(err)
		}
		length += n
		if i := bytes.Index(buf[:length], []byte("\r\n\r\n")); i >= 0 {
			head = i + 4
		}
	}
	if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) || bytes.Contains(buf[:length], []byte("close")) {
		t.Fatalf("got %q", buf[:length])
	}
	return func() {
		if _, err := c.Write(text); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, buf[:length]); err != nil {
			t.Error(err)
		}
	}
}

// Connections that idle hold no buffers, though all of them had one at the same time. The clients' ends are counted too.
func TestIdleConnectionsAreSmall(t *testing.T) {
	const conns, most = 2000, 6 << 10
	var arrived, release sync.WaitGroup
	r := start(t, quiet, func(o *Options) { o.MaxConnections = 2 * conns })
	release.Add(1)
	// Servers that hold back their answers until all requests have come.
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
	config, at := r.config(rawBackend(t, func(c net.Conn) {
		buf := make([]byte, 4<<10)
		if _, err := c.Read(buf); err != nil {
			return
		}
		arrived.Done()
		release.Wait()
		c.Write(answer)
		c.Read(buf)
	}))
	r.apply(config)
	before := heap()
	open := make([]net.Conn, conns)
	for i := range open {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(time.Minute))
		open[i] = c
	}
	arrived.Add(conns)
	for i, c := range open {
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: a.test\r\nX: %01000d\r\n\r\n", i, i)
	}
	arrived.Wait()
	release.Done()
	buf := make([]byte, 4<<10)
	for _, c := range open {
		if n, err := c.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], answer[:15]) {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	config.Services["web"] = service(deadAddress(t)) // and no connection to a server is there either
	r.apply(config)
	eventually(t, "idle connections", func() bool { return r.p.Status().Listeners[0].Connections == conns && heap()-before < conns*most })
	t.Logf("%d bytes of heap for each connection", (heap()-before)/conns)
}

// heap is how much of the heap is in use. Two collections empty the pools.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
