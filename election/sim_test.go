package election

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"
)

// A sim is a small world for machines: a linearizable store, a network, clocks that run at different
// rates, and somebody who does his worst. Time is true time, which no node can see. Everything follows from the seed.
type sim struct {
	rng    *rand.Rand
	now    time.Duration
	queue  simQueue
	order  uint64
	calm   bool // the faults are over
	nodes  []*simNode
	vips   []netip.Addr
	broken mistake
	// unguarded: no kernel ends an answer when the right ends; the process itself must, and it is never
	// paused, though its timers are a little late.
	unguarded bool
	slow      bool // nearly everything on its way takes long, though not too long
	tracing   bool

	revision int64
	records  map[netip.Addr]Record

	timeline Timeline
	trace    []string
	// What happened, to show that the schedules are not all dull.
	taken, acknowledged, waited, expired int
}

const (
	simInterval = DefaultInterval
	simHold     = DefaultHold
	simFaults   = 6 * time.Second
)

// simLive is how long after the last fault the named node may take to hold, by the slowest clock.
const simLive = (simHold + simHold/rateMargin + 3*simInterval) * 100 / 98

type simNode struct {
	*sim
	name        string
	offset      time.Duration
	rate        float64
	incarnation int
	alive       bool
	pausedUntil time.Duration
	cutUntil    time.Duration // its reads do not come back

	m        *machine
	again    bool
	lastRead time.Duration // local
	timer    uint64        // the newest timer; older ones are void
	byWord   map[netip.Addr]bool
}

// simulate runs one schedule and returns what went wrong: unsafe, or else too slow.
func simulate(seed uint64, broken mistake) (*sim, error) {
	return simulateTracing(seed, broken, false)
}

func simulateTracing(seed uint64, broken mistake, tracing bool) (*sim, error) {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 7)), broken: broken, tracing: tracing,
		records: map[netip.Addr]Record{},
		vips:    []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("2001:db8::100")},
	}
	if s.chance(0.7) {
		s.vips = s.vips[:1]
	}
	s.unguarded = s.chance(0.3)
	s.slow = s.chance(0.4)
	for i := range 2 + s.rng.IntN(3) {
		n := &simNode{sim: s, name: fmt.Sprintf("n%d", i+1), offset: s.upTo(time.Hour), rate: 0.98 + 0.04*s.rng.Float64()}
		if s.chance(0.5) {
			n.rate = []float64{0.98, 1.02}[s.rng.IntN(2)]
		}
		s.nodes = append(s.nodes, n)
		n.start()
	}
	s.write()
	s.misbehave()
	s.runUntil(simFaults)
	named := s.settle()
	s.runUntil(simFaults + simLive)
	slow := s.holding(named)
	s.runUntil(simFaults + simLive + 2*time.Second)
	if err := s.timeline.Check(); err != nil {
		return s, fmt.Errorf("unsafe: %w", err)
	}
	return s, errors.Join(slow, s.holding(named), s.steady())
}

var errTooSlow = errors.New("not held in time")

// holding checks that the named nodes hold.
func (s *sim) holding(named map[netip.Addr]*simNode) error {
	for _, vip := range s.vips {
		n := named[vip]
		if p := n.m.places[vip]; p == nil || !p.taken || n.local() >= p.until {
			return fmt.Errorf("%w: vip %s at %v by %s", errTooSlow, vip, s.now, n.name)
		}
	}
	return nil
}

// steady checks that nobody let go in the calm once it held.
func (s *sim) steady() error {
	for _, vip := range s.vips {
		after := 0
		for _, claim := range s.timeline.Claims(vip) {
			if claim.From > simFaults+simLive {
				after++
			}
		}
		if after > 0 {
			return fmt.Errorf("vip %s was taken again %d times without a cause", vip, after)
		}
	}
	return nil
}

func (s *sim) chance(p float64) bool { return s.rng.Float64() < p }

func (s *sim) upTo(d time.Duration) time.Duration { return time.Duration(s.rng.Int64N(int64(d)) + 1) }

// delay is the time that something takes on its way.
func (s *sim) delay() time.Duration {
	if s.calm {
		return s.upTo(5 * time.Millisecond)
	}
	switch x := s.rng.Float64(); {
	case s.slow && x < 0.7:
		return s.upTo(simHold / 4)
	case x < 0.7:
		return s.upTo(10 * time.Millisecond)
	case x < 0.9:
		return s.upTo(100 * time.Millisecond)
	default:
		return s.upTo(700 * time.Millisecond)
	}
}

func (s *sim) after(d time.Duration, do func()) {
	s.order++
	s.queue.push(simEvent{s.now + d, s.order, do})
}

func (s *sim) runUntil(end time.Duration) {
	for len(s.queue) > 0 && s.queue[0].at <= end {
		event := s.queue.pop()
		s.now = event.at
		event.do()
	}
	s.now = end
}

