package election

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

const ms = time.Millisecond

var testVIP = netip.MustParseAddr("127.0.0.100")

// step runs one read that takes a millisecond and shows the record, and returns what the machine wants done.
func step(m *machine, at time.Duration, record Record) []string {
	id := m.startRead(at)
	records := map[netip.Addr]Record{}
	if record.Revision != 0 {
		records[testVIP] = record
	}
	m.finishRead(id, at+ms, records)
	return deeds(m, at+ms)
}

// deeds carries out what is to be done and names it, but for renewals.
func deeds(m *machine, at time.Duration) []string {
	names := []string{}
	for actions := m.drain(); len(actions) > 0; actions = m.drain() {
		for _, action := range actions {
			switch action.do {
			case doTake:
				m.took(testVIP, at, nil)
			case doDrop, doAcknowledge, doTell:
				if action.event.Kind != Renewed {
					names = append(names, string(action.event.Kind))
				}
			case doForget:
			}
		}
	}
	return names
}

// hold brings a machine to hold by virtue of the record, by waiting, and returns the time.
func hold(t *testing.T, m *machine, from time.Duration, record Record) time.Duration {
	t.Helper()
	at := from
	for ; at < from+m.wait+2*ms; at += 10 * ms {
		step(m, at, record)
	}
	if !m.places[testVIP].taken {
		t.Fatalf("%s does not hold", m.self)
	}
	return at
}

func expect(t *testing.T, got []string, want ...Kind) {
	t.Helper()
	names := []string{}
	for _, kind := range want {
		names = append(names, string(kind))
	}
	if !slices.Equal(got, names) {
		t.Fatalf("the machine did %v, want %v", got, names)
	}
}

// rec is the nth record of a key created at revision 10, whose revisions are ten apart.
func rec(holder string, version int64) Record {
	return Record{Holder: holder, Revision: 10 * version, Created: 10, Version: version}
}

func word(from string, held, next Record) Acknowledgement {
	return Acknowledgement{Address: testVIP, From: from, Created: held.Created, Version: held.Version, Held: held.Revision, Next: next.Revision}
}

func TestMachineWaitsThenHoldsThenDrops(t *testing.T) {
	m := newMachine("b", 100*ms, 400*ms)
	expect(t, step(m, 0, rec("b", 1)), Waiting)
	for at := 100 * ms; at < 420*ms; at += 40 * ms {
		expect(t, step(m, at, rec("b", 1)))
	}
	m.tick(421*ms - 1)
	expect(t, deeds(m, 421*ms-1))
	m.tick(421 * ms) // t1 was 1 ms
	expect(t, deeds(m, 421*ms), Taken)
	until := m.places[testVIP].until
	if due, ok := m.next(421 * ms); !ok || due != until {
		t.Fatalf("due at %v, want %v", due, until)
	}
	m.tick(until - 1)
	expect(t, deeds(m, until-1))
	m.tick(until)
	expect(t, deeds(m, until), Dropped)
	expect(t, step(m, until+ms, rec("b", 1)), Taken) // a fresh read gives the right again, without another wait
}

func TestMachineSlowReadGivesNoRight(t *testing.T) {
	m := newMachine("b", 100*ms, 400*ms)
	at := hold(t, m, 0, rec("b", 1))
	id := m.startRead(at)
	m.finishRead(id, at+401*ms, map[netip.Addr]Record{testVIP: rec("b", 1)})
	expect(t, deeds(m, at+401*ms), Dropped)
}

func TestMachineHandsOver(t *testing.T) {
	a, b := newMachine("a", 100*ms, 400*ms), newMachine("b", 100*ms, 400*ms)
	at := hold(t, a, 0, rec("a", 1))
	step(b, at, rec("a", 1))
	expect(t, step(b, at+ms, rec("b", 2)), Waiting)

	id := a.startRead(at + ms)
	a.finishRead(id, at+2*ms, map[netip.Addr]Record{testVIP: rec("b", 2)})
	var order []deed
	var said Acknowledgement
	for _, action := range a.drain() {
		order = append(order, action.do)
		if action.do == doAcknowledge {
			said = action.word
		}
	}
	if !slices.Equal(order, []deed{doForget, doDrop, doAcknowledge}) {
		t.Fatalf("a did %v; it must drop before it acknowledges", order)
	}
	if said != word("a", rec("a", 1), rec("b", 2)) {
		t.Fatalf("a said %+v", said)
	}
	if b.acknowledge(said, at+3*ms) {
		t.Error("b wants to read for a word that it can use")
	}
	expect(t, deeds(b, at+3*ms), Acknowledged, Taken)
}

func TestMachineUsesWordThatCameBeforeTheRecord(t *testing.T) {
	b := newMachine("b", 100*ms, 400*ms)
	step(b, 0, rec("a", 1))
	if !b.acknowledge(word("a", rec("a", 1), rec("b", 2)), 10*ms) {
		t.Error("b does not want to read")
	}
	expect(t, step(b, 11*ms, rec("b", 2)), Waiting, Acknowledged, Taken)
	if len(b.early) != 0 {
		t.Error("the word is still kept")
	}
}

