//go:build linux

package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tripod/election"
)

var errNotYet = errors.New("not yet")

// stations returns nil once these hosts, and no others, have been seen after a moment.
func stations(p *Probe, after Moment, want ...string) error {
	if got := p.Stations(after); !slices.Equal(got, want) {
		return fmt.Errorf("%v answer, want %v", got, want)
	}
	return nil
}

// announce tells everybody where an IPv4 address now is.
func announce(t *testing.T, h *Host, address string) {
	t.Helper()
	socket, err := openAsker(h)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	ip := netip.MustParseAddr(address)
	if _, err := socket.Write(askARP(h.MAC, ip, ip)); err != nil {
		t.Fatal(err)
	}
}

// take gives a node the address.
func take(t *testing.T, n *Node, address string) {
	t.Helper()
	if ip := netip.MustParseAddr(address); ip.Is6() {
		n.AddAddress(address + "/64")
		return
	}
	n.AddAddress(address + "/24")
	announce(t, n.Host, address)
}

// offends says whether the probe finds fault with it, and how.
func offends(t *testing.T, p *Probe, holders []string, want string) {
	t.Helper()
	err := p.check(holders)
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("holders %v: %v; want %q", holders, err, want)
	}
}

// An address that goes from one node to the next is seen where it is, and moves in order.
func TestMoveInOrder(t *testing.T) {
	l := startFakes(t, 3)
	n1, n2 := l.Node(0), l.Node(1)
	vip := l.VIP(0)
	p := l.Probe(vip)
	take(t, n1, vip)
	p.WaitHolder(Is(n1))
	removed := n1.RemoveAddress(vip)
	take(t, n2, vip)
	p.WaitHolder(Not(n1))
	took := p.Failover(removed)
	if gap := p.LongestGap(0, l.Now()); took <= 0 || gap.Length() <= 0 {
		t.Errorf("the move took %s, and the longest gap is %s", took, gap.Length())
	}
	n2.RemoveAddress(vip)
	take(t, n1, vip)
	p.WaitHolder(Is(n1))
	p.Stop()
	p.OnlyInOrder("n1", "n2", "n1")
	p.OnlyInOrder("n3", "n1", "n2", "n3", "n1") // some may have held it unseen
	offends(t, p, []string{"n1", "n2"}, "two answer: n1")
	offends(t, p, []string{"n2", "n1"}, "two answer: n2")
	offends(t, p, []string{"n2"}, "n1 at")
	s := p.Summary(0, l.Now())
	if s.By["n1"] == 0 || s.By["n2"] == 0 || s.By["n3"] != 0 || s.By["n1"]+s.By["n2"]+s.Failed != s.Sent || s.Failed != len(p.Failures(0, l.Now())) {
		t.Errorf("%s", s)
	}
	for _, what := range []string{"ARP reply", "ARP announcement", "SYN-ACK", "HTTP answer"} {
		if !slices.ContainsFunc(p.Sightings(), func(s Sighting) bool { return s.What == what }) {
			t.Errorf("no %s was seen", what)
		}
	}
	if text := l.Timeline(); !strings.Contains(text, "* n1: remove address "+vip) || !strings.Contains(text, vip+": n2 claims it") {
		t.Errorf("the timeline does not tell the story:\n%s", text)
	}
}

// Two hosts with one address are found out, on IPv4 and IPv6, whatever the order of the holders.
func TestTwoHolders(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		t.Run(family, func(t *testing.T) {
			l := startFakes(t, 2)
			vip := l.VIP(0)
			if family == "IPv6" {
				vip = l.VIP6(0)
			}
			p := l.Probe(vip)
			take(t, l.Node(0), vip)
			p.WaitHolder(Is(l.Node(0)))
			l.Wait("a claim on the wire", func() error { return stations(p, 0, "n1") })
			p.OnlyInOrder("n1")
			second := l.Note("a second holder")
			take(t, l.Node(1), vip)
			l.Wait("both answering", func() error { return stations(p, second, "n1", "n2") })
			// Until both have been seen again and again.
			l.Wait("a dispute", func() error { return p.disputed() })
			p.Stop()
			offends(t, p, []string{"n1", "n2"}, "two answer: n1")
			offends(t, p, []string{"n2", "n1"}, "two answer: n2")
			offends(t, p, []string{"n1"}, "n2 at")
		})
	}
}

