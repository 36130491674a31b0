package election

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// machine is the hold protocol of one node as a pure state machine: what happens goes in with the time at
// which it happened, what is to be done comes out of drain. It starts no goroutine and reads no clock. The
// package comment holds the argument for it; the rules (R1…) in the comments here are the ones named there.
type machine struct {
	self string
	hold time.Duration // H: how long one read gives the right to hold
	wait time.Duration // H and a margin for clock rates: how long a new holder waits
	pace time.Duration // between two attempts to take

	sequence uint64        // of the read that was started last
	reading  uint64        // the read whose result is awaited; 0: none
	sent     time.Duration // t0 of that read

	places  map[netip.Addr]*place
	order   []netip.Addr // the keys of places, sorted
	early   map[netip.Addr]earlyAcknowledgement
	actions []action
	stopped bool
	// broken makes the mistakes of which the tests must show that they are mistakes.
	broken mistake
}

// place is what the node knows about one address.
type place struct {
	record Record // as last read; Revision 0: none

	// While the record names this node:
	first   Record        // the first of the unbroken run of records that name this node
	former  string        // whom the record before first named; empty if that was not seen
	since   time.Duration // t1: when the read that showed first had returned
	cleared bool          // no other node holds by virtue of a record older than first, or ever will
	until   time.Duration // the end of the right that the last read gave
	retry   time.Duration // not to try to take before

	taken bool
	owed  *debt
}

// debt is an acknowledgement that this node will be able to give once its own wait is over.
type debt struct {
	at     time.Duration // when it can be given
	first  Record        // an acknowledgement for this record settles the matter earlier
	former string
	to     string
	word   Acknowledgement
}

// earlyAcknowledgement came before the read that shows the record that it is about.
type earlyAcknowledgement struct {
	Acknowledgement
	sequence uint64 // of the newest read when it came
}

// mostEarly bounds the acknowledgements kept for addresses that have not been read yet.
const mostEarly = 4096

type deed uint8

const (
	doTake deed = iota + 1
	doDrop
	doAcknowledge
	doForget // give up an acknowledgement under way for the address: a newer record makes it moot
	doTell
)

// action is something for the shell to do, in the order given.
type action struct {
	do    deed
	event Event // what to tell about it; take reports by took instead
	word  Acknowledgement
}

func newMachine(self string, interval, hold time.Duration) *machine {
	return &machine{
		self: self, hold: hold, wait: waitFor(hold), pace: interval,
		places: map[netip.Addr]*place{}, early: map[netip.Addr]earlyAcknowledgement{},
	}
}

// waitFor is H plus the margin for clock rates.
func waitFor(hold time.Duration) time.Duration { return hold + hold/rateMargin }

// rateMargin: 1/20 is 5 %, enough for two clocks each off by 2.4 %. A crystal is off by 0.01 %, and the clock
// that is used is not slewed; see A2 in the package comment.
const rateMargin = 20

// startRead notes t0. It must be called before the read is sent (R1), and gives the read its number.
func (m *machine) startRead(now time.Duration) uint64 {
	m.sequence++
	m.reading, m.sent = m.sequence, now
	return m.sequence
}

// abandonRead makes sure that the result of a read which failed, or took too long, is never used: results
// must come in the order in which the reads were made (R2).
func (m *machine) abandonRead() {
	if m.broken != lateResults {
		m.reading = 0
	}
}

// finishRead takes in what a read returned. The time is from after its return.
func (m *machine) finishRead(id uint64, now time.Duration, records map[netip.Addr]Record) {
	if id != m.reading && m.broken != lateResults {
		return
	}
	m.reading = 0
	t0 := m.sent
	if m.broken == lateStart {
		t0 = now
	}
	for _, address := range m.addresses() { // what ran out while the read was on its way
		m.expire(address, m.places[address], now)
	}
	for address := range records {
		if m.places[address] == nil {
			m.places[address] = &place{}
			m.order = nil
		}
	}
	for _, address := range m.addresses() {
		m.observe(address, records[address], t0, now)
	}
	for address, word := range m.early {
		if word.sequence < id { // this read was sent after it came, so the record has been replaced
			delete(m.early, address)
		}
	}
	m.tick(now)
}

