//go:build linux

package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
)

type vipFault struct {
	name string
	harm func(*Node) Moment
	mend func(*Node)
}

// vipFaults are what can happen to the holder of a VIP on a network. Whatever it is, another node holds the VIP
// afterwards, and no two ever answered for it.
var vipFaults = []vipFault{
	{"killed", (*Node).Kill, func(n *Node) { n.Restart() }},
	{"stopped", (*Node).Pause, func(n *Node) { n.Resume() }},
	{"cable cut", func(n *Node) Moment { return n.CutCable() }, func(n *Node) { n.MendCable() }},
	{"cut silently", func(n *Node) Moment { return n.CutSilently() }, func(n *Node) { n.Heal() }},
	{"cut incoming", func(n *Node) Moment { return n.CutIncoming() }, func(n *Node) { n.Heal() }},
	{"cut outgoing", func(n *Node) Moment { return n.CutOutgoing() }, func(n *Node) { n.Heal() }},
	{"cut from the cluster", (*Node).PartitionCluster, func(n *Node) { n.Heal() }},
	{"powered off", (*Node).PowerOff, func(n *Node) { n.PowerOn(); n.Restart() }},
}

func TestVIPFaults(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site(l.VIP(0), l.VIP6(0)))
	p, p6 := l.Probe(l.VIP(0)), l.Probe(l.VIP6(0))
	for _, fault := range vipFaults {
		l.Note("fault: " + fault.name)
		old := p.WaitHolder()
		p6.WaitHolder()
		harmed := fault.harm(old)
		p.WaitHolder(Not(old))
		p6.WaitHolder(Not(old))
		t.Logf("%-22s %s", fault.name, p.Failover(harmed).Round(time.Millisecond))
		fault.mend(old)
		l.WaitReady()
	}
	p.NeverTwoAnswering()
	p6.NeverTwoAnswering()
}

// The raft leader is another node than the holder, once it had a moment to be. What befalls it alone costs the
// VIP an election at most; what befalls both costs a failover and an election. Five nodes bear two such; of three, the
// one that is left is a minority, and nobody holds until a majority is back.
func TestVIPFaultsOfTheLeader(t *testing.T) {
	for _, nodes := range []int{3, 5} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			l := Start(t, nodes)
			l.Apply(l.Site(l.VIP(0)))
			p := l.Probe(l.VIP(0))
			for _, fault := range vipFaults {
				for _, both := range []bool{false, true} {
					faultOfTheLeader(l, p, fault, both)
				}
			}
			p.NeverTwoAnswering()
		})
	}
}

func faultOfTheLeader(l *Lab, p *Probe, fault vipFault, both bool) {
	var holder, leader *Node
	l.Wait("raft leadership off the holder", func() error {
		// Anew each time: what the round before did may still move it.
		holder, leader = p.WaitHolder(), l.RaftLeader()
		if leader == holder {
			return errors.New(holder.Name + " leads and holds")
		}
		return nil
	})
	l.Note(fmt.Sprintf("fault: %s, leader %s, holder %s too: %v", fault.name, leader.Name, holder.Name, both))
	fault.harm(leader)
	switch {
	case !both:
		p.WaitHolder(Not(leader))
	case len(l.Nodes()) == 3:
		fault.harm(holder)
		p.WaitNobody()
		fault.mend(holder)
	default:
		fault.harm(holder)
		p.WaitHolder(Not(holder), Not(leader))
		fault.mend(holder)
	}
	fault.mend(leader)
	l.WaitReady()
}

// Clients that cannot reach the holder, while the nodes can, are no fault that a node sees: the VIP stays, and is there again
// with the network. Frames that are lost here and there move it neither; many may, and are mended by the same means.
func TestVIPUnderBadLinks(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site(l.VIP(0)))
	p := l.Probe(l.VIP(0))
	holder := p.WaitHolder()
	before, err := l.Epochs(l.VIP(0))
	if err != nil {
		t.Fatal(err)
	}
	holder.PartitionClients()
	p.WaitNobody()
	holder.Heal()
	p.WaitHolder(Is(holder))
	for _, n := range l.Nodes() {
		n.Loss(0.2)
	}
	time.Sleep(2 * time.Second) // of traffic
	if after, err := l.Epochs(l.VIP(0)); err != nil || len(after) != len(before) {
		t.Errorf("the VIP moved: %v, %v", after, err)
	}
	for _, n := range l.Nodes() {
		n.Loss(25)
	}
	time.Sleep(2 * time.Second) // of traffic
	for _, n := range l.Nodes() {
		n.Heal()
	}
	p.WaitHolder()
	p.NeverTwoAnswering()
}

// A machine that lost its power does not end its connections. When it is on again the others soon hear it, on new ones, and
// hold nothing against it any more.
func TestPowerLossIsForgotten(t *testing.T) {
	l := Start(t, 3)
	victim := l.Node(2)
	says := func(what string) {
		t.Helper()
		l.Wait("the others to say "+what, func() error {
			for _, n := range l.Nodes()[:2] {
				if log, _ := n.Log(); !strings.Contains(log, `msg="`+what+`" node=n3`) {
					return errors.New(n.Name + " does not")
				}
			}
			return nil
		})
	}
	victim.PowerOff()
	says("node suspected")
	victim.PowerOn()
	victim.WaitReady()
	says("node answers again")
}

