package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tripod/node/api"
	"tripod/testcluster"
)

// An operator looks where the VIP is, moves it, and drains a node before work on it.
func TestVIPAndNodeCommands(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Flags("--zone", "west"))
	c.Apply(fmt.Sprintf("vips: [ %s/32 ]\n", c.VIP(0)))
	old := c.WaitHolder(c.VIP(0))
	var others []*testcluster.Node
	for _, n := range c.Nodes() {
		if n != old {
			others = append(others, n)
		}
	}
	to := others[0]

	t.Run("list", func(t *testing.T) {
		table := rows(ran(c.Command("vip", "list")).want(t, 0, "VIP", "HOLDER", "LAST FAILOVER").out)
		if len(table) != 1 || table[0][0] != c.VIP(0)+"/32" || table[0][1] != old.Name() || table[0][len(table[0])-1] != "-" {
			t.Errorf("vip list: %q", table)
		}
		vips := decode[[]api.VIPStatus](t, ran(c.Command("vip", "list", "-o", "json")).want(t, 0).out)
		if len(vips) != 1 || vips[0].Holder != old.Name() || !vips[0].Held || vips[0].Epoch != 1 || vips[0].Failover != nil {
			t.Errorf("vip list: %+v", vips)
		}
		table = rows(ran(c.Command("node", "list")).want(t, 0, "NODE", "STATE", "HOLDS").out)
		for i, row := range table {
			holds := "-"
			if c.Node(i) == old {
				holds = c.VIP(0)
			}
			if len(row) != 6 || row[0] != c.Node(i).Name() || row[2] != "ready" || row[3] != "west" || row[5] != holds {
				t.Errorf("node list: %q", row)
			}
		}
		nodes := decode[[]api.NodeStatus](t, ran(c.Command("node", "list", "-o", "json")).want(t, 0).out)
		if len(nodes) != 3 || len(table) != 3 || nodes[0].Drain != nil {
			t.Errorf("node list: %+v", nodes)
		}
	})
	t.Run("move", func(t *testing.T) {
		ran(c.Command("vip", "move", c.VIP(0)+"/32", to.Name())).want(t, 0, to.Name()+" holds "+c.VIP(0)+" now, after ", "before: "+old.Name())
		if now := c.Holder(c.VIP(0)); now != to {
			t.Errorf("the command has ended, and %v holds", now)
		}
		ran(c.Command("vip", "move", c.VIP(0), to.Name())).want(t, 0, to.Name()+" holds "+c.VIP(0)+" already")
		c.Wait("the move being told", func() error {
			if e := ran(c.Command("vip", "list")); !strings.Contains(e.out, "from "+old.Name()+" in ") || !strings.Contains(e.out, ": moved by ") {
				return fmt.Errorf("%s", e.out)
			}
			return nil
		})
		ran(c.Command("status")).want(t, 0, "LAST FAILOVER", "from "+old.Name()+" in ", ": moved by ")
		ran(c.Command("vip", "move", c.VIP(7))).refused(t, "no such vip in the document", "it has "+c.VIP(0))
		ran(c.Command("vip", "move", "shop")).refused(t, `"shop" is not an IP address`, "vip list")
		ran(c.Command("vip", "move", c.VIP(0), "nobody")).refused(t, "no such node", "nobody", old.Name())
		ran(c.Command("vip", "move")).want(t, 2)
	})
	t.Run("drain", func(t *testing.T) {
		ran(c.Command("node", "drain", "nobody")).refused(t, `no node is named "nobody"`, old.Name())
		ran(c.Command("node", "drain", to.Name(), "--wait", "1h")).want(t, 2, "--wait is a time from 0s to 10m0s")
		ran(c.Command("node", "drain", to.Name())).want(t, 0, to.Name()+" is draining and holds nothing")
		c.WaitHolder(c.VIP(0), testcluster.Not(to))
		ran(c.Command("node", "drain", to.Name())).want(t, 0, "was draining already and holds nothing")
		ran(c.Command("vip", "move", c.VIP(0), to.Name())).refused(t, to.Name()+" is draining; undrain it first")
		c.Wait("the state being shown", func() error {
			if e := ran(c.Command("node", "list")); !strings.Contains(e.out, "draining") || !strings.Contains(e.out, "@") {
				return fmt.Errorf("%s", e.out)
			}
			return nil
		})
		ran(c.Command("status")).want(t, 0, "All is well.", "node "+to.Name()+" is draining", "tripod node undrain "+to.Name())
		if e := ran(c.Shell(`eval "$(tripod env)"; etcdctl get --print-value-only /tripod/admin/nodes/` + to.Name())); e.code != 0 {
			t.Errorf("etcdctl: %+v", e)
		} else if drain := decode[api.Drain](t, e.out); !drain.Drain || !strings.Contains(drain.By, "@") || drain.At.IsZero() {
			t.Errorf("the key: %s", e.out)
		}
		ran(c.Command("node", "undrain", to.Name())).want(t, 0, "may hold vips again")
		ran(c.Command("node", "undrain", to.Name())).want(t, 0, "was not draining")
		ran(c.Command("node", "undrain", "nobody")).refused(t, `no node is named "nobody"`)
	})
	t.Run("drain the last", func(t *testing.T) {
		last := c.WaitHolder(c.VIP(0))
		for _, n := range c.Nodes() {
			if n != last {
				ran(c.Command("node", "drain", n.Name())).want(t, 0, "holds nothing")
			}
		}
		e := ran(c.Command("node", "drain", last.Name(), "--wait", "300ms"))
		e.want(t, 1, "warning: no other node can hold "+c.VIP(0)+" now: it stays on "+last.Name(),
			last.Name()+" is draining, but still holds "+c.VIP(0)+" after 300ms: no other node can hold it now")
		ran(c.Command("node", "drain", last.Name(), "--wait", "0s")).want(t, 0, "was draining already")
		ran(c.Command("vip", "move", c.VIP(0))).refused(t, "no other node can hold a vip now", "is draining")
		c.WaitHolder(c.VIP(0), testcluster.Is(last))
	})
	c.NeverTwoHolders()
}

// The schema and the check know what a VIP can be told.
func TestVIPKeysOfTheDocument(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	check := func(rest string) ended {
		t.Helper()
		return ran(c.Command("config", "check", write(t, "site.yaml", "vips:\n  - address: 10.0.0.100/24\n"+rest)))
	}
	check("    zone: b\n    preempt: true\n    preempt_delay: 1m\n    on_change: [ /usr/local/bin/tell, the, '24' ]\n").want(t, 0)
	check("    preemt: true\n").want(t, 1, ":3:5: ", `did you mean "preempt"?`)
	check("    preempt_delay: 1m\n").want(t, 1, ":3:20: ", "vips[0].preempt_delay: has no effect without preempt: true")
	check("    preempt: true\n    preempt_delay: 48h\n").want(t, 1, "48h0m0s is not between 0s and 24h0m0s")
	check("    on_change: /usr/local/bin/tell\n").want(t, 1, "vips[0].on_change: expected a list")
	check("    on_change: [ '' ]\n").want(t, 1, "the name of the command is empty")
	var schema map[string]any
	if err := json.Unmarshal([]byte(ran(c.Command("config", "schema")).want(t, 0, `"preempt_delay"`, `"on_change"`, `"zone"`).out), &schema); err != nil {
		t.Error(err)
	}
}