// observe takes in the record of one address; a zero one means that there is none.
func (m *machine) observe(address netip.Addr, record Record, t0, now time.Duration) {
	p := m.places[address]
	if !p.record.same(record) {
		m.change(address, p, record, now)
	}
	if m.names(record) {
		p.until = t0 + m.hold // R1
		if p.taken {
			m.tell(Renewed, address, p, now, p.until, "")
		}
	} else if record.Revision == 0 && p.owed == nil {
		delete(m.places, address)
		m.order = nil
	}
}

// change moves a place from the record last seen to another.
func (m *machine) change(address netip.Addr, p *place, record Record, now time.Duration) {
	earlier := p.record
	next, was := m.names(record), m.names(earlier)
	direct := record.follows(earlier)
	p.record, p.owed = record, nil
	if was || next {
		m.actions = append(m.actions, action{do: doForget, event: Event{Address: address}})
	}
	switch {
	case next && was && (direct || m.broken == trustedRewrite):
		// R6: nobody came between, so nothing changes but the revision.
		return
	case next:
		reason := "first seen"
		p.former = ""
		if was {
			reason = "the record was replaced unseen"
			m.drop(address, p, earlier, now, reason)
		} else if direct {
			p.former = earlier.Holder
			reason = "after " + earlier.Holder
		}
		p.first, p.since, p.retry, p.until = record, now, now, 0
		if m.broken == earlySight {
			p.since = m.sent
		}
		p.cleared = m.broken == noWait
		m.tell(Waiting, address, p, now, p.since+m.wait, reason)
		if word, ok := m.early[address]; ok {
			m.settle(address, p, word.Acknowledgement, now)
		}
	case was:
		reason := "the record is gone"
		if record.Revision != 0 {
			reason = "the record names " + quoteNobody(record.Holder)
		}
		m.drop(address, p, earlier, now, reason)
		m.owe(address, p, earlier, record, direct, now)
	}
}

// owe notes the acknowledgement for the next holder (R5), to be given at once if our own wait was over, and
// otherwise when it would have been.
func (m *machine) owe(address netip.Addr, p *place, earlier, record Record, direct bool, now time.Duration) {
	if record.Holder == "" || !direct && m.broken != foreignWord {
		return
	}
	at := p.since + m.wait
	if p.cleared || m.broken == hastyWord {
		at = now
	}
	p.owed = &debt{at: at, first: p.first, former: p.former, to: record.Holder, word: Acknowledgement{
		Address: address, From: m.self,
		Created: earlier.Created, Version: earlier.Version, Held: earlier.Revision, Next: record.Revision,
	}}
}

// acknowledge takes in an acknowledgement and tells whether the records should be read now, because it is
// about one that has not been seen.
func (m *machine) acknowledge(word Acknowledgement, now time.Duration) bool {
	if word.From == m.self {
		return false
	}
	if p := m.places[word.Address]; p != nil {
		if m.settle(word.Address, p, word, now) {
			m.act(word.Address, p, now)
			return false
		}
		if word.Next <= p.record.Revision {
			return false // an old story
		}
	}
	if _, known := m.early[word.Address]; known || len(m.early) < mostEarly {
		m.early[word.Address] = earlyAcknowledgement{word, m.sequence}
	}
	return true
}

// settle ends a wait if the word is about it (R4), be it the wait for holding or for acknowledging.
func (m *machine) settle(address netip.Addr, p *place, word Acknowledgement, now time.Duration) bool {
	clears := func(first Record, former string) bool {
		if m.broken == foreignWord {
			return word.Next == first.Revision
		}
		return word.clears(first) && (former == "" || former == word.From)
	}
	switch {
	case p.owed != nil && clears(p.owed.first, p.owed.former):
		p.owed.at = min(p.owed.at, now)
	case m.names(p.record) && !p.cleared && clears(p.first, p.former):
		p.cleared = true
		m.tell(Acknowledged, address, p, now, 0, "by "+word.From)
	default:
		return false
	}
	return true
}

// tick does what has become due.
func (m *machine) tick(now time.Duration) {
	for _, address := range m.addresses() {
		m.act(address, m.places[address], now)
	}
}

// expire drops an address to which the right has run out (R3).
func (m *machine) expire(address netip.Addr, p *place, now time.Duration) {
	if p.taken && now >= p.until && m.broken != endless {
		m.drop(address, p, p.record, now, "no fresh read in time")
	}
}