func (s *sim) tracef(format string, args ...any) {
	if !s.tracing {
		return
	}
	s.trace = append(s.trace, fmt.Sprintf("%12v ", s.now)+fmt.Sprintf(format, args...))
}

// story tells what happened in a schedule.
func story(seed uint64) string {
	s, _ := simulateTracing(seed, 0, true)
	return strings.Join(s.trace, "\n")
}

// put writes a record as etcd would; an empty one deletes it.
func (s *sim) put(vip netip.Addr, holder string, epoch int64, remove bool) {
	s.revision++
	before, exists := s.records[vip]
	switch {
	case remove:
		delete(s.records, vip)
	case exists:
		s.records[vip] = Record{Holder: holder, Epoch: epoch, Revision: s.revision, Created: before.Created, Version: before.Version + 1}
	default:
		s.records[vip] = Record{Holder: holder, Epoch: epoch, Revision: s.revision, Created: s.revision, Version: 1}
	}
	s.tracef("WRITE %v %+v", vip, s.records[vip])
	for _, n := range s.nodes {
		if n.name == before.Holder && !s.calm && s.chance(0.4) { // often that is why the record changes
			n.cutUntil = max(n.cutUntil, s.now+s.upTo(simHold))
		}
		if s.calm || s.chance(0.8) { // the watch
			n.deliver(s.delay(), func() { n.again = true })
		}
	}
}

// write makes one write after the other, as nobody in his right mind would.
func (s *sim) write() {
	if s.calm {
		return
	}
	vip := s.vips[s.rng.IntN(len(s.vips))]
	holder := s.nodes[s.rng.IntN(len(s.nodes))].name
	epoch := s.records[vip].Epoch + 1
	switch x := s.rng.Float64(); {
	case x < 0.08:
		s.put(vip, "", 0, true)
	case x < 0.12:
		s.put(vip, []string{"", "ghost"}[s.rng.IntN(2)], epoch, false)
	case x < 0.25:
		s.put(vip, holder, int64(s.rng.Uint64()), false) // by hand
	case x < 0.35:
		s.put(vip, s.records[vip].Holder, epoch, false) // the same again
	default:
		s.put(vip, holder, epoch, false)
	}
	gap := s.upTo(1500 * time.Millisecond)
	switch x := s.rng.Float64(); {
	case x < 0.3:
		gap = s.upTo(60 * time.Millisecond)
	case x < 0.7:
		gap = s.upTo(700 * time.Millisecond)
	}
	s.after(gap, s.write)
}

// misbehave pauses, cuts off, kills and restarts nodes.
func (s *sim) misbehave() {
	if s.calm {
		return
	}
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	length := s.upTo(900 * time.Millisecond)
	switch x := s.rng.Float64(); {
	case x < 0.4 && !s.unguarded:
		s.tracef("PAUSE %s for %v", n.name, length)
		n.pausedUntil = max(n.pausedUntil, s.now+length)
	case x < 0.7:
		s.tracef("CUT %s for %v", n.name, length)
		n.cutUntil = max(n.cutUntil, s.now+length)
	case x < 0.9:
		if n.alive {
			s.tracef("KILL %s", n.name)
			if s.unguarded {
				n.fallSilent()
			}
			n.alive = false // a guarded one goes on to answer until the end of the right
			dead := n.incarnation
			s.after(s.upTo(300*time.Millisecond), func() {
				if n.incarnation == dead {
					n.start()
				}
			})
		}
	default: // a machine that is switched off and on again
		if n.alive {
			n.fallSilent()
			n.alive = false
			n.start()
		}
	}
	s.after(s.upTo(700*time.Millisecond), s.misbehave)
}

// settle ends the faults with one last write for each address, and returns whom it names.
func (s *sim) settle() map[netip.Addr]*simNode {
	s.calm = true
	s.tracef("CALM")
	named := map[netip.Addr]*simNode{}
	for _, n := range s.nodes {
		n.pausedUntil, n.cutUntil = s.now, s.now
		if !n.alive {
			n.start()
		}
	}
	for _, vip := range s.vips {
		named[vip] = s.nodes[s.rng.IntN(len(s.nodes))]
		s.put(vip, named[vip].name, 1, false)
	}
	return named
}

// start begins a new process of the node.
func (n *simNode) start() {
	s := n.sim
	s.tracef("START %s", n.name)
	n.fallSilent() // A3: what the process before left behind is removed
	n.incarnation++
	n.alive = true
	n.m = newMachine(n.name, simInterval, simHold)
	n.m.broken = s.broken
	n.again, n.lastRead = true, n.local()
	n.byWord = map[netip.Addr]bool{}
	n.deliver(s.delay(), func() {})
}

// fallSilent ends what the node answers for, by other means than its machine.
func (n *simNode) fallSilent() {
	for _, vip := range n.vips {
		if n.unguarded && n.alive && n.m.places[vip] != nil && n.m.places[vip].taken {
			n.timeline.Add(n.name, Event{Kind: Renewed, Address: vip, Until: n.now})
		}
		n.timeline.Add(n.name, Event{Kind: Dropped, Address: vip, At: n.now})
	}
}

