package election

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// beacon is a peer on a real socket that sends a byte every few milliseconds to everyone who connects.
type beacon struct {
	t       *testing.T
	address string
	quiet   atomic.Bool // it keeps its connections and says nothing
	dials   atomic.Int64

	mu       sync.Mutex
	listener net.Listener
	conns    map[net.Conn]bool // whether it has said something on them
	muted    map[net.Conn]bool
	wg       sync.WaitGroup
}

func newBeacon(t *testing.T) *beacon {
	b := &beacon{t: t, address: "127.44.0.1:0", conns: map[net.Conn]bool{}}
	b.start()
	b.address = b.listener.Addr().String()
	t.Cleanup(b.stop)
	return b
}

func (b *beacon) start() {
	listener, err := net.Listen("tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	b.listener = listener
	b.mu.Unlock()
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[conn] = false
			b.mu.Unlock()
			b.wg.Add(1)
			go b.send(conn)
		}
	}()
}

func (b *beacon) send(conn net.Conn) {
	defer b.wg.Done()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.conns, conn)
		_ = conn.Close()
	}()
	for {
		b.mu.Lock()
		muted := b.muted[conn]
		b.mu.Unlock()
		if !b.quiet.Load() && !muted {
			if _, err := conn.Write([]byte{1}); err != nil {
				return
			}
			b.said(conn)
		}
		time.Sleep(5 * time.Millisecond)
		b.mu.Lock()
		_, alive := b.conns[conn]
		b.mu.Unlock()
		if !alive {
			return
		}
	}
}

func (b *beacon) said(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, alive := b.conns[conn]; alive {
		b.conns[conn] = true
	}
}

// mute says no more on the connections that there are, like a machine that lost its power and is on again.
func (b *beacon) mute() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.muted = maps.Clone(b.conns)
	for conn := range b.muted {
		b.muted[conn] = true
	}
}

// hangUp closes the connections, or only those on which something was said: one that ends before that has not worked, and
// is not made again at once.
func (b *beacon) hangUp(all bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for conn, said := range b.conns {
		if said || all {
			_ = conn.Close()
			delete(b.conns, conn)
		}
	}
}

// stop closes the port and the connections.
func (b *beacon) stop() {
	b.mu.Lock()
	_ = b.listener.Close()
	b.mu.Unlock()
	b.hangUp(true)
	b.wg.Wait()
	b.hangUp(true) // one that was accepted in between
}

// peers dials beacons by name.
type peers map[string]*beacon

func (p peers) dial(ctx context.Context, node string) (io.ReadCloser, error) {
	b := p[node]
	if b == nil {
		return nil, errors.New("no such host")
	}
	b.dials.Add(1)
	return new(net.Dialer).DialContext(ctx, "tcp", b.address)
}

func openDetector(t *testing.T, cfg DetectorConfig, nodes ...string) *Detector {
	d := NewDetector(cfg)
	d.Watch(nodes)
	t.Cleanup(func() {
		for range 2 {
			if err := d.Close(withTimeout(t)); err != nil {
				t.Error(err)
			}
		}
		d.Watch(nodes)
	})
	return d
}

// reached waits until the Detector has heard a node.
func (b *beacon) reached() {
	b.t.Helper()
	eventually(b.t, "the beacon is connected", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) > 0
	})
}

func TestDetector(t *testing.T) {
	t.Parallel()
	a, b := newBeacon(t), newBeacon(t)
	changed := make(chan struct{}, 100)
	d := openDetector(t, DetectorConfig{
		Dial: peers{"a": a, "b": b}.dial, Changed: func() { changed <- struct{}{} },
		Silence: time.Second, Redial: 500 * time.Millisecond, // so that a busy machine makes no difference
	}, "a", "b")
	suspected := func(node, says string) {
		t.Helper()
		eventually(t, node+" is suspected", func() bool { return d.Suspected(node) })
		if why := d.Why(node); !strings.Contains(why, says) {
			t.Errorf("%s is suspected because %q, want something about %q", node, why, says)
		}
		<-changed
	}
	cleared := func(node string) {
		t.Helper()
		eventually(t, node+" is cleared", func() bool { return !d.Suspected(node) && d.Why(node) == "" })
		<-changed
	}
	a.reached()
	b.reached()

	a.quiet.Store(true)
	suspected("a", "silent for 1s")
	a.quiet.Store(false)
	cleared("a")

	a.stop()
	suspected("a", "refused")
	a.start()
	cleared("a")

	if d.Suspected("b") || d.Suspected("stranger") {
		t.Error("others are suspected")
	}
	d.Watch([]string{"b"})
	eventually(t, "a is not followed any more", func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.conns) == 0
	})
	a.stop()
	b.stop()
	suspected("b", "refused")
	if d.Suspected("a") {
		t.Error("a is suspected, but not watched")
	}
	d.Watch(nil)
	cleared("b")
}

