package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// DetectorConfig is what a Detector needs of the world.
type DetectorConfig struct {
	// Dial opens a stream on which the node sends a byte every 100 ms, or more often. It must return when ctx ends.
	Dial func(ctx context.Context, node string) (io.ReadCloser, error)
	// Silence is after how long without a byte a node is suspected; 0 means 300 ms.
	Silence time.Duration
	// Redial is how long a connection that broke may take to be made again before the node is
	// suspected, and the pause between attempts; 0 means 100 ms.
	Redial time.Duration
	// Grace is how long a node may take to send its first byte after it began to be watched; 0 means 500 ms.
	Grace time.Duration
	// Changed is told when a node becomes suspected, or no longer is. It must not block; nil is allowed.
	Changed func()
	// Clock as in HolderConfig.
	Clock func() time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Detector suspects nodes of having failed, by one long-lived stream from each. A node is suspected
//
//   - at once, when its connection breaks and dialling again is refused or fails,
//   - when the connection broke and has not been made again within Redial,
//   - after Silence without a byte, connected or not,
//   - when it has not sent its first byte within Grace of having been watched.
//
// One byte clears it. A stream that is silent is ended and dialled again, every so often: a machine that lost its power
// does not end its connections, and will never send another byte on them. Time counts only while this process runs: at every look no more is added to a silence
// than two looks' worth, so that a machine which was busy, paused or suspended does not take its own absence for
// that of all others. For the same reason a dial that timed out proves nothing by itself.
type Detector struct {
	cfg  DetectorConfig
	look time.Duration // between two looks at the clock

	// One goroutine, run, owns this.
	peers map[string]*peer

	watch    chan []string
	signals  chan signal
	verdicts atomic.Pointer[map[string]verdict] // of suspected nodes

	mu      sync.Mutex // guards what follows
	started bool
	closed  bool
	ctx     context.Context // ends when Close is called
	stop    context.CancelFunc
	done    chan struct{}
	workers sync.WaitGroup
}

// peer is what the Detector knows about one node.
type peer struct {
	name    string
	cancel  context.CancelFunc
	reached bool          // it has sent a byte
	broken  bool          // its connection broke and has not been made again
	silent  time.Duration // since the last byte, or since watching began
	down    time.Duration // since the connection broke
	err     error         // of the last dial or stream
	why     string        // why it is suspected; empty if it is not
	hungUp  time.Duration // the silence at which its stream was last ended

	hangUp atomic.Pointer[context.CancelFunc] // ends the stream, of the follower; nil while there is none
}

// verdict is why a node is suspected.
type verdict struct {
	why    string
	silent time.Duration // for how long it had been when the verdict was published
	at     time.Duration // when that was
}

// signal is what a follower has to say about its peer.
type signal struct {
	peer *peer
	kind signalKind
	err  error
}

type signalKind uint8

const (
	signalConnected signalKind = iota + 1
	signalBeat
	signalBroken // the connection ended
	signalFailed // dialling failed
)

// NewDetector makes a Detector, which watches nobody yet.
func NewDetector(cfg DetectorConfig) *Detector {
	cfg.Silence = cmp.Or(cfg.Silence, 300*time.Millisecond)
	cfg.Redial = cmp.Or(cfg.Redial, 100*time.Millisecond)
	cfg.Grace = cmp.Or(cfg.Grace, 500*time.Millisecond)
	if cfg.Clock == nil {
		cfg.Clock = systemClock()
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	ctx, stop := context.WithCancel(context.Background())
	return &Detector{
		cfg:   cfg,
		look:  max(cfg.Silence/10, time.Millisecond),
		peers: map[string]*peer{},
		watch: make(chan []string, 1), signals: make(chan signal, 64),
		ctx: ctx, stop: stop, done: make(chan struct{}),
	}
}

// Watch sets which nodes are watched. Those that were watched before go on as they were; those left
// out are forgotten, and no longer suspected. It starts the Detector, and does not block.
func (d *Detector) Watch(nodes []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	select { // the newest set counts; under mu nobody else can fill the channel
	case <-d.watch:
	default:
	}
	d.watch <- append([]string(nil), nodes...)
	if !d.started {
		d.started = true
		d.workers.Add(1)
		go d.run()
		go d.wait()
	}
}

func (d *Detector) wait() {
	d.workers.Wait()
	close(d.done)
}

// Suspected tells whether a watched node seems to have failed.
func (d *Detector) Suspected(node string) bool { return d.Why(node) != "" }

// Why says, for people, why a node is suspected, or nothing if it is not.
func (d *Detector) Why(node string) string {
	why, _ := d.Verdict(node)
	return why
}

// Verdict says why a node is suspected, and for how long nothing has been heard of it. Both are zero if it is not.
func (d *Detector) Verdict(node string) (why string, silence time.Duration) {
	verdicts := d.verdicts.Load()
	if verdicts == nil {
		return "", 0
	}
	v, ok := (*verdicts)[node]
	if !ok {
		return "", 0
	}
	return v.why, v.silent + max(d.cfg.Clock()-v.at, 0)
}

// Close ends all streams and waits for every goroutine, for as long as ctx lasts.
func (d *Detector) Close(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	started := d.started
	d.mu.Unlock()
	d.stop()
	if !started {
		return nil
	}
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close detector: a dial or stream has not ended: %w", ctx.Err())
	}
}

// run owns the peers.
func (d *Detector) run() {
	defer d.workers.Done()
	ticker := time.NewTicker(d.look)
	defer ticker.Stop()
	last := d.cfg.Clock()
	for {
		changed := false
		select {
		case <-d.ctx.Done():
			return
		case nodes := <-d.watch:
			changed = d.rewatch(nodes)
		case s := <-d.signals:
			changed = d.hear(s)
		case <-ticker.C:
			changed = d.hearAll() // what has arrived counts before what has not
			now := d.cfg.Clock()
			changed = d.age(min(now-last, 2*d.look)) || changed
			last = now
		}
		if changed {
			d.publish()
		}
	}
}

// rewatch starts and ends followers.
func (d *Detector) rewatch(nodes []string) bool {
	wanted := make(map[string]bool, len(nodes))
	for _, name := range nodes {
		wanted[name] = true
		if d.peers[name] == nil {
			ctx, cancel := context.WithCancel(d.ctx)
			p := &peer{name: name, cancel: cancel}
			d.peers[name] = p
			f := &follower{detector: d, peer: p}
			d.workers.Add(1)
			go f.run(ctx)
		}
	}
	changed := false
	for name, p := range d.peers {
		if !wanted[name] {
			p.cancel()
			delete(d.peers, name)
			changed = changed || p.why != ""
		}
	}
	return changed
}

// hearAll takes in all signals that are waiting.
func (d *Detector) hearAll() bool {
	changed := false
	for {
		select {
		case s := <-d.signals:
			changed = d.hear(s) || changed
		default:
			return changed
		}
	}
}

// hear takes in a signal and tells whether it changed a verdict.
func (d *Detector) hear(s signal) bool {
	p := s.peer
	if d.peers[p.name] != p {
		return false // not watched any more
	}
	switch s.kind {
	case signalConnected:
		p.broken = false
	case signalBeat:
		p.reached, p.broken, p.silent, p.hungUp, p.err = true, false, 0, 0, nil
		return d.clear(p)
	case signalBroken:
		p.broken, p.down, p.err = true, 0, s.err
	case signalFailed:
		p.err = s.err
		if p.reached && !timedOut(s.err) {
			return d.suspect(p, fmt.Sprintf("cannot be reached: %v", s.err))
		}
	}
	return false
}

// age adds time to every silence and tells whether that changed a verdict.
func (d *Detector) age(step time.Duration) bool {
	changed := false
	for _, p := range d.peers {
		p.silent += step
		if p.broken {
			p.down += step
		}
		if p.silent >= p.hungUp+max(d.cfg.Silence, d.cfg.Grace) {
			p.hungUp = p.silent
			if hangUp := p.hangUp.Load(); hangUp != nil {
				(*hangUp)()
			}
		}
		switch {
		case !p.reached:
			if p.silent >= d.cfg.Grace {
				changed = d.suspect(p, fmt.Sprintf("not reached within %v%s", d.cfg.Grace, because(p.err))) || changed
			}
		case p.silent >= d.cfg.Silence:
			changed = d.suspect(p, fmt.Sprintf("silent for %v%s", d.cfg.Silence, because(p.err))) || changed
		case p.broken && p.down >= d.cfg.Redial:
			changed = d.suspect(p, fmt.Sprintf("its connection broke and was not made again within %v%s", d.cfg.Redial, because(p.err))) || changed
		}
	}
	return changed
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// timedOut tells whether an attempt ended because time ran out, which may be our own doing.
func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// suspect notes a verdict unless there is one, and tells whether it did.
func (d *Detector) suspect(p *peer, why string) bool {
	if p.why != "" {
		return false
	}
	p.why = why
	d.cfg.Log.Warn("node suspected", "node", p.name, "why", why)
	return true
}

func (d *Detector) clear(p *peer) bool {
	if p.why == "" {
		return false
	}
	d.cfg.Log.Info("node answers again", "node", p.name, "was", p.why)
	p.why = ""
	return true
}

// publish makes the verdicts visible, and says so.
func (d *Detector) publish() {
	verdicts, now := map[string]verdict{}, d.cfg.Clock()
	for name, p := range d.peers {
		if p.why != "" {
			verdicts[name] = verdict{p.why, p.silent, now}
		}
	}
	d.verdicts.Store(&verdicts)
	d.cfg.Changed()
}
