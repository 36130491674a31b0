package h2_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h2"
)

const short = 50 * time.Millisecond

func TestIdle(t *testing.T) {
	s := serve(t, &h2.Options{IdleTimeout: short}, answerSpec)
	c := connect(t, s)
	c.ok(c.headers(1, true, get...))
	c.wantAway(http2.ErrCodeNo)
	if err := s.end(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestSlowPreface(t *testing.T) {
	s := serve(t, &h2.Options{HeadTimeout: short}, answerSpec)
	c := dial(t, s)
	_, err := io.WriteString(c.nc, http2.ClientPreface[:5])
	c.ok(err)
	c.wantAway(http2.ErrCodeEnhanceYourCalm)
}

func TestWrongPreface(t *testing.T) {
	s := serve(t, nil, answerSpec)
	c := dial(t, s)
	_, err := io.WriteString(c.nc, "GET / HTTP/1.1\r\n\r\n")
	c.ok(err)
	c.wantAway(http2.ErrCodeProtocol)
}

// A field section must not take its time, whether frames are missing or octets.
func TestSlowHead(t *testing.T) {
	slow := map[string]func(c *raw){
		"no continuation": func(c *raw) {
			c.ok(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: c.block(get...), EndStream: true}))
			for c.WriteContinuation(3, false, nil) == nil {
				time.Sleep(short / 10) // a client that is slow on purpose
			}
		},
		"half a frame": func(c *raw) {
			_, err := c.nc.Write([]byte{0, 0, 10, byte(http2.FrameHeaders), 4, 0, 0, 0, 3, 0x82})
			c.ok(err)
		},
		"half a frame's head": func(c *raw) {
			_, err := c.nc.Write([]byte{0, 0, 10})
			c.ok(err)
		},
	}
	for name, send := range slow {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &h2.Options{HeadTimeout: 10 * short}, hold)
			c := connect(t, s)
			c.ok(c.headers(1, true, get...))
			c.wantPong()
			done := make(chan struct{})
			go func() { defer close(done); send(c) }()
			c.wantAway(http2.ErrCodeEnhanceYourCalm)
			<-done
		})
	}
}

// A client that is silent during a stream has to show that it lives.
func TestPing(t *testing.T) {
	s := serve(t, &h2.Options{PingAfter: short}, hold)
	c := connect(t, s)
	c.ok(c.headers(1, true, get...))
	for range 3 {
		p, ok := c.next().(*http2.PingFrame)
		if !ok || p.IsAck() {
			t.Fatalf("got %v, not a PING", p)
		}
		c.ok(c.WritePing(true, p.Data))
	}
}

func TestNoPong(t *testing.T) {
	s := serve(t, &h2.Options{PingAfter: short, PingTimeout: short}, hold)
	c := connect(t, s)
	c.ok(c.headers(1, true, get...))
	if err := s.end(); err == nil {
		t.Error("no error")
	}
}