func TestMachineRefusesWords(t *testing.T) {
	other := word("a", rec("a", 1), rec("b", 2))
	other.Address = netip.MustParseAddr("127.0.0.101")
	recreated := word("a", rec("a", 1), rec("b", 2))
	recreated.Created = 5
	tests := map[string]Acknowledgement{
		"from before the predecessor": word("a", rec("a", 1), rec("b", 3)),
		"for another record":          word("c", rec("c", 2), rec("b", 4)),
		"of oneself":                  word("b", rec("c", 2), rec("b", 3)),
		"of another key":              other,
		"of an earlier life of it":    recreated,
		"from whom it did not name":   word("a", rec("c", 2), rec("b", 3)),
		"empty":                       {Address: testVIP},
		"for no record":               word("c", Record{}, Record{}),
	}
	for name, said := range tests {
		t.Run(name, func(t *testing.T) {
			b := newMachine("b", 100*ms, 400*ms)
			step(b, 0, rec("c", 2))
			expect(t, step(b, 10*ms, rec("b", 3)), Waiting)
			b.acknowledge(said, 20*ms)
			expect(t, deeds(b, 20*ms))
			expect(t, step(b, 30*ms, rec("b", 3)))
		})
	}
}

// Node a may still hold when c is named, so b, which waits for a itself, must not tell c to go on.
func TestMachineDoesNotAcknowledgeWhileWaiting(t *testing.T) {
	b := newMachine("b", 100*ms, 400*ms)
	step(b, 0, rec("a", 1))
	expect(t, step(b, 10*ms, rec("b", 2)), Waiting)
	expect(t, step(b, 20*ms, rec("c", 3)))
	b.tick(431*ms - 1)
	expect(t, deeds(b, 431*ms-1))
	b.tick(431 * ms) // when its own wait would have been over
	expect(t, deeds(b, 431*ms), Released)

	b = newMachine("b", 100*ms, 400*ms)
	step(b, 0, rec("a", 1))
	step(b, 10*ms, rec("b", 2))
	expect(t, step(b, 20*ms, rec("c", 3)))
	b.acknowledge(word("a", rec("a", 1), rec("b", 2)), 30*ms)
	expect(t, deeds(b, 30*ms), Released)
}

func TestMachineDoesNotAcknowledgeAcrossAGap(t *testing.T) {
	a := newMachine("a", 100*ms, 400*ms)
	at := hold(t, a, 0, rec("a", 1))
	expect(t, step(a, at, rec("c", 3)), Dropped) // who knows whom the second one named
}

func TestMachineNamedAgain(t *testing.T) {
	a := newMachine("a", 100*ms, 400*ms)
	at := hold(t, a, 0, rec("a", 1))
	expect(t, step(a, at, rec("a", 2))) // the very next write names a as well: nothing happens
	expect(t, step(a, at+ms, rec("a", 4)), Dropped, Waiting)
	at = hold(t, a, at+2*ms, rec("a", 4))
	again := rec("a", 1) // deleted and made again
	again.Created, again.Revision = 1000, 1000
	expect(t, step(a, at, again), Dropped, Waiting)
	at = hold(t, a, at+ms, again)
	expect(t, step(a, at, rec("a", 4)), Dropped, Waiting) // a store with another past
	at = hold(t, a, at+ms, rec("a", 4))
	expect(t, step(a, at, Record{}), Dropped)
	if a.busy() || len(a.places) != 0 {
		t.Error("a keeps an address without a record")
	}
}

func TestMachineWithoutNumbersWaits(t *testing.T) {
	b := newMachine("b", 100*ms, 400*ms)
	step(b, 0, Record{Holder: "a", Revision: 10})
	step(b, ms, Record{Holder: "b", Revision: 20})
	b.acknowledge(Acknowledgement{Address: testVIP, From: "a", Held: 10, Next: 20}, 5*ms)
	expect(t, deeds(b, 5*ms))
	hold(t, b, 2*ms, Record{Holder: "b", Revision: 20})
}

func TestMachineStops(t *testing.T) {
	b := newMachine("b", 100*ms, 400*ms)
	at := hold(t, b, 0, rec("b", 1))
	b.stop(at)
	expect(t, deeds(b, at), Dropped)
	expect(t, step(b, at+ms, rec("b", 1)))
}

func TestMachineBoundsEarlyWords(t *testing.T) {
	b := newMachine("b", 100*ms, 400*ms)
	address := netip.MustParseAddr("10.0.0.0")
	for range mostEarly + 100 {
		address = address.Next()
		b.acknowledge(Acknowledgement{Address: address, From: "a", Created: 1, Version: 1, Held: 1, Next: 2}, 0)
	}
	if len(b.early) != mostEarly {
		t.Fatalf("%d words kept, want %d", len(b.early), mostEarly)
	}
	step(b, ms, rec("a", 1))
	if len(b.early) != 0 {
		t.Fatalf("%d words kept after a read", len(b.early))
	}
}