// A connection that is merely cut, by a middlebox or a restart of the peer's API, is made again without any suspicion.
func TestDetectorDialsAgain(t *testing.T) {
	t.Parallel()
	a := newBeacon(t)
	var changes atomic.Int64
	d := openDetector(t, DetectorConfig{
		Dial: peers{"a": a}.dial, Changed: func() { changes.Add(1) },
		Silence: 5 * time.Second, Redial: 5 * time.Second,
	}, "a")
	for n := range int64(5) {
		eventually(t, "a dial", func() bool { return a.dials.Load() > n })
		a.reached()
		eventually(t, "hung up", func() bool { a.hangUp(false); return a.dials.Load() > n+1 })
	}
	if changes.Load() != 0 || d.Suspected("a") {
		t.Errorf("%d changes, suspected because %q", changes.Load(), d.Why("a"))
	}
}

// A peer that was without power has forgotten its connections, and does not end them. It is heard again on new ones.
func TestDetectorLeavesDeadStreams(t *testing.T) {
	t.Parallel()
	a := newBeacon(t)
	d := openDetector(t, DetectorConfig{Dial: peers{"a": a}.dial}, "a")
	for range 3 {
		a.reached()
		eventually(t, "no suspicion", func() bool { return !d.Suspected("a") })
		a.mute()
		eventually(t, "a suspicion", func() bool { return d.Suspected("a") })
		eventually(t, "no suspicion any more", func() bool { return !d.Suspected("a") })
	}
}

func TestDetectorNeverReached(t *testing.T) {
	t.Parallel()
	a := newBeacon(t)
	a.stop()
	d := openDetector(t, DetectorConfig{Dial: peers{"a": a}.dial}, "a", "unknown")
	eventually(t, "an attempt", func() bool { return a.dials.Load() > 0 })
	eventually(t, "both are suspected", func() bool { return d.Suspected("a") && d.Suspected("unknown") })
	for node, says := range map[string]string{"a": "refused", "unknown": "no such host"} {
		if why := d.Why(node); !strings.Contains(why, "not reached within 500ms: ") || !strings.Contains(why, says) {
			t.Errorf("%s is suspected because %q", node, why)
		}
	}
	a.start()
	eventually(t, "a is cleared", func() bool { return !d.Suspected("a") })
}