// disputed returns nil once n1 was seen after n2, both on the wire.
func (p *Probe) disputed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	second := slices.IndexFunc(p.sightings, func(s Sighting) bool { return s.Station == "n2" })
	if second >= 0 && slices.ContainsFunc(p.sightings[second:], func(s Sighting) bool { return s.Station == "n1" }) {
		return nil
	}
	return errNotYet
}

// One late answer of the old holder is enough.
func TestOneLateAnswer(t *testing.T) {
	l := startFakes(t, 2)
	vip := l.VIP(0)
	p := l.Probe(vip)
	take(t, l.Node(0), vip)
	p.WaitHolder(Is(l.Node(0)))
	l.Node(0).RemoveAddress(vip)
	take(t, l.Node(1), vip)
	p.WaitHolder(Is(l.Node(1)))
	p.OnlyInOrder("n1", "n2")
	late := l.Note("one frame")
	socket, err := openAsker(l.Node(0).Host)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	reply := askARP(l.Node(0).MAC, netip.MustParseAddr(vip), l.Watcher.IP4)
	copy(reply, l.Watcher.MAC)
	reply[21] = arpReply
	if _, err := socket.Write(reply); err != nil {
		t.Fatal(err)
	}
	l.Wait("the frame", func() error { return stations(p, late, "n1", "n2") })
	offends(t, p, []string{"n1", "n2"}, "two answer: n1")
}

// A killed node's kernel still answers for its address, which is what the guard is for; the probe sees it. A host
// whose outgoing frames are lost is seen to claim the address too.
func TestKilledHolderAnswers(t *testing.T) {
	l := startFakes(t, 2)
	vip := l.VIP(0)
	p := l.Probe(vip)
	take(t, l.Node(0), vip)
	p.WaitHolder()
	killed := l.Node(0).Kill()
	l.Wait("ARP answers of a dead holder", func() error { return stations(p, killed, "n1") })
	take(t, l.Node(1), vip)
	p.WaitHolder(Is(l.Node(1)))
	cut := l.Node(0).CutOutgoing()
	l.Wait("both", func() error { return stations(p, cut, "n1", "n2") })
	offends(t, p, []string{"n1", "n2"}, "two answer: n1")
}

// A foreign station answers for the address, and is never a holder, until it goes.
func TestForeignStation(t *testing.T) {
	l := startFakes(t, 1)
	vip := l.VIP(0)
	p := l.Probe(vip)
	take(t, l.Node(0), vip)
	p.WaitHolder()
	appeared := l.Note("before the stranger")
	stranger := l.ForeignStation(vip)
	l.Wait("both", func() error { return stations(p, appeared, "foreign1", "n1") })
	offends(t, p, []string{"n1"}, "foreign1 at")
	offends(t, p, []string{"n1"}, "it was never the holder")
	gone := stranger.Remove()
	l.Wait("the node alone", func() error {
		return stations(p, max(gone, l.Now().Add(-100*time.Millisecond)), "n1")
	})
}

// The times of the wire and of the requests are of one clock: a request's SYN-ACK comes while the request lasts.
func TestTimesAgree(t *testing.T) {
	l := startFakes(t, 1)
	p := l.Probe(l.Node(0).IP4.String(), Every(20*time.Millisecond))
	l.Wait("requests", func() error {
		if len(p.Answers()) < 20 {
			return errNotYet
		}
		return nil
	})
	p.Stop()
	var replies []Moment
	for _, s := range p.Sightings() {
		if s.What == "SYN-ACK" {
			replies = append(replies, s.From)
		}
	}
	for _, a := range p.Answers() {
		if a.Failed() {
			t.Errorf("%s: %s", a.Start, a.Err)
		} else if !slices.ContainsFunc(replies, func(m Moment) bool { return m > a.Start && m < a.End }) {
			t.Errorf("no SYN-ACK from %s to %s; they came at %v", a.Start, a.End, replies)
		}
	}
}

// A time of day becomes the same moment on the lab's clock, within what the readings take.
func TestTimeOfDay(t *testing.T) {
	l := &Lab{clock: election.Clock()}
	for range 1000 {
		var now unix.Timespec
		before := l.Now()
		if err := unix.ClockGettime(unix.CLOCK_REALTIME, &now); err != nil {
			t.Fatal(err)
		}
		after := l.Now()
		const slack = Moment(20 * time.Microsecond)
		if got := l.At(time.Unix(now.Sec, now.Nsec)); got < before-slack || got > after+slack {
			t.Fatalf("%s, want between %s and %s", got, before, after)
		}
	}
}
