package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// HolderConfig is what a Holder needs of the world.
type HolderConfig struct {
	// Self is this node's name, as records have it.
	Self string
	// Interval is the time between two reads while it matters; 0 means 100 ms.
	Interval time.Duration
	// Hold is for how long one read gives the right to hold; 0 means 400 ms. It must be the same on all nodes.
	Hold time.Duration
	// Read returns all records by ONE linearizable read. It should return when ctx ends.
	Read func(ctx context.Context) (map[netip.Addr]Record, error)
	// Lag is for how long a node may go on answering after its right has ended, because its process is stopped or
	// dead and its kernel has no guard that ends the answering by itself (A4). New holders wait so much
	// longer. It is asked again and again; nil means 0.
	Lag func() time.Duration
	// Take starts to answer for an address, with the right to do so until a time on Clock. When it fails
	// nothing must be left behind; it is tried again every Interval while the right lasts. It must be quick.
	Take func(address netip.Addr, until time.Duration) error
	// Renew is told that the right now lasts until a later time, for a guard that ends the answering by itself
	// (A4). It must be quick; nil is allowed.
	Renew func(address netip.Addr, until time.Duration)
	// Drop stops to answer for an address. It takes effect before it returns, and must be quick.
	Drop func(netip.Addr)
	// Release is called instead of Drop when a record names another node, which is about to be given the
	// acknowledgement: what it prepares can go along with that. nil means Drop.
	Release func(address netip.Addr, to string)
	// Acknowledge hands an acknowledgement to the node of that name, whose Holder must be given it by
	// Acknowledged. It may be slow and may fail; nil sends none, and new holders wait in full.
	Acknowledge func(ctx context.Context, to string, word Acknowledgement) error
	// Event is told what happens, from one goroutine. It must not block; nil is allowed.
	Event func(Event)
	// Clock returns the time since some moment in the past. It must never go back or stop. nil means
	// Clock(), the same for all processes of a machine on Linux, and Go's monotonic clock elsewhere.
	Clock func() time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Defaults of HolderConfig.
const (
	DefaultInterval = 100 * time.Millisecond
	DefaultHold     = 400 * time.Millisecond
)

const (
	idleInterval = time.Second           // between two reads while no record names this node
	longestSleep = 25 * time.Millisecond // while holding; see Holder.sleep
	mostReads    = 4                     // under way at once, if Read does not heed its context
	resend       = 25 * time.Millisecond // between two attempts to acknowledge
)

// Validate finds what is missing.
func (c HolderConfig) Validate() error {
	switch {
	case c.Self == "":
		return errors.New("holder: the node's own name is missing")
	case c.Read == nil || c.Take == nil || c.Drop == nil:
		return errors.New("holder: Read, Take and Drop are needed")
	case c.Interval < 0 || c.Hold < 0:
		return errors.New("holder: interval and hold must not be negative")
	}
	if interval, hold := cmp.Or(c.Interval, DefaultInterval), cmp.Or(c.Hold, DefaultHold); hold < 2*interval {
		return fmt.Errorf("holder: a hold of %v is not twice the read interval of %v; renewals would come too late", hold, interval)
	}
	return nil
}

// Holder runs the hold protocol of one node, for all addresses. See the package comment.
type Holder struct {
	cfg     HolderConfig
	timeout time.Duration // of one read

	// One goroutine, run, owns these.
	machine  *machine
	again    bool          // read as soon as possible
	lastRead time.Duration // when the last read was started
	underWay int           // reads that have not returned
	cancel   context.CancelFunc
	readFail bool // the last read failed
	since    map[netip.Addr]time.Time
	fails    map[netip.Addr]int // attempts to take, in a row
	sending  map[netip.Addr]context.CancelFunc

	wake    chan struct{}
	words   chan Acknowledgement
	results chan readResult
	held    atomic.Pointer[[]Held]

	mu      sync.Mutex // guards what follows
	opened  bool
	closed  bool
	stop    context.CancelFunc // ends run
	abort   context.CancelFunc // ends the acknowledgements under way
	done    chan struct{}      // closed when every goroutine has ended
	workers sync.WaitGroup
}

type readResult struct {
	id      uint64
	records map[netip.Addr]Record
	err     error
}

// NewHolder makes a Holder, which does nothing before Open.
func NewHolder(cfg HolderConfig) *Holder {
	cfg.Interval = cmp.Or(cfg.Interval, DefaultInterval)
	cfg.Hold = cmp.Or(cfg.Hold, DefaultHold)
	if cfg.Clock == nil {
		cfg.Clock = systemClock()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Event == nil {
		cfg.Event = func(Event) {}
	}
	return &Holder{
		cfg:     cfg,
		timeout: max(cfg.Hold/2, cfg.Interval),
		machine: newMachine(cfg.Self, cfg.Interval, cfg.Hold),
		since:   map[netip.Addr]time.Time{},
		fails:   map[netip.Addr]int{},
		sending: map[netip.Addr]context.CancelFunc{},
		wake:    make(chan struct{}, 1),
		words:   make(chan Acknowledgement, 64),
		results: make(chan readResult, mostReads),
		done:    make(chan struct{}),
	}
}

// Open starts to read the records and to hold what they say. It does not wait for the first read, since
// there may be no quorum yet.
func (h *Holder) Open(context.Context) error {
	if err := h.cfg.Validate(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.opened || h.closed {
		return errors.New("open holder: it was opened or closed before")
	}
	h.opened = true
	running, stop := context.WithCancel(context.Background())
	sending, abort := context.WithCancel(context.Background())
	h.stop, h.abort = stop, abort
	h.again = true
	h.workers.Add(1)
	go h.run(running, sending)
	go h.wait()
	return nil
}

// wait closes done when everything has ended.
func (h *Holder) wait() {
	h.workers.Wait()
	close(h.done)
}

// Close drops every address before anything else, lets acknowledgements that are under way arrive, and waits
// for all goroutines, for as long as ctx lasts.
func (h *Holder) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	opened := h.opened
	h.mu.Unlock()
	if !opened {
		return nil
	}
	h.stop()
	defer h.abort()
	select {
	case <-h.done:
		return nil
	case <-ctx.Done():
	}
	h.abort()
	select { // what heeds its context ends at once
	case <-h.done:
		return nil
	case <-time.After(longestSleep):
		return fmt.Errorf("close holder: a read, take, drop or acknowledgement has not returned: %w", ctx.Err())
	}
}

// Wake makes the Holder read now, because a watch says that something changed.
func (h *Holder) Wake() {
	select {
	case h.wake <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

// Acknowledged takes in an acknowledgement that another node's Holder sent to this one. The caller has made
// sure that it comes from word.From.
func (h *Holder) Acknowledged(word Acknowledgement) {
	select {
	case h.words <- word:
	default: // a flood; without the word this node waits a little longer
		h.cfg.Log.Warn("acknowledgement ignored, too many at once", "vip", word.Address, "from", word.From)
	}
}

// run owns the machine.
func (h *Holder) run(ctx, sending context.Context) {
	defer h.workers.Done()
	defer h.finish(sending)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
			h.again = true
		case word := <-h.words:
			if h.machine.acknowledge(word, h.cfg.Clock()) {
				h.again = true
			}
		case result := <-h.results:
			h.finishRead(result)
		case <-timer.C:
		}
		if h.cfg.Lag != nil {
			h.machine.wait = waitFor(h.cfg.Hold) + h.cfg.Lag()
		}
		now := h.cfg.Clock()
		h.machine.tick(now)
		h.perform(sending)
		h.keepReading(ctx, now)
		h.publish()
		timer.Reset(h.sleep())
	}
}

// finish drops everything.
func (h *Holder) finish(sending context.Context) {
	h.machine.stop(h.cfg.Clock())
	h.perform(sending)
	h.publish()
	if h.cancel != nil {
		h.cancel()
	}
}

// sleep is how long nothing needs to be done unless something happens. While holding it is never long: the
// runtime's timers stand still while the machine is suspended, so that a single long sleep would outlast the right.
func (h *Holder) sleep() time.Duration {
	now := h.cfg.Clock()
	at := h.nextRead()
	if h.machine.reading != 0 {
		at = h.lastRead + h.timeout
	}
	if due, ok := h.machine.next(now); ok {
		at = min(at, due)
	}
	pause := max(at-now, 0)
	if held := h.held.Load(); held != nil && len(*held) > 0 {
		pause = min(pause, longestSleep)
	}
	return pause
}

// nextRead is when the next read is due, if none is under way.
func (h *Holder) nextRead() time.Duration {
	if h.machine.busy() {
		return h.lastRead + h.cfg.Interval
	}
	return h.lastRead + idleInterval
}

// keepReading gives up a read that takes too long and starts the next one when it is due.
func (h *Holder) keepReading(ctx context.Context, now time.Duration) {
	if h.machine.reading != 0 {
		if now < h.lastRead+h.timeout {
			return
		}
		h.readFailed(fmt.Errorf("no answer within %v", h.timeout))
	}
	if !h.again && now < h.nextRead() {
		return
	}
	if h.underWay >= mostReads {
		h.lastRead = now // look again later; Read owes us four returns
		return
	}
	h.again = false
	reading, cancel := context.WithTimeout(ctx, h.timeout)
	h.cancel = cancel
	h.underWay++
	h.lastRead = h.cfg.Clock()
	id := h.machine.startRead(h.lastRead)
	h.workers.Add(1)
	go h.read(reading, id)
}

// read makes one read. The channel has room for as many results as reads are under way at most.
func (h *Holder) read(ctx context.Context, id uint64) {
	defer h.workers.Done()
	records, err := h.cfg.Read(ctx)
	h.results <- readResult{id, records, err}
}

// finishRead takes in the result of a read, unless the read was given up.
func (h *Holder) finishRead(result readResult) {
	h.underWay--
	if result.id != h.machine.reading {
		return
	}
	if result.err != nil {
		h.readFailed(result.err)
		return
	}
	h.cancel()
	if h.readFail {
		h.readFail = false
		h.cfg.Log.Info("vip records can be read again")
	}
	h.machine.finishRead(result.id, h.cfg.Clock(), result.records)
}

// readFailed gives up the read under way. The next one is due at its time; after a long wait, at once.
func (h *Holder) readFailed(err error) {
	h.cancel()
	h.machine.abandonRead()
	if !h.readFail {
		h.readFail = true
		h.cfg.Log.Warn("vip records cannot be read; without a fresh read no vip is held", "error", err)
	}
}

// perform does what the machine wants done, in order.
func (h *Holder) perform(sending context.Context) {
	for actions := h.machine.drain(); len(actions) > 0; actions = h.machine.drain() {
		for _, action := range actions {
			address := action.event.Address
			switch action.do {
			case doTake:
				h.take(action.event)
			case doDrop:
				h.drop(address, action.event.Holder)
				action.event.At = h.cfg.Clock()
				h.tell(action.event)
				h.publish() // before an acknowledgement lets the next node say that it holds
			case doForget:
				if cancel := h.sending[address]; cancel != nil {
					cancel()
					delete(h.sending, address)
				}
			case doAcknowledge:
				h.acknowledge(sending, action.event, action.word)
			case doTell:
				if action.event.Kind == Renewed && h.cfg.Renew != nil {
					h.cfg.Renew(address, action.event.Until)
				}
				h.tell(action.event)
			}
		}
	}
}

// errLate keeps an attempt to take from being made when the process was held up.
var errLate = errors.New("the right ran out before the address could be taken")

func (h *Holder) take(event Event) {
	before := h.cfg.Clock()
	if before >= event.Until {
		h.machine.took(event.Address, before, errLate)
		return
	}
	h.machine.took(event.Address, before, h.cfg.Take(event.Address, event.Until))
}

// drop stops to answer, in favour of the node that the record names, if it names one.
func (h *Holder) drop(address netip.Addr, to string) {
	if to != "" && h.cfg.Release != nil {
		h.cfg.Release(address, to)
		return
	}
	h.cfg.Drop(address)
}

// acknowledge sends the word from a goroutine of its own.
func (h *Holder) acknowledge(sending context.Context, event Event, word Acknowledgement) {
	if h.cfg.Acknowledge == nil {
		return
	}
	h.tell(event)
	// After this time the receiver needs no word any more.
	ctx, cancel := context.WithTimeout(sending, waitFor(h.cfg.Hold))
	if former := h.sending[event.Address]; former != nil {
		former()
	}
	h.sending[event.Address] = cancel
	h.workers.Add(1)
	go h.send(ctx, cancel, event.Holder, word)
}

// send repeats the word until it has arrived or nobody needs it any more.
func (h *Holder) send(ctx context.Context, cancel context.CancelFunc, to string, word Acknowledgement) {
	defer h.workers.Done()
	defer cancel()
	retry := time.NewTicker(resend)
	defer retry.Stop()
	for {
		attempt, end := context.WithTimeout(ctx, h.timeout)
		err := h.cfg.Acknowledge(attempt, to, word)
		end()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			h.cfg.Log.Info("acknowledgement did not arrive; the new holder waits instead", "vip", word.Address, "to", to, "error", err)
			return
		case <-retry.C:
		}
	}
}

// tell passes an event on and logs what a person wants to know.
func (h *Holder) tell(event Event) {
	h.cfg.Event(event)
	if event.Kind == Renewed {
		return
	}
	log := h.cfg.Log.With("vip", event.Address, "revision", event.Revision)
	switch event.Kind {
	case Taken:
		h.since[event.Address] = time.Now()
		delete(h.fails, event.Address)
		log.Info("vip taken", "epoch", event.Epoch)
	case Dropped:
		delete(h.since, event.Address)
		log.Info("vip dropped", "reason", event.Reason, "late", max(event.At-event.Until, 0))
	case Waiting:
		log.Info("vip to be taken after the former holder's time", "wait", event.Until-event.At, "reason", event.Reason)
	case Acknowledged:
		log.Info("vip released by its former holder", "reason", event.Reason)
	case Failed:
		// The first time, and then every few seconds.
		if h.fails[event.Address]%50 == 0 {
			log.Warn("vip cannot be taken; trying again while the right lasts", "error", event.Reason)
		}
		h.fails[event.Address]++
	}
}

// publish makes what the machine knows visible to Held.
func (h *Holder) publish() {
	var held []Held
	for _, address := range h.machine.addresses() {
		p := h.machine.places[address]
		since, taken := h.since[address] // not yet if the take is still to be made
		if !p.taken || !taken {
			continue
		}
		held = append(held, Held{
			Address: address, Epoch: p.record.Epoch, Revision: p.record.Revision, Since: since, Until: p.until,
		})
	}
	h.held.Store(&held)
}