// act does what has become due for one address.
func (m *machine) act(address netip.Addr, p *place, now time.Duration) {
	m.expire(address, p, now)
	if m.names(p.record) {
		if !p.cleared && now >= p.since+m.wait { // R4
			p.cleared = true
		}
		if p.cleared && !p.taken && now >= p.retry && now < p.until && !m.stopped {
			p.taken = true
			m.actions = append(m.actions, action{do: doTake, event: m.event(Taken, address, p, now, p.until, "")})
		}
	}
	if p.owed != nil && now >= p.owed.at && !m.stopped {
		released := m.event(Released, address, p, now, 0, "")
		released.Holder = p.owed.to
		m.actions = append(m.actions, action{do: doAcknowledge, event: released, word: p.owed.word})
		p.owed = nil
	}
}

// took reports how a take went: at is from before it began.
func (m *machine) took(address netip.Addr, at time.Duration, err error) {
	p := m.places[address]
	if p == nil || !p.taken {
		return
	}
	if err == nil {
		m.tell(Taken, address, p, at, p.until, "")
		return
	}
	p.taken = false
	p.retry = at + m.pace
	m.tell(Failed, address, p, at, p.until, err.Error())
}

// drop stops holding, if we hold; the record is the one by virtue of which we do.
func (m *machine) drop(address netip.Addr, p *place, record Record, now time.Duration, reason string) {
	if !p.taken {
		return
	}
	p.taken = false
	dropped := m.event(Dropped, address, p, now, p.until, reason)
	dropped.Epoch, dropped.Revision, dropped.Holder = record.Epoch, record.Revision, ""
	if p.record.Holder != m.self {
		dropped.Holder = p.record.Holder
	}
	m.actions = append(m.actions, action{do: doDrop, event: dropped})
}

// stop drops everything for good.
func (m *machine) stop(now time.Duration) {
	m.stopped = true
	for _, address := range m.addresses() {
		p := m.places[address]
		m.drop(address, p, p.record, now, "closing")
	}
}

// next is when tick must be called again; false means that only an input can change anything. What was due
// at now must have been done.
func (m *machine) next(now time.Duration) (time.Duration, bool) {
	var soonest time.Duration
	found := false
	consider := func(at time.Duration) {
		if at > now && (!found || at < soonest) {
			soonest, found = at, true
		}
	}
	for _, p := range m.places {
		switch {
		case p.taken:
			consider(p.until)
		case m.names(p.record) && !p.cleared:
			consider(p.since + m.wait)
		case m.names(p.record) && p.retry < p.until:
			consider(p.retry)
		}
		if p.owed != nil {
			consider(p.owed.at)
		}
	}
	return soonest, found
}

// busy tells whether reads must go on at the pace of renewals.
func (m *machine) busy() bool {
	for _, p := range m.places {
		if m.names(p.record) || p.owed != nil {
			return true
		}
	}
	return len(m.early) > 0
}

// drain returns what is to be done, in order, and forgets it.
func (m *machine) drain() []action {
	actions := m.actions
	m.actions = nil
	return actions
}

func (m *machine) names(record Record) bool {
	return record.Revision != 0 && record.Holder == m.self
}

// addresses returns the known addresses in their order.
func (m *machine) addresses() []netip.Addr {
	if len(m.order) != len(m.places) {
		m.order = slices.SortedFunc(maps.Keys(m.places), netip.Addr.Compare)
	}
	return m.order
}

func (m *machine) event(kind Kind, address netip.Addr, p *place, at, until time.Duration, reason string) Event {
	event := Event{Kind: kind, Address: address, Epoch: p.record.Epoch, Revision: p.record.Revision, At: at, Until: until, Reason: reason}
	if p.record.Holder != m.self {
		event.Holder = p.record.Holder
	}
	return event
}

func (m *machine) tell(kind Kind, address netip.Addr, p *place, at, until time.Duration, reason string) {
	m.actions = append(m.actions, action{do: doTell, event: m.event(kind, address, p, at, until, reason)})
}

// quoteNobody names a holder in a sentence.
func quoteNobody(holder string) string {
	if holder == "" {
		return "nobody"
	}
	return holder
}

// mistake is one deliberate error in the protocol.
type mistake uint8

const (
	lateStart      mistake = iota + 1 // t0 from after the read
	noWait                            // a new holder takes at once
	hastyWord                         // acknowledging while still waiting oneself
	foreignWord                       // acknowledging, and trusting, across a record that was not seen
	trustedRewrite                    // going on to hold when the record was replaced unseen
	earlySight                        // t1 from before the read
	lateResults                       // using the result of a read that was given up
	endless                           // holding until a read says otherwise
)