// local is what the node's clock shows.
func (n *simNode) local() time.Duration {
	return n.offset + time.Duration(n.rate*float64(n.now))
}

// global is the true time of a moment of the node's clock.
func (n *simNode) global(local time.Duration) time.Duration {
	return time.Duration(float64(local-n.offset) / n.rate)
}

// deliver gives this process of the node an input, once it is not paused, and lets it act.
func (n *simNode) deliver(delay time.Duration, input func()) {
	n.schedule(delay, func() bool { input(); return true })
}

// schedule is deliver with an input that may turn out to be void.
func (n *simNode) schedule(delay time.Duration, input func() bool) {
	incarnation := n.incarnation
	var arrive func()
	arrive = func() {
		switch {
		case !n.alive || n.incarnation != incarnation:
		case n.now < n.pausedUntil:
			n.after(n.pausedUntil-n.now+n.upTo(time.Millisecond), arrive)
		case input():
			n.turn()
		}
	}
	n.after(delay, arrive)
}

// turn is one turn of the shell's loop; compare Holder.run.
func (n *simNode) turn() {
	n.m.tick(n.local())
	n.perform()
	n.keepReading()
	n.timer++
	timer := n.timer
	wake := n.lastRead + time.Second
	if n.m.busy() {
		wake = n.lastRead + simInterval
	}
	if n.m.reading != 0 {
		wake = n.lastRead + simHold/2
	}
	if due, ok := n.m.next(n.local()); ok {
		wake = min(wake, due)
	}
	late := n.upTo(time.Millisecond)
	n.schedule(max(n.global(wake)-n.now, 0)+late, func() bool { return timer == n.timer })
}

func (n *simNode) keepReading() {
	now := n.local()
	if n.m.reading != 0 {
		if now < n.lastRead+simHold/2 {
			return
		}
		n.m.abandonRead()
		n.m.reading = 0 // also where abandonRead is broken
	}
	due := n.lastRead + time.Second
	if n.m.busy() {
		due = n.lastRead + simInterval
	}
	if !n.again && now < due {
		return
	}
	n.again = false
	n.lastRead = now
	id := n.m.startRead(now)
	if n.now < n.cutUntil || !n.calm && n.chance(0.05) {
		return // no answer will come
	}
	incarnation := n.incarnation
	n.after(n.delay(), func() { // the read takes effect
		records := map[netip.Addr]Record{}
		for vip, record := range n.records {
			records[vip] = record
		}
		if n.incarnation != incarnation {
			return
		}
		n.deliver(n.delay(), func() { n.m.finishRead(id, n.local(), records) })
	})
}

func (n *simNode) perform() {
	s := n.sim
	for actions := n.m.drain(); len(actions) > 0; actions = n.m.drain() {
		for _, action := range actions {
			switch action.do {
			case doTake:
				var err error
				if !s.calm && s.chance(0.1) {
					err = errors.New("the port is taken")
				}
				n.m.took(action.event.Address, n.local(), err)
			case doDrop:
				action.event.At = n.local()
				n.record(action.event)
			case doAcknowledge:
				n.record(action.event)
				n.send(action.event.Holder, action.word)
			case doTell:
				n.record(action.event)
			}
		}
	}
}

// send puts an acknowledgement on the network: lost, doubled, late.
func (n *simNode) send(to string, word Acknowledgement) {
	for _, peer := range n.nodes {
		copies := 1
		if !n.calm {
			copies = n.rng.IntN(4)
		}
		for range copies {
			if peer.name == to {
				peer.deliver(n.delay(), func() {
					if peer.m.acknowledge(word, peer.local()) {
						peer.again = true
					}
				})
			}
		}
	}
}

// record keeps what happened, in true time.
func (n *simNode) record(event Event) {
	s := n.sim
	event.At = n.global(event.At)
	if event.Until != 0 {
		event.Until = n.global(event.Until)
	}
	if event.Kind != Renewed {
		s.tracef("%s %s vip %v revision %d at %v until %v: %s", n.name, event.Kind, event.Address, event.Revision, event.At, event.Until, event.Reason)
	}
	switch event.Kind {
	case Waiting:
		n.byWord[event.Address] = false
	case Acknowledged:
		s.acknowledged++
		n.byWord[event.Address] = true
	case Taken:
		s.taken++
		if !n.byWord[event.Address] {
			s.waited++
		}
	case Dropped:
		if event.At >= event.Until {
			s.expired++
		}
	}
	if s.unguarded && event.Kind == Dropped { // it answered up to now
		s.timeline.Add(n.name, Event{Kind: Renewed, Address: event.Address, Until: event.At})
	}
	s.timeline.Add(n.name, event)
}