// A node whose disk is full may end, and then another holds the VIP. With space it starts again, with all that it had.
func TestVIPFullDisk(t *testing.T) {
	l := Start(t, 3, SmallDisk(300<<20))
	l.Apply(l.Site(l.VIP(0)))
	p := l.Probe(l.VIP(0))
	holder := p.WaitHolder()
	holder.FillDisk()
	var other *Node
	for _, n := range l.Nodes() {
		if n != holder {
			other = n
		}
	}
	for i := range 12 { // 12 MB
		text := l.Site(l.VIP(0)) + strings.Repeat("# "+strings.Repeat("x", 1000)+"\n", 1000) + fmt.Sprintf("# %d\n", i)
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		_, err := other.Client().Apply(ctx, api.ApplyRequest{File: "lab.yaml", Text: text, Author: "lab"}) // the full node may miss it
		cancel()
		if err != nil {
			t.Fatal(err)
		}
	}
	p.WaitHolder()
	holder.FreeDisk()
	if holder.PID() == 0 {
		holder.Start()
	}
	l.WaitReady()
	p.WaitHolder()
	p.NeverTwoAnswering()
}

// randomSeed makes the random faults the same at every run; the log has it.
const randomSeed = 20261122

// Random faults, one or two at a time, never more than a minority: the VIP is back whenever a majority is
// connected, and no two ever answer. LAB_RANDOM sets for how long; .ci/run has them for
// two minutes.
func TestVIPRandomFaults(t *testing.T) {
	length := 20 * time.Second
	if text := os.Getenv("LAB_RANDOM"); text != "" {
		var err error
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d, for %s", randomSeed, length)
	random := rand.New(rand.NewPCG(randomSeed, 0))
	l := Start(t, 5)
	l.Apply(l.Site(l.VIP(0)))
	p := l.Probe(l.VIP(0))
	for began := time.Now(); time.Since(began) < length; {
		fault := vipFaults[random.IntN(len(vipFaults))]
		victims := []*Node{l.Node(random.IntN(5))}
		if other := l.Node(random.IntN(5)); other != victims[0] {
			victims = append(victims, other)
		}
		for _, v := range victims {
			l.Note("random fault: " + v.Name + " " + fault.name)
			fault.harm(v)
		}
		conditions := make([]Condition, len(victims))
		for i, v := range victims {
			conditions[i] = Not(v)
		}
		p.WaitHolder(conditions...)
		for _, v := range victims {
			fault.mend(v)
		}
		l.WaitReady()
	}
	p.NeverTwoAnswering()
}

// Somebody removes the address by hand: it is put back.
func TestVIPRemovedByHand(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site(l.VIP(0)))
	p := l.Probe(l.VIP(0))
	holder := p.WaitHolder()
	removed := holder.RemoveAddress(l.VIP(0))
	l.Wait("answers after the removal", func() error {
		if s := p.Summary(removed+Moment(100*time.Millisecond), l.Now()); s.By[holder.Name] == 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	p.NeverTwoAnswering()
}

// Another station has the address: status says so loudly, with its MAC.
func TestVIPConflict(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site(l.VIP(0)))
	p := l.Probe(l.VIP(0))
	p.WaitHolder()
	p.Stop()
	stranger := l.ForeignStation(l.VIP(0))
	l.Wait("the conflict in status", func() error {
		out, err := l.Node(0).Tripod("status")
		if err == nil || !strings.Contains(out, "ANOTHER STATION ANSWERS FOR IT: "+stranger.MAC.String()) {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
}

// A planned move resets nothing: open connections go on at the old holder, new ones reach the new one.
func TestVIPMoves(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site(l.VIP(0), l.VIP6(0)))
	for _, vip := range []string{l.VIP(0), l.VIP6(0)} {
		// Patient, so that a busy machine fails no request; how fast it goes is for the benchmark.
		p := l.Probe(vip, Timeout(5*time.Second))
		old := p.WaitHolder()
		pool := l.Pool(vip, 100, 250*time.Millisecond, TCP)
		from := l.Now()
		if out, err := l.Nodes()[0].Tripod("vip", "move", vip); err != nil {
			t.Fatalf("vip move: %v\n%s", err, out)
		}
		next := p.WaitHolder(Not(old))
		l.Wait("ticks after the move", func() error {
			if got := pool.Tally(); got.Ticks < 800 {
				return fmt.Errorf("%d ticks", got.Ticks)
			}
			return nil
		})
		until := l.Now()
		tally := pool.Close()
		gap, summary := p.LongestGap(from, until), p.Summary(from, until)
		t.Logf("%s -> %s: %d requests, %d failed, longest gap %s; %d connections, %d reset, %d closed, longest answer %s", old.Name, next.Name,
			summary.Sent, summary.Failed, gap.Length(), tally.Open, tally.Reset, tally.Closed, tally.Longest)
		if tally.Open != 100 || tally.Reset+tally.Closed+tally.Silent > 0 {
			t.Errorf("connections did not survive the move: %+v", tally)
		}
		if summary.Failed > 0 {
			t.Errorf("%d requests failed: %+v", summary.Failed, p.Failures(from, until)[0])
		}
		p.NeverTwoAnswering()
		p.Stop()
	}
}
