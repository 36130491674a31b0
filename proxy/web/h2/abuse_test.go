package h2_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tripod/proxy/web/h2"
	"tripod/proxy/web/message"
)

// crowd is a handler that counts how many of it run, and runs until the client has gone.
type crowd struct{ now, most atomic.Int32 }

func (c *crowd) ServeStream(s *h2.Stream) {
	n := c.now.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	hold(s)
	c.now.Add(-1)
}

// flood sends until the server hangs up, or n times.
func flood(t *testing.T, c *raw, n int, send func(i int) error) {
	t.Helper()
	go func() {
		for i := range n {
			if send(i) != nil {
				return
			}
		}
	}()
	c.wantAway(http2.ErrCodeEnhanceYourCalm)
}

func id(i int) uint32 { return uint32(2*i + 1) }

// The client resets what it has just begun (CVE-2023-44487).
func TestRapidReset(t *testing.T) {
	handler := &crowd{}
	s := serve(t, &h2.Options{MaxStreams: 20}, handler.ServeStream)
	c := connect(t, s)
	flood(t, c, 10000, func(i int) error {
		if err := c.headers(id(i), true, get...); err != nil {
			return err
		}
		return c.WriteRSTStream(id(i), http2.ErrCodeCancel)
	})
	wantCode(t, s.end(), http2.ErrCodeEnhanceYourCalm)
	if most := handler.most.Load(); most > 20 {
		t.Errorf("%d handlers ran", most)
	}
}

// The client makes us reset what it has just begun (CVE-2025-8671), in each way that there is.
func TestMadeYouReset(t *testing.T) {
	ways := map[string]func(c *raw, id uint32) error{
		"update of nothing": func(c *raw, id uint32) error { return c.WriteWindowUpdate(id, 0) },
		"window overflow":   func(c *raw, id uint32) error { return c.WriteWindowUpdate(id, 1<<31-1) },
		"late data":         func(c *raw, id uint32) error { return c.WriteData(id, true, []byte("x")) },
		"late headers":      func(c *raw, id uint32) error { return c.headers(id, true, "a: b") },
		"priority of itself": func(c *raw, next uint32) error {
			return c.WriteHeaders(http2.HeadersFrameParam{
				StreamID: next + 2, BlockFragment: c.block(get...), EndStream: true, EndHeaders: true,
				Priority: http2.PriorityParam{StreamDep: next + 2, Weight: 1},
			})
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			handler := &crowd{}
			s := serve(t, &h2.Options{MaxStreams: 20}, handler.ServeStream)
			c := connect(t, s)
			flood(t, c, 10000, func(i int) error {
				if err := c.headers(id(2*i), true, get...); err != nil {
					return err
				}
				return way(c, id(2*i))
			})
			if most := handler.most.Load(); most > 20 {
				t.Errorf("%d handlers ran", most)
			}
		})
	}
}

// A handler that runs on after its stream was reset takes a stream's place.
func TestLateHandlerCounts(t *testing.T) {
	release := make(chan struct{})
	s := serve(t, &h2.Options{MaxStreams: 2}, func(*h2.Stream) { <-release })
	c := connect(t, s)
	for i := range 2 {
		c.ok(c.headers(id(i), true, get...))
		c.ok(c.WriteRSTStream(id(i), http2.ErrCodeCancel))
	}
	c.ok(c.headers(5, true, get...))
	c.wantReset(5, http2.ErrCodeRefusedStream)
	close(release)
	wait(t, "the handlers", func() bool { return s.conn(0).Streams() == 0 })
	c.ok(c.headers(7, true, get...))
	c.wantReset(7, http2.ErrCodeInternal) // as this handler answers
}

func TestTooManyStreams(t *testing.T) {
	s := serve(t, &h2.Options{MaxStreams: 3}, hold)
	c := connect(t, s)
	for i := range 3 {
		c.ok(c.headers(id(i), true, get...))
	}
	c.ok(c.headers(id(3), true, get...))
	c.wantReset(id(3), http2.ErrCodeRefusedStream)
	c.wantPong()
	flood(t, c, 10000, func(i int) error { return c.headers(id(4+i), true, get...) })
}

