package h2_test

import (
	"net"
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h2"
)

// A connection on which nothing happens holds one goroutine and no buffers: HPACK's tables, and what it is itself.
func TestIdleHoldsLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has memory of its own")
	}
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

// An upload larger than all windows arrives, and the windows grow for it.
func TestUpload(t *testing.T) {
	sum := make(chan int, 1)
	s := serve(t, nil, func(s *h2.Stream) {
		n := 0
		for buf := make([]byte, 100<<10); ; {
			m, err := s.Read(buf)
			n += m
			if err != nil {
				break
			}
		}
		sum <- n
		_ = s.Respond(200, nil, true)
	})
	c := connect(t, s)
	c.ok(c.headers(1, false, post...))
	stream, conn := 256<<10, 1<<20 // as announced
	const size = 64 << 20
	sent := 0
	largest := 0
	done := make(chan struct{})
	updates := make(chan *http2.WindowUpdateFrame, 10000)
	go func() {
		defer close(done)
		for {
			f, err := c.read()
			if err != nil {
				return
			}
			switch f := f.(type) {
			case *http2.WindowUpdateFrame:
				g := *f
				updates <- &g
			case *http2.MetaHeadersFrame:
				return
			}
		}
	}()
	take := func(u *http2.WindowUpdateFrame) {
		if u.StreamID == 0 {
			conn += int(u.Increment)
		} else {
			stream += int(u.Increment)
		}
		largest = max(largest, stream)
	}
	conn -= 1<<20 - 65535 // comes as an update
	for sent < size {
		n := min(size-sent, stream, conn, 16<<10)
		if n == 0 {
			take(<-updates)
			continue
		}
		end := sent+n == size
		c.ok(c.WriteData(1, end, make([]byte, n)))
		sent, stream, conn = sent+n, stream-n, conn-n
		for len(updates) > 0 {
			take(<-updates)
		}
	}
	if got := <-sum; got != size {
		t.Errorf("%d octets arrived of %d", got, size)
	}
	<-done
	if largest <= 256<<10 || largest > 1<<20 {
		t.Errorf("the stream's window was %d at the most", largest)
	}
}