func TestDetectorClosesWhileDialling(t *testing.T) {
	t.Parallel()
	dialling, release := make(chan struct{}, 100), make(chan struct{})
	d := NewDetector(DetectorConfig{Dial: func(ctx context.Context, node string) (io.ReadCloser, error) {
		dialling <- struct{}{}
		if node == "deaf" {
			<-release
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	d.Watch([]string{"a", "deaf"})
	<-dialling
	<-dialling
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := d.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Close with a dial that hangs: %v", err)
	}
	close(release)
	if err := d.Close(withTimeout(t)); err != nil {
		t.Error(err)
	}
	if err := NewDetector(DetectorConfig{}).Close(withTimeout(t)); err != nil {
		t.Error(err)
	}
}

// What the clock and the network do at which moment is decided here, without either.
func TestDetectorVerdicts(t *testing.T) {
	refused := errors.New("connection refused")
	late := os.ErrDeadlineExceeded
	type s = []any // a signal, an error with it, or time that passes
	for _, test := range []struct {
		name   string
		events s
		want   string
	}{
		{"fresh", s{300 * ms, 199 * ms}, ""},
		{"never reached", s{500 * ms}, "not reached within 500ms"},
		{"refused, but never reached", s{signalFailed, refused}, ""},
		{"refused, never reached for too long", s{signalFailed, refused, 500 * ms}, "not reached within 500ms: connection refused"},
		{"connected, but never heard", s{signalConnected, 500 * ms}, "not reached within 500ms"},
		{"heard", s{signalBeat, 299 * ms}, ""},
		{"heard again", s{signalBeat, 299 * ms, signalBeat, 299 * ms}, ""},
		{"silent", s{signalBeat, 300 * ms}, "silent for 300ms"},
		{"silent, then heard", s{signalBeat, 300 * ms, signalBeat}, ""},
		{"broken", s{signalBeat, signalBroken, io.EOF, 99 * ms}, ""},
		{"broken for too long", s{signalBeat, signalBroken, io.EOF, 100 * ms}, "its connection broke and was not made again within 100ms: EOF"},
		{"broken and refused", s{signalBeat, signalBroken, io.EOF, signalFailed, refused}, "cannot be reached: connection refused"},
		{"broken, dialled in vain by our own fault", s{signalBeat, signalBroken, io.EOF, signalFailed, late}, ""},
		{"broken and made again", s{signalBeat, signalBroken, io.EOF, 99 * ms, signalConnected, 200 * ms}, ""},
		{"made again, but silent", s{signalBeat, signalBroken, io.EOF, 99 * ms, signalConnected, 201 * ms}, "silent for 300ms: EOF"},
		{"the first reason stays", s{signalBeat, 300 * ms, signalBroken, io.EOF, signalFailed, refused, time.Hour}, "silent for 300ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := NewDetector(DetectorConfig{})
			p := &peer{name: "a", cancel: func() {}}
			d.peers["a"] = p
			for i, event := range test.events {
				switch event := event.(type) {
				case time.Duration:
					d.age(event)
				case signalKind:
					var err error
					if i+1 < len(test.events) {
						err, _ = test.events[i+1].(error)
					}
					d.hear(signal{p, event, err})
				}
			}
			d.publish()
			if d.Why("a") != test.want {
				t.Errorf("suspected because %q, want %q", d.Why("a"), test.want)
			}
		})
	}
}

// A verdict knows for how long nothing was heard, and that goes on to grow.
func TestDetectorKnowsTheSilence(t *testing.T) {
	now := time.Hour
	d := NewDetector(DetectorConfig{Clock: func() time.Duration { return now }})
	p := &peer{name: "a", cancel: func() {}}
	d.peers["a"] = p
	if why, silence := d.Verdict("a"); why != "" || silence != 0 {
		t.Errorf("before any verdict: %q, %v", why, silence)
	}
	d.hear(signal{p, signalBeat, nil})
	d.age(310 * ms)
	d.publish()
	now += 5 * ms
	if why, silence := d.Verdict("a"); why != "silent for 300ms" || silence != 315*ms {
		t.Errorf("suspected: %q, %v", why, silence)
	}
	d.hear(signal{p, signalBeat, nil})
	d.publish()
	if why, silence := d.Verdict("a"); why != "" || silence != 0 {
		t.Errorf("heard again: %q, %v", why, silence)
	}
}

// The machine is suspended for an hour between two looks: nobody else has been silent for it.
func TestDetectorForgivesItsOwnStall(t *testing.T) {
	t.Parallel()
	a := newBeacon(t)
	var jump, looks atomic.Int64
	clock := systemClock()
	var changes atomic.Int64
	d := openDetector(t, DetectorConfig{
		Dial: peers{"a": a}.dial, Changed: func() { changes.Add(1) },
		Clock: func() time.Duration {
			defer looks.Add(1)
			return clock() + time.Duration(jump.Load())
		},
		// A tenth of this is much more than a beat takes, however slow the machine that tests.
		Silence: 3 * time.Second, Grace: 3 * time.Second,
	}, "a")
	a.reached()
	for range 3 {
		jump.Add(int64(time.Hour))
		before := looks.Load()
		eventually(t, "two more looks", func() bool { return looks.Load() >= before+2 })
	}
	if changes.Load() != 0 {
		t.Errorf("suspected because %q", d.Why("a"))
	}
}
