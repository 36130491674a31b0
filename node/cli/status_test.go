package cli_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/testcluster"
)

// One cluster loses a server, a node, its quorum, and gets all of it back; status says so each time.
func TestStatus(t *testing.T) {
	t.Parallel()
	one, two := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 3, testcluster.Flags("--zone", "west"))
	document := site(c, one, two)
	c.Apply(document)
	holder := c.WaitHolder(c.VIP(0))
	well := func() {
		t.Helper()
		c.Wait("all well", func() error {
			if e := ran(c.Command("status")); e.code != 0 || !strings.HasPrefix(e.out, "All is well.\n") {
				return fmt.Errorf("exit code %d\n%s%s", e.code, e.out, e.err)
			}
			return nil
		})
	}
	// ill waits until status exits with 1 and says all of the texts as one problem.
	ill := func(texts ...string) api.Status {
		t.Helper()
		var s api.Status
		c.Wait("the problem", func() error {
			var code int
			if s, code = status(t, c); code != 1 || !said(s.Problems, texts...) {
				return fmt.Errorf("exit code %d, %q", code, s.Problems)
			}
			return nil
		})
		if e := ran(c.Command("status")).want(t, 1); !strings.HasPrefix(e.out, "PROBLEMS\n") || e.err != "" {
			t.Errorf("problems do not come first:\n%s%s", e.out, e.err)
		}
		return s
	}
	well()

	t.Run("text", func(t *testing.T) {
		e := ran(c.Command("status")).want(t, 0, "west", "NODE", "VIP", "LISTENER", "SERVICE", "CERTIFICATE", ":8443", "http + tls", one.Address(), two.Address(), "shop.test")
		if strings.Count(e.out, "  leader") != 1 || strings.Count(e.out, "raft leader") != 1 && strings.Count(e.out, "leader, raft leader") != 1 {
			t.Errorf("not one leader and one raft leader:\n%s", e.out)
		}
		for line := range strings.Lines(e.out) {
			if fields := strings.Fields(line); len(fields) > 6 && fields[0] == holder.Name() && fields[6] != "leader" && fields[6] != "leader," {
				t.Errorf("the holder of the VIP is not marked as the leader: %s", line)
			}
			if strings.TrimRight(line, " \n")+"\n" != line {
				t.Errorf("spaces at the end of %q", line)
			}
		}
		for _, n := range c.Nodes() {
			ran(c.Command("status", "--node", n.Addr())).want(t, 0, "All is well.", "asked of "+n.Name())
		}
		ran(c.Command("status", "--node", n0(c)+":2381")).want(t, 0, "asked of "+n0(c))
	})
	t.Run("json", func(t *testing.T) {
		s, code := status(t, c)
		if code != 0 || !s.Quorum || s.Leader != holder.Name() || len(s.Nodes) != 3 || s.Problems == nil || s.Warnings == nil {
			t.Errorf("exit code %d, %+v", code, s)
		}
		for _, n := range s.Nodes {
			if n.State != api.Ready || n.Applied != s.Revision || n.Leader != (n.Name == holder.Name()) || n.Zone != "west" || n.Version == "" || !n.Voter {
				t.Errorf("%+v", n)
			}
		}
		if len(s.VIPs) != 1 || !s.VIPs[0].Held || s.VIPs[0].Holder != holder.Name() || s.VIPs[0].Since.IsZero() {
			t.Errorf("vips: %+v", s.VIPs)
		}
		if len(s.Listeners) != 2 || len(s.Services) != 1 || len(s.Services[0].Servers) != 2 || len(s.Services[0].Servers[0].Up) != 3 {
			t.Errorf("listeners %+v, services %+v", s.Listeners, s.Services)
		}
	})
	t.Run("asked of nobody", func(t *testing.T) {
		ran(c.Command("status", "--data", "/nosuch")).refused(t, "no node runs here", "/nosuch")
		ran(c.Command("status", "--node", c.VIP(9))).refused(t, c.VIP(9)+":2381", "refused")
		other := write(t, "other", ran(c.Command("secret", "new")).want(t, 0).out)
		ran(c.Command("status", "--node", n0(c), "--secret-file", other)).refused(t, "another secret", "ours is ", "theirs is ")
		ran(c.Command("status", "--node", n0(c), "--data", t.TempDir())).refused(t, "--secret-file FILE, or TRIPOD_SECRET")
	})

	two.SetHealthy(false)
	ill("service web", two.Address(), "down on all nodes", "503")
	two.SetHealthy(true)
	well()

	holder.Kill()
	s := ill("node "+holder.Name(), "does not answer")
	if !s.Quorum {
		t.Error("two of three are no quorum")
	}
	c.WaitHolder(c.VIP(0), testcluster.Not(holder))
	if s, _ = status(t, c); s.Leader == holder.Name() || s.Leader == "" {
		t.Errorf("%s still leads", s.Leader)
	}
	holder.Restart()
	well()
	testNoQuorum(t, c, document, well)
	c.NeverTwoHolders()
}

func n0(c *testcluster.Cluster) string { return c.Node(0).Addr() }

// testNoQuorum: with two of three gone nothing can be changed, and it is said who is missing; nothing is lost.
func testNoQuorum(t *testing.T, c *testcluster.Cluster, document string, well func()) {
	before := ran(c.Command("config", "get", "-o", "json")).want(t, 0).out
	lost := []*testcluster.Node{c.Node(0), c.Node(2)}
	for _, n := range lost {
		n.Kill()
	}
	refused := func(e ended) {
		e.refused(t, "no quorum", "2 of 3 voters", lost[0].Name(), lost[1].Name(), "nothing was changed")
	}
	refused(ran(c.CommandInput(document+"# lost?\n", "config", "apply", "-")))
	refused(ran(c.CommandInput(document+"# lost?\n", "config", "apply", "-")))
	cert, key := pair(t, time.Now().Add(time.Hour), "shop.test")
	refused(ran(c.Command("cert", "add", "--name", "shop", cert, key)))
	ran(c.CommandInput(bad, "config", "apply", "-")).want(t, 1)
	e := ran(c.Command("status")).want(t, 1, "no quorum", "NO QUORUM", "Traffic goes on", lost[0].Name(), lost[1].Name())
	if strings.Contains(e.out, "  leader") {
		t.Errorf("somebody leads without a quorum:\n%s", e.out)
	}
	c.GetVia(c.Node(1).Addr(), "http://shop.test:8080/").Want(200)
	c.GetVia(c.Node(1).Addr(), "https://shop.test:8443/").Want(200)
	ran(c.Command("env")).want(t, 0, "https://"+c.Node(1).Addr()+":2379,")

	for _, n := range lost {
		n.Start()
	}
	c.WaitReady()
	if after := ran(c.Command("config", "get", "-o", "json")).want(t, 0).out; after != before {
		t.Errorf("the document changed:\n%s", after)
	}
	well()
}