// A client that takes nothing is cut off, and its handler is told.
func TestClientReadsNothing(t *testing.T) {
	handler := make(chan error, 1)
	s := serve(t, &h2.Options{WriteTimeout: short}, func(s *h2.Stream) {
		err := s.Respond(200, nil, false)
		for p := make([]byte, 100<<10); err == nil; {
			err = s.Write(p, false)
		}
		handler <- err
	})
	c := connect(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	c.ok(c.WriteWindowUpdate(0, 1<<30))
	c.ok(c.headers(1, true, get...))
	if err := s.end(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	if err := <-handler; !errors.Is(err, h2.ErrGone) {
		t.Errorf("the handler got %v", err)
	}
}

// A client that asks and asks, and takes no answer, is cut off before it has cost much.
func TestPingsUnread(t *testing.T) {
	s := serve(t, nil, hold)
	c := connect(t, s)
	_ = c.nc.(*net.TCPConn).SetReadBuffer(4 << 10)
	// In bursts: what comes a frame at a time may, on a busy machine, be no flood.
	var burst bytes.Buffer
	framer := http2.NewFramer(&burst, nil)
	for range 4096 {
		_ = framer.WritePing(false, [8]byte{})
	}
	for err := error(nil); err == nil; {
		_, err = c.nc.Write(burst.Bytes())
	}
	wantCode(t, s.end(), http2.ErrCodeEnhanceYourCalm)
}

// A client that leaves its window closed loses the stream, but not the connection.
func TestClosedWindow(t *testing.T) {
	handler := make(chan error, 1)
	s := serve(t, &h2.Options{WriteTimeout: short}, func(s *h2.Stream) {
		_ = s.Respond(200, nil, false)
		handler <- s.Write(make([]byte, 100), true)
	})
	c := connect(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	c.ok(c.headers(1, true, get...))
	c.wantStatus(1, "200")
	c.wantData(1, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", false)
	c.wantReset(1, http2.ErrCodeCancel)
	if err := <-handler; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the handler got %v", err)
	}
	c.wantPong()
}

func TestReadTimeout(t *testing.T) {
	handler := make(chan error, 1)
	s := serve(t, nil, func(s *h2.Stream) {
		p := make([]byte, 10)
		n, err := s.Read(p)
		if n != 1 || err != nil {
			handler <- err
			return
		}
		s.SetReadTimeout(short)
		_, err = s.Read(p)
		handler <- err
		_ = s.Respond(408, nil, true)
	})
	c := connect(t, s)
	c.ok(c.headers(1, false, post...))
	c.ok(c.WriteData(1, false, []byte("x")))
	if err := <-handler; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the handler got %v", err)
	}
	c.wantStatus(1, "408")
	c.wantReset(1, http2.ErrCodeNo)
}

// Close interrupts handlers that read and such that write.
func TestClose(t *testing.T) {
	handlers := make(chan error, 2)
	s := serve(t, nil, func(s *h2.Stream) {
		if s.Request().Method == "POST" {
			_, err := s.Read(make([]byte, 1))
			handlers <- err
			return
		}
		_ = s.Respond(200, nil, false)
		handlers <- s.Write(make([]byte, 1<<20), true)
	})
	c := connect(t, s)
	c.ok(c.headers(1, false, post...))
	c.ok(c.headers(3, true, get...))
	wait(t, "both handlers", func() bool { return s.conn(0).Streams() == 2 })
	s.conn(0).Close()
	for range 2 {
		if err := <-handlers; !errors.Is(err, h2.ErrGone) {
			t.Errorf("a handler got %v", err)
		}
	}
	if err := s.end(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestGoAway(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, nil, func(s *h2.Stream) {
		<-release
		answerSpec(s)
	})
	c := connect(t, s)
	c.ok(c.headers(1, true, get...))
	c.wantPong()
	s.conn(0).GoAway()
	wantLast := func(last uint32) {
		t.Helper()
		if g, ok := c.next().(*http2.GoAwayFrame); !ok || g.LastStreamID != last || g.ErrCode != http2.ErrCodeNo {
			t.Fatalf("got %v, not GOAWAY up to %d", g, last)
		}
	}
	wantLast(1<<31 - 1)
	p, ok := c.next().(*http2.PingFrame)
	if !ok {
		t.Fatal("no PING")
	}
	c.ok(c.headers(3, true, get...)) // the client did not know yet
	c.ok(c.WritePing(true, p.Data))
	wantLast(3)
	c.ok(c.headers(5, false, post...)) // and this it should not do
	c.ok(c.WriteData(5, true, make([]byte, 10)))
	close(release)
	for got := map[uint32]bool{}; len(got) < 2; {
		switch f := c.next().(type) {
		case *http2.MetaHeadersFrame:
		case *http2.DataFrame:
			got[f.StreamID] = f.StreamEnded()
		default:
			t.Fatalf("got %v", f)
		}
	}
	if _, err := c.read(); err != io.EOF {
		t.Errorf("the connection goes on: %v", err)
	}
	_ = c.nc.Close()
	if err := s.end(); err != nil {
		t.Errorf("ended with %v", err)
	}
}

// A connection without streams ends as soon as GoAway was called, even before Serve.
func TestGoAwayIdle(t *testing.T) {
	for _, early := range []bool{false, true} {
		client, nc := pair(t)
		c := h2.NewConn(nc, []byte(http2.ClientPreface), handlerFunc(hold), nil)
		served := make(chan error, 1)
		if early {
			c.GoAway()
		}
		go func() { served <- c.Serve() }()
		fr := http2.NewFramer(client, client)
		if err := fr.WriteSettings(); err != nil {
			t.Fatal(err)
		}
		if !early {
			c.GoAway()
		}
		for aways := 0; ; {
			f, err := fr.ReadFrame()
			if err != nil {
				if aways != 2 {
					t.Errorf("%d times GOAWAY", aways)
				}
				break
			}
			switch f := f.(type) {
			case *http2.GoAwayFrame:
				aways++
			case *http2.PingFrame:
				if err := fr.WritePing(true, f.Data); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = client.Close()
		if err := <-served; err != nil {
			t.Errorf("ended with %v", err)
		}
	}
}

// pair returns both ends of a TCP connection.
func pair(t testing.TB) (client, srv net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	srv, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = srv.Close() })
	return client, srv
}

// watched counts its calls.
type watched struct{ calls atomic.Int32 }

func (w *watched) ClientGone() { w.calls.Add(1) }

func TestWatch(t *testing.T) {
	step := make(chan string)
	w := &watched{}
	s := serve(t, nil, func(s *h2.Stream) {
		s.Watch(w)
		step <- "watching"
		if <-step == "stop" {
			s.Watch(nil)
		}
		step <- "stopped"
		<-step
	})
	c := connect(t, s)
	begin := func(id uint32) {
		c.ok(c.headers(id, true, get...))
		<-step
	}
	begin(1)
	c.ok(c.WriteRSTStream(1, http2.ErrCodeCancel))
	wait(t, "the call", func() bool { return w.calls.Load() == 1 })
	step <- ""
	<-step
	step <- ""
	begin(3)
	step <- "stop"
	<-step
	c.ok(c.WriteRSTStream(3, http2.ErrCodeCancel))
	c.wantPong()
	step <- ""
	if n := w.calls.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
	begin(5) // and when the connection ends
	_ = c.nc.Close()
	wait(t, "the call", func() bool { return w.calls.Load() == 2 })
	step <- ""
	<-step
	step <- ""
}

// Who watches a stream that has ended already hears so.
func TestWatchLate(t *testing.T) {
	w := &watched{}
	reset := make(chan struct{})
	done := make(chan struct{})
	s := serve(t, nil, func(s *h2.Stream) {
		defer close(done)
		<-reset
		s.Watch(w)
		wait(t, "the call", func() bool { return w.calls.Load() == 1 })
	})
	c := connect(t, s)
	c.ok(c.headers(1, true, get...))
	c.ok(c.WriteRSTStream(1, http2.ErrCodeCancel))
	c.wantPong()
	close(reset)
	<-done
}

func TestPanic(t *testing.T) {
	s := serve(t, nil, func(*h2.Stream) { panic("on purpose") })
	c := connect(t, s)
	c.ok(c.headers(1, true, get...))
	c.wantReset(1, http2.ErrCodeInternal)
	c.wantPong()
}

// Interrupt ends a Read that waits, and leaves the answer alone.
func TestInterrupt(t *testing.T) {
	handler := make(chan error, 1)
	s := serve(t, nil, func(s *h2.Stream) {
		done := make(chan struct{})
		go func() { defer close(done); s.Interrupt() }()
		_, err := s.Read(make([]byte, 1))
		<-done
		handler <- err
		_ = s.Respond(200, nil, true)
	})
	c := connect(t, s)
	c.ok(c.headers(1, false, post...))
	c.wantStatus(1, "200")
	c.wantReset(1, http2.ErrCodeNo)
	if err := <-handler; err == nil || errors.Is(err, h2.ErrGone) {
		t.Errorf("the handler got %v", err)
	}
}