func TestFloods(t *testing.T) {
	floods := map[string]func(c *raw, i int) error{
		"settings":     func(c *raw, _ int) error { return c.WriteSettings() },
		"settings ack": func(c *raw, _ int) error { return c.WriteSettingsAck() },
		"ping":         func(c *raw, _ int) error { return c.WritePing(false, [8]byte{}) },
		"pong":         func(c *raw, _ int) error { return c.WritePing(true, [8]byte{}) },
		"empty data":   func(c *raw, _ int) error { return c.WriteData(1, false, nil) },
		"padding":      func(c *raw, _ int) error { return c.WriteDataPadded(1, false, nil, make([]byte, 9)) },
		"update":       func(c *raw, _ int) error { return c.WriteWindowUpdate(0, 1) },
		"stream update": func(c *raw, _ int) error {
			return c.WriteWindowUpdate(1, 1)
		},
		"priority":       func(c *raw, i int) error { return c.WritePriority(id(i+1), http2.PriorityParam{}) },
		"unknown":        func(c *raw, _ int) error { return c.WriteRawFrame(0x77, 0, 0, nil) },
		"reset of ended": func(c *raw, i int) error { return c.WriteRSTStream(1, http2.ErrCodeCancel) },
		"empty headers": func(c *raw, i int) error {
			return c.WriteHeaders(http2.HeadersFrameParam{StreamID: id(i + 1), EndHeaders: true, EndStream: true})
		},
		"too large": func(c *raw, i int) error {
			return c.headers(id(i+1), true, with(get, "a: "+strings.Repeat("x", 3000))...)
		},
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			s := serve(t, &h2.Options{MaxHead: 2000}, hold)
			c := connect(t, s)
			c.ok(c.headers(1, false, post...))
			flood(t, c, 20000, func(i int) error { return send(c, i) })
			wantCode(t, s.end(), http2.ErrCodeEnhanceYourCalm)
		})
	}
}

// A field block without end, in empty pieces and in full ones.
func TestContinuationFlood(t *testing.T) {
	for _, size := range []int{0, 1, 16000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			s := serve(t, nil, hold)
			c := connect(t, s)
			c.ok(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(get...)}))
			piece := bytes.Repeat([]byte{0x82}, size)
			flood(t, c, 10000, func(int) error { return c.WriteContinuation(1, false, piece) })
			wantCode(t, s.end(), http2.ErrCodeEnhanceYourCalm)
		})
	}
}

// What is too large when it is decoded is answered, and HPACK's state survives.
func TestBombs(t *testing.T) {
	many := func(n int, line string) []string {
		lines := with(get)
		for range n {
			lines = append(lines, line)
		}
		return lines
	}
	bombs := map[string][]string{
		"one entry again and again": many(60, "bomb: "+strings.Repeat("x", 3500)),
		"tiny fields":               many(3000, "a: b"),
		"cookie crumbs":             many(3000, "cookie: c"),
		"one large field":           with(get, "large: "+strings.Repeat("\x7e", 100<<10)),
	}
	for name, lines := range bombs {
		t.Run(name, func(t *testing.T) {
			s := serve(t, nil, answerSpec)
			c := connect(t, s)
			block := c.block(with(lines, "after: the bomb")...)
			for first := true; first || len(block) > 0; first = false {
				n := min(len(block), 16000)
				if first {
					c.ok(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:n], EndStream: true, EndHeaders: n == len(block)}))
				} else {
					c.ok(c.WriteContinuation(1, n == len(block), block[:n]))
				}
				block = block[n:]
			}
			c.wantStatus(1, "431")
			c.ok(c.headers(3, true, with(get, "after: the bomb")...)) // by an index that the bomb made
			c.wantStatus(3, "200")
		})
	}
}

// A SETTINGS frame that changes all streams' windows very often costs no more than one that does it once.
func TestSettingsManyValues(t *testing.T) {
	s := serve(t, nil, answerSpec)
	c := connect(t, s)
	c.ok(c.headers(1, false, post...))
	var p []byte
	for i := range 2700 {
		p = binary.BigEndian.AppendUint16(p, uint16(http2.SettingInitialWindowSize))
		p = binary.BigEndian.AppendUint32(p, uint32(i%7))
	}
	c.ok(c.WriteRawFrame(http2.FrameSettings, 0, 0, p)) // the last one is 4
	c.wantPong()
	c.ok(c.WriteData(1, true, nil))
	c.wantStatus(1, "200")
	c.wantData(1, "0123", false)
	c.ok(c.WriteWindowUpdate(1, 100))
	c.wantData(1, "456789", true)
}

// A client whose windows are an octet wide is served, octet by octet, but not for ever.
func TestTinyWindow(t *testing.T) {
	s := serve(t, nil, func(s *h2.Stream) {
		if s.Respond(200, []message.Field{}, false) == nil {
			_ = s.Write(make([]byte, 10000), true)
		}
	})
	c := connect(t, s, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	c.ok(c.headers(1, true, get...))
	c.wantStatus(1, "200")
	for range 100 {
		c.wantData(1, "\x00", false)
		c.ok(c.WriteWindowUpdate(1, 1))
	}
	flood(t, c, 10000, func(int) error { return c.WriteWindowUpdate(1, 1) })
}

// A client whose requests all run into their deadlines is no attacker: what was let live for a while may be reset, by the hundred.
func TestPatientResets(t *testing.T) {
	s := serve(t, nil, hold)
	c := connect(t, s)
	for round := range 4 {
		for i := range 200 {
			c.ok(c.headers(id(200*round+i), true, get...))
		}
		time.Sleep(600 * time.Millisecond) // the clients' deadline
		for i := range 200 {
			c.ok(c.WriteRSTStream(id(200*round+i), http2.ErrCodeCancel))
		}
		wait(t, "the handlers", func() bool { return s.conn(0).Streams() == 0 })
	}
	c.wantPong()
}
