package election

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// What callers of a Placer decide on.
var (
	// ErrConflict is what Write and Remove return when the record's revision is not the one given.
	ErrConflict = errors.New("the record has been changed in the meantime")
	// ErrUnknownAddress: the document has no such VIP.
	ErrUnknownAddress = errors.New("no such vip in the document")
	// ErrUnknownNode: no living node has this name.
	ErrUnknownNode = errors.New("no such node")
	// ErrNotReady: the node is not ready, is draining, or does not answer.
	ErrNotReady = errors.New("the node cannot hold a vip now")
	// ErrNoCandidate: no other node is ready.
	ErrNoCandidate = errors.New("no other node can hold a vip now")
)

// PlacerConfig is what a Placer needs of the world.
type PlacerConfig struct {
	// Leading tells whether this node is to place: whether it is etcd's raft leader. Two nodes that think so at
	// once do no harm.
	Leading func() bool
	// VIPs are the document's addresses, in its order, and where it wants them. nil, other than an empty
	// list, means that they are not known yet: nothing is placed or removed.
	VIPs func() []Wish
	// Nodes are the living nodes. An empty list means that they are not known yet: nothing is placed.
	Nodes func() []Candidate
	// Records reads all records, linearizably.
	Records func(ctx context.Context) (map[netip.Addr]Record, error)
	// Write puts a record if the present one has the given revision (0: if there is none); otherwise it
	// returns ErrConflict.
	Write func(ctx context.Context, address netip.Addr, record Record, ifRevision int64) error
	// Remove deletes a record under the same condition. nil: records are never removed.
	Remove func(ctx context.Context, address netip.Addr, ifRevision int64) error
	// Prepare is called before an address is taken from a node that is well, with what it can do ahead: it changes nothing that
	// matters if the move does not come about. It must return when ctx ends; nil: there is nothing to prepare.
	Prepare func(ctx context.Context, address netip.Addr, from, to string)
	// Suspected tells whether a node seems to have failed; nil: none ever does.
	Suspected func(name string) bool
	// Why says why a node is suspected, and for how long nothing had been heard of it. It is for
	// records and messages only; nil leaves that out.
	Why func(name string) (why string, silence time.Duration)
	// Event is told what was written. It must not block; nil is allowed.
	Event func(Event)
	// Interval is the time between two looks; 0 means 200 ms.
	Interval time.Duration
	// Grace is for how long a Placer that begins to lead spares the holders that it finds; 0 means 500 ms.
	Grace time.Duration
	// Clock as in HolderConfig.
	Clock func() time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Placer writes the records: which node is to hold which address. It runs on every node and acts while
// Leading, at every tick and Wake, by what it finds then; it remembers no plan, only since when the nodes have been
// well, for addresses that move back by themselves.
//
// A node that has just begun to lead knows less than its predecessor did: its list of nodes may
// lag, and its Detector has only begun to connect. It must not take a VIP off a healthy holder for that:
//
//   - Without a list of nodes nothing is placed, without a list of VIPs nothing is placed or removed.
//   - During Grace, counted from when both lists were there for the first time since it began to lead, a holder
//     that a record names loses its VIP only if the Detector suspects it, which takes evidence:
//     a connection that was lost and could not be made again, silence on it, or 500 ms without
//     ever reaching the node. That it is missing from the list, or not ready, draining or unfit, does not count yet. No record is removed.
//   - A VIP with no record, or whose record names nobody, is placed at once.
type Placer struct {
	cfg PlacerConfig

	// One goroutine, run, owns these.
	term     bool          // leading at the last look
	informed bool          // both lists were there in this term
	since    time.Duration // when they first were
	failed   bool          // the last look failed
	memory   memory
	// What is being prepared, by address.
	preparing map[netip.Addr]*preparation

	workers sync.WaitGroup // prepare moves
	wake    chan struct{}

	mu     sync.Mutex // guards what follows
	opened bool
	closed bool
	stop   context.CancelFunc
	done   chan struct{}
}

// NewPlacer makes a Placer, which does nothing by itself before Open.
func NewPlacer(cfg PlacerConfig) *Placer {
	cfg.Interval = cmp.Or(cfg.Interval, 200*time.Millisecond)
	cfg.Grace = cmp.Or(cfg.Grace, 500*time.Millisecond)
	if cfg.Clock == nil {
		cfg.Clock = systemClock()
	}
	if cfg.Suspected == nil {
		cfg.Suspected = func(string) bool { return false }
	}
	if cfg.Why == nil {
		cfg.Why = func(string) (string, time.Duration) { return "", 0 }
	}
	if cfg.Event == nil {
		cfg.Event = func(Event) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Placer{cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}), preparing: map[netip.Addr]*preparation{}}
}

