package h2_test

import (
	"testing"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h2"
)

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
