package node_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/testcluster"
)

// vipsDocument is a document with these VIPs, each written as the rest of its mapping, and nothing to serve.
func vipsDocument(c *testcluster.Cluster, vips ...string) string {
	var b strings.Builder
	b.WriteString("vips:\n")
	for i, rest := range vips {
		fmt.Fprintf(&b, "  - { address: %s/32%s }\n", c.VIP(i), rest)
	}
	return b.String()
}

// within is a context for a few requests.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testcluster.Patience)
	t.Cleanup(cancel)
	return ctx
}

// acquaint returns when every node knows that every other one is ready, so that all are candidates for whoever places.
func acquaint(t *testing.T, c *testcluster.Cluster) {
	t.Helper()
	vip := c.VIP(99)
	c.Apply(fmt.Sprintf("vips: [ %s/32 ]\n", vip))
	for _, through := range c.Nodes() {
		for _, to := range c.Nodes() {
			c.Wait("a move to "+to.Name()+" through "+through.Name(), func() error {
				_, err := through.Client().MoveVIP(within(t), api.MoveRequest{Address: netip.MustParseAddr(vip), To: to.Name()})
				return err
			})
		}
	}
}

// drain drains a node through another, and waits until it holds nothing.
func drain(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	through := c.Node(0)
	if through == n {
		through = c.Node(1)
	}
	reply, err := through.Client().Drain(within(t), api.DrainRequest{Node: n.Name(), Drain: true, By: "ann@desk"})
	if err != nil || reply.Unchanged || len(reply.Warnings) > 0 {
		t.Fatalf("drain %s: %+v, %v", n.Name(), reply, err)
	}
	if holds, err := through.Client().Holds(within(t), n.Name(), testcluster.Patience); err != nil || len(holds.Held) > 0 {
		t.Fatalf("%s drained holds %+v, %v", n.Name(), holds, err)
	}
}

func undrain(t *testing.T, c *testcluster.Cluster, n *testcluster.Node) {
	t.Helper()
	if reply, err := c.Node(0).Client().Drain(within(t), api.DrainRequest{Node: n.Name(), By: "ann@desk"}); err != nil || reply.Unchanged {
		t.Fatalf("undrain %s: %+v, %v", n.Name(), reply, err)
	}
}

// waitState waits until the node's key says so.
func waitState(c *testcluster.Cluster, n *testcluster.Node, state string) api.NodeStatus {
	var found api.NodeStatus
	c.Wait(n.Name()+" being "+state, func() error {
		for _, each := range c.Status().Nodes {
			if each.Name == n.Name() {
				found = each
			}
		}
		if found.State != state {
			return fmt.Errorf("it is %s", found.State)
		}
		return nil
	})
	return found
}

// stayed fails the test if the i-th VIP of the document has left a node that was well. On a machine that starves a
// node for 300 ms it seems to have failed, and then the VIP is right to leave.
func stayed(t *testing.T, c *testcluster.Cluster, i int, holder *testcluster.Node) {
	t.Helper()
	now := c.WaitHolder(c.VIP(i))
	if now == holder {
		return
	}
	f := c.Status().VIPs[i].Failover
	if f == nil || f.Why == "" || !strings.Contains(f.Why, " does not answer") {
		t.Errorf("%s moved from %s to %s: %+v", c.VIP(i), holder.Name(), now.Name(), f)
		return
	}
	t.Logf("%s left %s, which was starved: %s", c.VIP(i), holder.Name(), f.Why)
}

// spread counts the VIPs of each node once all are held.
func spread(c *testcluster.Cluster, vips int) map[*testcluster.Node]int {
	held := map[*testcluster.Node]int{}
	for i := range vips {
		held[c.WaitHolder(c.VIP(i))]++
	}
	return held
}