// Validate finds what is missing.
func (c PlacerConfig) Validate() error {
	if c.Leading == nil || c.VIPs == nil || c.Nodes == nil || c.Records == nil || c.Write == nil {
		return errors.New("placer: Leading, VIPs, Nodes, Records and Write are needed")
	}
	if c.Interval < 0 || c.Grace < 0 {
		return errors.New("placer: interval and grace must not be negative")
	}
	return nil
}

// Open starts to place.
func (p *Placer) Open(context.Context) error {
	if err := p.cfg.Validate(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened || p.closed {
		return errors.New("open placer: it was opened or closed before")
	}
	p.opened = true
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go p.run(ctx)
	return nil
}

// Close ends placing and waits for the write under way, for as long as ctx lasts.
func (p *Placer) Close(ctx context.Context) error {
	p.mu.Lock()
	p.closed = true
	opened := p.opened
	p.mu.Unlock()
	if !opened {
		return nil
	}
	p.stop()
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close placer: a read or write has not returned: %w", ctx.Err())
	}
}

// Wake makes the Placer look now, because nodes, records, suspicions or the document changed.
func (p *Placer) Wake() {
	select {
	case p.wake <- struct{}{}:
	default: // a wake-up is waiting already
	}
}

func (p *Placer) run(ctx context.Context) {
	defer close(p.done)
	defer p.workers.Wait()
	ticker := time.NewTicker(p.cfg.Interval)
	defer ticker.Stop()
	for {
		err := p.reconcile(ctx)
		if failed := err != nil && ctx.Err() == nil; failed != p.failed {
			p.failed = failed
			if failed {
				p.cfg.Log.Warn("vips cannot be placed; trying again", "error", err)
			} else {
				p.cfg.Log.Info("vips can be placed again")
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		case <-ticker.C:
		}
	}
}

// lookTimeout bounds one look, so that a store without quorum does not keep Close waiting or a
// decision from being made on fresh facts.
const lookTimeout = 2 * time.Second

// reconcile looks once and writes what should be otherwise.
func (p *Placer) reconcile(ctx context.Context) error {
	if !p.cfg.Leading() {
		p.term, p.informed, p.memory = false, false, memory{}
		p.forget(func(netip.Addr) bool { return false })
		return nil
	}
	if !p.term {
		p.term, p.informed = true, false
		p.cfg.Log.Info("placing vips from now on")
	}
	view, err := p.view(ctx)
	if err != nil || view.VIPs == nil || len(view.Nodes) == 0 {
		return err
	}
	now := p.cfg.Clock()
	if !p.informed {
		p.informed, p.since = true, now
	}
	settled := now >= p.since+p.cfg.Grace
	p.memory.look(view, now)
	view.Steady = p.memory.steady(now)
	changes := p.decide(view, settled)
	p.forget(func(a netip.Addr) bool {
		return slices.ContainsFunc(changes, func(c change) bool { return c.address == a })
	})
	writing, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var failures []error
	for _, change := range changes {
		if !p.prepared(ctx, view.Nodes, change) {
			continue
		}
		if err := p.write(writing, change); err != nil && !errors.Is(err, ErrConflict) {
			failures = append(failures, err)
			continue
		}
		p.forget(func(a netip.Addr) bool { return a != change.address })
	}
	if settled && p.cfg.Remove != nil {
		failures = append(failures, p.removeOthers(writing, view))
	}
	return errors.Join(failures...)
}

// view is what there is to decide by now. The records are read last, and only if the rest is known.
func (p *Placer) view(ctx context.Context) (View, error) {
	view := View{VIPs: p.cfg.VIPs(), Nodes: p.cfg.Nodes(), Suspected: p.cfg.Suspected}
	if view.VIPs == nil || len(view.Nodes) == 0 {
		return view, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	var err error
	if view.Records, err = p.cfg.Records(ctx); err != nil {
		return view, fmt.Errorf("read vip records: %w", err)
	}
	return view, nil
}

// change is one record to be written.
type change struct {
	address netip.Addr
	before  Record
	holder  string
	reason  string
}

// decide lists the changes to be made, in the order of the addresses. When not settled it spares
// the holders that are not suspected.
func (p *Placer) decide(view View, settled bool) []change {
	var changes []change
	placed := Place(view)
	for _, vip := range view.VIPs {
		before, want := view.Records[vip.Address], placed[vip.Address]
		delete(placed, vip.Address) // an address listed twice is written once
		if want == "" || want == before.Holder {
			continue
		}
		if before.Holder != "" && !settled && !p.cfg.Suspected(before.Holder) {
			continue
		}
		changes = append(changes, change{vip.Address, before, want, p.whyNot(before.Holder, view.Nodes, vip)})
	}
	return changes
}

// whyNot says why an address leaves its holder.
func (p *Placer) whyNot(holder string, nodes []Candidate, vip Wish) string {
	if holder == "" {
		return "held by nobody"
	}
	why := p.obstacle(holder, nodes, vip.Address)
	switch {
	case why != "":
		return why
	case vip.Zone != "":
		return "preempt: back to zone " + vip.Zone
	default:
		return "preempt: to a node that holds less"
	}
}

// obstacle says why a node cannot hold an address; nothing if it can.
func (p *Placer) obstacle(name string, nodes []Candidate, vip netip.Addr) string {
	at := slices.IndexFunc(nodes, func(c Candidate) bool { return c.Name == name })
	if p.cfg.Suspected(name) {
		if why, _ := p.cfg.Why(name); why != "" {
			return name + " does not answer: " + oneLine(why)
		}
		return name + " does not answer"
	}
	if at < 0 {
		return name + " is not a living node"
	}
	why, unfit := nodes[at].Unfit[vip]
	switch {
	case nodes[at].Draining:
		return name + " is draining"
	case !nodes[at].Ready:
		return name + " is not ready"
	case unfit:
		return name + " cannot hold it: " + oneLine(why)
	}
	return ""
}

// oneLine keeps what a node or an error says to a part of one line.
func oneLine(text string) string {
	const longest = 200
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// write puts the record of a change.
func (p *Placer) write(ctx context.Context, c change) error {
	record := Record{
		Holder: c.holder, Epoch: 1,
		From: c.before.Holder, Reason: c.reason, At: time.Now().UTC().Truncate(time.Millisecond),
	}
	if c.before.Epoch > 0 && c.before.Epoch < math.MaxInt64 { // else somebody wrote a strange one by hand
		record.Epoch = c.before.Epoch + 1
	}
	if c.before.Holder != "" && p.cfg.Suspected(c.before.Holder) {
		_, silence := p.cfg.Why(c.before.Holder)
		record.Silence = silence.Milliseconds()
	}
	err := p.cfg.Write(ctx, c.address, record, c.before.Revision)
	if err != nil {
		return fmt.Errorf("write record of vip %s: %w", c.address, err)
	}
	p.cfg.Log.Info("vip placed", "vip", c.address, "holder", c.holder, "before", c.before.Holder, "epoch", record.Epoch, "reason", c.reason)
	p.cfg.Event(Event{Kind: Placed, Address: c.address, Holder: c.holder, Epoch: record.Epoch, Revision: c.before.Revision, At: p.cfg.Clock(), Reason: c.reason})
	return nil
}

// removeOthers deletes the records of addresses that the document does not have.
func (p *Placer) removeOthers(ctx context.Context, view View) error {
	var failures []error
	for address, record := range view.Records {
		if slices.ContainsFunc(view.VIPs, func(w Wish) bool { return w.Address == address }) {
			continue
		}
		if err := p.cfg.Remove(ctx, address, record.Revision); err != nil {
			if !errors.Is(err, ErrConflict) {
				failures = append(failures, fmt.Errorf("remove record of vip %s: %w", address, err))
			}
			continue
		}
		p.cfg.Log.Info("vip removed, since the document has it no more", "vip", address, "holder", record.Holder)
		p.cfg.Event(Event{Kind: Removed, Address: address, Holder: record.Holder, Epoch: record.Epoch, Revision: record.Revision, At: p.cfg.Clock()})
	}
	return errors.Join(failures...)
}
