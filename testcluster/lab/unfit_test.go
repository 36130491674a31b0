//go:build linux

package lab

import (
	"fmt"
	"strings"
	"testing"
)

// status waits until tripod status on the first node says all of this.
func (l *Lab) waitStatus(words ...string) {
	l.t.Helper()
	l.Wait("status: "+strings.Join(words, "; "), func() error {
		out, _ := l.Node(0).Tripod("status") // a problem is a failure too
		for _, w := range words {
			if !strings.Contains(out, w) {
				return fmt.Errorf("no %q in:\n%s", w, out)
			}
		}
		return nil
	})
}

// holderOf is who holds the VIP by tripod's own word; "-" if nobody does.
func (l *Lab) holderOf(vip string) string {
	out, err := l.Node(0).Tripod("vip", "list")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && strings.HasPrefix(f[0], vip+"/") && f[2] != "not" {
			return f[1]
		}
	}
	return "-"
}

// A second cable, which only two of the nodes have.
func secondCable(t *testing.T, n *Node) {
	for _, args := range [][]string{
		{"link", "add", "lan1", "type", "veth", "peer", "name", "far1"}, {"link", "set", "far1", "up"}, {"link", "set", "lan1", "up"},
	} {
		if _, err := n.Run("ip", args...); err != nil {
			t.Fatal(err)
		}
	}
}

// What one node lacks makes that node no candidate, what all lack leaves the VIP with nobody; status says what it is, and
// the VIPs beside it are held.
func TestUnfitNodes(t *testing.T) {
	l := Start(t, 3)
	secondCable(t, l.Node(1))
	secondCable(t, l.Node(2))
	l.Apply(fmt.Sprintf(`vips:
  - address: 10.88.0.100/24
    interface: lan1
  - address: 10.99.0.100/24
  - address: %s/24
`, l.VIP(0)))
	l.waitStatus("node n1 cannot hold vip 10.88.0.100: vip 10.88.0.100: interface lan1 not found (have eth0, lo)",
		"vip 10.99.0.100: outside every local network; name its interface in the document",
		"vip 10.99.0.100 is held by nobody now")
	l.Wait("a holder of what two nodes have", func() error {
		if got := l.holderOf("10.88.0.100"); got != "n2" && got != "n3" {
			return fmt.Errorf("%s holds it", got)
		}
		return nil
	})
	l.Wait("a holder of what all have", func() error {
		if got := l.holderOf(l.VIP(0)); l.Named(got) == nil {
			return fmt.Errorf("%s holds it", got)
		}
		return nil
	})
	if out, err := l.Node(0).Tripod("vip", "move", "10.88.0.100", "n1"); err == nil || !strings.Contains(out, "interface lan1 not found") {
		t.Errorf("moved where it cannot be: %v\n%s", err, out)
	}

	// The interface goes from its holder: the other one takes over.
	holder := l.Named(l.holderOf("10.88.0.100"))
	if _, err := holder.Run("ip", "link", "del", "lan1"); err != nil {
		t.Fatal(err)
	}
	l.Wait("the other node", func() error {
		if got := l.holderOf("10.88.0.100"); got == holder.Name || l.Named(got) == nil {
			return fmt.Errorf("%s holds it", got)
		}
		return nil
	})
	l.waitStatus("node " + holder.Name + " cannot hold vip 10.88.0.100")
}

// A node without the capabilities serves, and says which it lacks and how to give them; it is no candidate.
func TestWithoutCapabilities(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site(l.VIP(0)))
	p := l.Probe(l.VIP(0))
	poor := p.WaitHolder()
	poor.Stop()
	poor.Without("net_admin", "net_raw")
	poor.Restart()
	const advice = "missing capability CAP_NET_ADMIN and CAP_NET_RAW. Run as root, or: setcap cap_net_admin,cap_net_raw,cap_net_bind_service+ep "
	l.waitStatus("node "+poor.Name+" cannot hold vip "+l.VIP(0), "AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE")
	if log, _ := poor.Log(); !strings.Contains(log, "cap_net_bind_service+ep") {
		t.Errorf("the log does not say how (%s):\n%s", advice, log)
	}
	if out, err := poor.Tripod("vip", "move", l.VIP(0), poor.Name); err == nil || !strings.Contains(out, "CAP_NET_ADMIN") {
		t.Errorf("moved where it cannot be: %v\n%s", err, out)
	}
	p.WaitHolder(Not(poor))
	p.NeverTwoAnswering()
}
