//go:build !race

package h2_test

import (
	"net"
	"runtime"
	"testing"

	"tripod/proxy/web/h2"
)

// The race detector has memory of its own, and makes pools lose things on purpose.

// TestAllocs holds a small request to the memory that it may take: none.
func TestAllocs(t *testing.T) {
	s := serve(t, nil, small)
	l := newLoader(t, s, nil)
	for range 100 { // fill the pools
		for range 20 {
			l.request()
		}
		l.finish()
	}
	const batch = 20
	n := testing.AllocsPerRun(200, func() {
		for range batch {
			l.request()
		}
		l.finish()
	})
	if n/batch > 0.5 { // the garbage collector empties the pools now and then
		t.Errorf("%.2f allocations per request", n/batch)
	}
}

// A connection on which nothing happens holds one goroutine and no buffers: HPACK's tables, and what it is itself.
func TestIdleHoldsLittle(t *testing.T) {
	s := serve(t, &h2.Options{}, small)
	const conns, most = 300, 20 << 10 // with the client's end and the stack
	measure := func() (goroutines int, heap uint64) {
		runtime.GC()
		runtime.GC() // pools lose what they hold with the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapAlloc + m.StackInuse
	}
	goroutines, heap := measure()
	clients := make([]net.Conn, 0, conns)
	for range conns {
		l := newLoader(t, s, nil)
		l.request() // one by one, for the runtime keeps something of every goroutine that ever was
		l.finish()
		clients = append(clients, l.nc) // and nothing else of the client
	}
	wait(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines+conns })
	now, held := measure()
	if each := (int64(held) - int64(heap)) / conns; each > most {
		t.Errorf("an idle connection holds %d bytes", each)
	} else {
		t.Logf("an idle connection holds %d bytes, both ends and stacks included; %d goroutines", each, now-goroutines)
	}
	runtime.KeepAlive(clients)
}