// A drained node holds nothing and is given nothing: not when it restarts, and not when the others come and go. Undrained,
// it may hold again, but nothing moves back.
func TestDrain(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(vipsDocument(c, "", ""))
	drained := c.WaitHolder(c.VIP(0))
	c.WaitHolder(c.VIP(1))
	drain(t, c, drained)
	not := testcluster.Not(drained)
	c.WaitHolder(c.VIP(0), not)
	if n := waitState(c, drained, api.Draining); n.Drain == nil || n.Drain.By != "ann@desk" || n.Drain.At.IsZero() || len(n.Holds) > 0 {
		t.Errorf("the drained node: %+v", n)
	}
	status := c.Status()
	if len(status.Problems) > 0 || !strings.Contains(strings.Join(status.Warnings, "\n"), "node "+drained.Name()+" is draining (ann@desk) and holds no vip") {
		t.Errorf("problems %q, warnings %q", status.Problems, status.Warnings)
	}
	c.Wait("the failover being told", func() error {
		if f := c.Status().VIPs[0].Failover; f == nil || f.From != drained.Name() || f.Why != drained.Name()+" is draining" || f.Took <= 0 || f.Took > 10 {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})

	drained.Stop()
	drained.Restart()
	waitState(c, drained, api.Draining)
	for i := range 2 {
		other := c.WaitHolder(c.VIP(i), not)
		other.Kill()
		c.WaitHolder(c.VIP(0), not, testcluster.Not(other))
		c.WaitHolder(c.VIP(1), not, testcluster.Not(other))
		other.Restart()
	}

	undrain(t, c, drained)
	waitState(c, drained, api.Ready)
	before := []*testcluster.Node{c.WaitHolder(c.VIP(0), not), c.WaitHolder(c.VIP(1), not)}
	// A third address comes to it, as the one that holds least; so it can hold, and the placement has looked.
	c.Apply(vipsDocument(c, "", "", ""))
	c.WaitHolder(c.VIP(2))
	for i := range 2 {
		stayed(t, c, i, before[i])
	}
	c.NeverTwoHolders()
}

// What etcdctl puts and deletes drains as the command does; what says nothing is ignored and shown.
func TestDrainByHand(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(vipsDocument(c, ""))
	old := c.WaitHolder(c.VIP(0))
	key := "/tripod/admin/nodes/" + old.Name()
	put := func(key, value string) {
		t.Helper()
		if _, err := c.Etcd().Put(within(t), key, value); err != nil {
			t.Fatal(err)
		}
	}
	put(key, `{"drain": true}`)
	c.WaitHolder(c.VIP(0), testcluster.Not(old))
	waitState(c, old, api.Draining)
	put(key, `{"drain": false, "by": 7}`)
	waitState(c, old, api.Ready)
	put(key, `{"drain": true, "at": "now"}`)
	waitState(c, old, api.Draining)
	if _, err := c.Etcd().Delete(within(t), key); err != nil {
		t.Fatal(err)
	}
	waitState(c, old, api.Ready)
	put(key, "yes")
	put("/tripod/admin/nodes/nobody", `{"drain": true}`)
	c.Wait("the keys being shown", func() error {
		s := c.Status()
		if !strings.Contains(strings.Join(s.Problems, "\n"), key+" is ignored: it is not of the form") ||
			!strings.Contains(strings.Join(s.Warnings, "\n"), "nobody drains a node that is not in --nodes") {
			return fmt.Errorf("problems %q, warnings %q", s.Problems, s.Warnings)
		}
		return nil
	})
	waitState(c, old, api.Ready)
	c.NeverTwoHolders()
}

// With nobody else to hold it a VIP stays on a draining node, and leaves as soon as somebody can.
func TestDrainOfTheLastCandidate(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(vipsDocument(c, ""))
	last := c.WaitHolder(c.VIP(0))
	var others []*testcluster.Node
	for _, n := range c.Nodes() {
		if n != last {
			others = append(others, n)
			drain(t, c, n)
		}
	}
	client := others[0].Client()
	reply, err := client.Drain(within(t), api.DrainRequest{Node: last.Name(), Drain: true})
	if err != nil || len(reply.Warnings) != 1 || !strings.Contains(reply.Warnings[0], "no other node can hold "+c.VIP(0)+" now: it stays on "+last.Name()) {
		t.Errorf("drain of the last: %+v, %v", reply, err)
	}
	waitState(c, last, api.Draining)
	holds, err := client.Holds(within(t), last.Name(), 500*time.Millisecond)
	if err != nil || len(holds.Held) != 1 || holds.Held[0].String() != c.VIP(0) || holds.Why != "no other node can hold it now" {
		t.Errorf("the last holds %+v, %v", holds, err)
	}
	if reply, err := client.Drain(within(t), api.DrainRequest{Node: last.Name(), Drain: true}); err != nil || !reply.Unchanged {
		t.Errorf("drain again: %+v, %v", reply, err)
	}
	undrain(t, c, others[1])
	c.WaitHolder(c.VIP(0), testcluster.Is(others[1]))
	if holds, err := client.Holds(within(t), last.Name(), testcluster.Patience); err != nil || len(holds.Held) > 0 {
		t.Errorf("the last holds %+v, %v", holds, err)
	}
	c.NeverTwoHolders()
}

// A VIP goes to its zone, stays elsewhere once it has left, and comes back where the document says preempt, after the delay.
func TestZones(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Stopped())
	for i, zone := range []string{"a", "b", "a"} {
		c.Node(i).SetFlags("--zone", zone)
	}
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.WaitReady()
	acquaint(t, c)
	home := c.Node(1)
	const delay = 1500 * time.Millisecond
	c.Apply(vipsDocument(c, ", zone: b", ", zone: b, preempt: true, preempt_delay: "+delay.String(), ", zone: c"))
	for i := range 2 {
		c.WaitHolder(c.VIP(i), testcluster.Is(home))
	}
	c.WaitHolder(c.VIP(2), testcluster.Not(home))
	if warnings := strings.Join(c.Status().Warnings, "\n"); !strings.Contains(warnings, "vip "+c.VIP(2)+" prefers zone c, where no node is: there is a, b") {
		t.Errorf("warnings: %q", warnings)
	}
	home.Kill()
	away := c.WaitHolder(c.VIP(0), testcluster.Not(home))
	c.WaitHolder(c.VIP(1), testcluster.Not(home))
	start := time.Now()
	home.Restart()
	c.WaitHolder(c.VIP(1), testcluster.Is(home))
	if took := time.Since(start); took < delay {
		t.Errorf("%s moved back after %s, before the delay of %s", c.VIP(1), took, delay)
	}
	stayed(t, c, 0, away)
	c.Wait("the move being told", func() error {
		if f := c.Status().VIPs[1].Failover; f == nil || f.Why != "preempt: back to zone b" || f.To != home.Name() {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
	c.NeverTwoHolders()
}

// Several VIPs spread over the nodes, and those of a killed one over the rest. It runs by itself: a node that the other
// tests starve seems to have failed, and its VIPs do not move back.
func TestSpread(t *testing.T) {
	const vips = 6
	c := testcluster.Start(t, 3)
	acquaint(t, c)
	c.Apply(vipsDocument(c, make([]string, vips)...))
	held := spread(c, vips)
	for _, n := range c.Nodes() {
		if held[n] != 2 {
			t.Errorf("%s holds %d of %d", n.Name(), held[n], vips)
		}
	}
	killed := c.Node(2)
	killed.Kill()
	for i := range vips {
		c.WaitHolder(c.VIP(i), testcluster.Not(killed))
	}
	held = spread(c, vips)
	for _, n := range c.Nodes()[:2] {
		if held[n] != 3 {
			t.Errorf("%s holds %d of %d after the death of %s", n.Name(), held[n], vips, killed.Name())
		}
	}
	c.Wait("the failovers being told", func() error {
		told := 0
		for _, v := range c.Status().VIPs {
			if f := v.Failover; f != nil && f.From == killed.Name() && strings.HasPrefix(f.Why, killed.Name()+" does not answer: ") && f.Took > 0 {
				told++
			}
		}
		if told != 2 {
			return fmt.Errorf("%d of 2: %+v", told, c.Status().VIPs)
		}
		return nil
	})
	killed.Restart()
	// With preempt one moves back at a time until the spread is even.
	c.Apply(vipsDocument(c, ", preempt: true, preempt_delay: 0s", ", preempt: true, preempt_delay: 0s", ", preempt: true, preempt_delay: 0s",
		", preempt: true, preempt_delay: 0s", ", preempt: true, preempt_delay: 0s", ", preempt: true, preempt_delay: 0s"))
	c.Wait("an even spread", func() error {
		if held := spread(c, vips); held[c.Node(0)] != 2 || held[c.Node(1)] != 2 || held[killed] != 2 {
			return fmt.Errorf("%d, %d and %d", held[c.Node(0)], held[c.Node(1)], held[killed])
		}
		return nil
	})
	c.NeverTwoHolders()
}

// A move returns when the new holder holds, says where from, and why not; a record written by hand does the same, and
// status says so.
func TestMoveVIP(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(vipsDocument(c, ""))
	old := c.WaitHolder(c.VIP(0))
	address := netip.MustParseAddr(c.VIP(0))
	var others []*testcluster.Node
	for _, n := range c.Nodes() {
		if n != old {
			others = append(others, n)
		}
	}
	to, idle := others[0], others[1]
	for _, through := range []*testcluster.Node{old, to, idle} { // leading or not
		reply, err := through.Client().MoveVIP(within(t), api.MoveRequest{Address: address, To: to.Name(), By: "ann@desk"})
		if err != nil || reply.To != to.Name() {
			t.Fatalf("move through %s: %+v, %v", through.Name(), reply, err)
		}
		if holder := c.Holder(c.VIP(0)); holder != to {
			t.Errorf("the move has returned, and %v holds", holder)
		}
	}
	c.Wait("the move being told", func() error {
		f := c.Status().VIPs[0].Failover
		if f == nil || f.From != old.Name() || f.To != to.Name() || f.Why != "moved by ann@desk" || f.Took <= 0 || f.Detection != 0 {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
	reply, err := to.Client().MoveVIP(within(t), api.MoveRequest{Address: address})
	if err != nil || reply.From != to.Name() || reply.To == to.Name() {
		t.Errorf("move to the best: %+v, %v", reply, err)
	}

	drain(t, c, idle)
	waitState(c, idle, api.Draining)
	for _, test := range []struct {
		address, to string
		status      int
		says        string
	}{
		{c.VIP(7), to.Name(), 404, c.VIP(7) + ": no such vip in the document (it has " + c.VIP(0) + ")"},
		{c.VIP(0), "nobody", 404, "no such node as \"nobody\" (there is " + c.Node(0).Name() + ", "},
		{c.VIP(0), idle.Name(), 409, idle.Name() + " is draining; undrain it first"},
	} {
		_, err := old.Client().MoveVIP(within(t), api.MoveRequest{Address: netip.MustParseAddr(test.address), To: test.to})
		failure, ok := err.(*api.Failure)
		if !ok || failure.Status != test.status || !strings.Contains(failure.Message, test.says) {
			t.Errorf("move %s to %s: %v", test.address, test.to, err)
		}
	}

	now := c.WaitHolder(c.VIP(0))
	next := old
	if now == old {
		next = to
	}
	if _, err := c.Etcd().Put(within(t), "/tripod/vips/"+c.VIP(0), fmt.Sprintf(`{"holder":%q,"epoch":99}`, next.Name())); err != nil {
		t.Fatal(err)
	}
	c.WaitHolder(c.VIP(0), testcluster.Is(next))
	c.Wait("the hand being told", func() error {
		f := c.Status().VIPs[0].Failover
		if f == nil || f.From != now.Name() || f.To != next.Name() || f.Why != "written by hand" || f.Took <= 0 {
			return fmt.Errorf("%+v", f)
		}
		return nil
	})
	if got := metric(t, next, fmt.Sprintf("tripod_vip_changes_total{address=%q}", c.VIP(0))); got == "" || got == "0" {
		t.Errorf("tripod_vip_changes_total of the holder: %q", got)
	}
	c.NeverTwoHolders()
}
