package node_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/testcluster"
)

// hookLog is what a hook has written, line by line.
func hookLog(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// The command runs where the state changes, and nowhere else: on the holder, on the one that it took over from, and on one
// that was killed as the holder, once it is back.
func TestHooks(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	log := filepath.Join(c.Dir(), "hooks")
	script := c.File("hook.sh", "echo \"$TRIPOD_NODE $TRIPOD_STATE $TRIPOD_VIP $1\" >> "+log+"\n")
	c.Apply(vipsDocument(c, ", on_change: [ sh, "+script+", 'one  word' ]"))
	// expect waits until that is what each of the nodes was told last. A busy machine may let go and take again in between.
	expect := func(states map[*testcluster.Node]string) {
		t.Helper()
		c.Wait("the commands having run", func() error {
			lines := hookLog(t, log)
			for n, state := range states {
				want, last := fmt.Sprintf("%s %s %s one  word", n.Name(), state, c.VIP(0)), ""
				for _, line := range lines {
					if strings.HasPrefix(line, n.Name()+" ") {
						last = line
					}
				}
				if last != want {
					return fmt.Errorf("%q is not the last of %s in %q", want, n.Name(), lines)
				}
			}
			return nil
		})
	}
	first := c.WaitHolder(c.VIP(0))
	lines := map[*testcluster.Node]string{}
	for _, n := range c.Nodes() {
		lines[n] = "backup"
	}
	lines[first] = "holder"
	expect(lines)

	first.Kill()
	second := c.WaitHolder(c.VIP(0), testcluster.Not(first))
	expect(map[*testcluster.Node]string{second: "holder"})
	first.Restart()
	expect(map[*testcluster.Node]string{first: "backup"})
	c.Wait("the move, once the others know that "+first.Name()+" is ready", func() error {
		_, err := second.Client().MoveVIP(within(t), api.MoveRequest{Address: netip.MustParseAddr(c.VIP(0)), To: first.Name()})
		return err
	})
	expect(map[*testcluster.Node]string{first: "holder", second: "backup"})
	first.Stop()
	third := c.WaitHolder(c.VIP(0), testcluster.Not(first))
	expect(map[*testcluster.Node]string{first: "backup", third: "holder"})

	// A VIP that leaves the document is told to its holder.
	c.Apply("vips: []\n")
	expect(map[*testcluster.Node]string{third: "backup"})
	if got := metric(t, third, fmt.Sprintf(`tripod_hook_runs_total{address=%q,result="ok"}`, c.VIP(0))); got == "" || got == "0" {
		t.Errorf("tripod_hook_runs_total: %q", got)
	}
	if problems := c.Status().Problems; len(problems) != 1 || !strings.Contains(problems[0], first.Name()+" does not answer") {
		t.Errorf("problems: %q", problems)
	}
	c.NeverTwoHolders()
}

// Changes that come faster than the command runs are not queued: it is told the last, and runs once at a time.
func TestHooksCoalesce(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	log := filepath.Join(c.Dir(), "hooks")
	script := c.File("hook.sh", "echo \"$TRIPOD_STATE\" >> "+log+".$TRIPOD_NODE; sleep 1; echo end >> "+log+".$TRIPOD_NODE\n")
	c.Apply(vipsDocument(c, ", on_change: [ sh, "+script+" ]"))
	one := c.WaitHolder(c.VIP(0))
	other := c.Node(0)
	if other == one {
		other = c.Node(1)
	}
	const moves = 11 // so that the other one has it in the end
	for i := range moves {
		to := []*testcluster.Node{other, one}[i%2]
		if _, err := one.Client().MoveVIP(within(t), api.MoveRequest{Address: netip.MustParseAddr(c.VIP(0)), To: to.Name()}); err != nil {
			t.Fatal(err)
		}
	}
	for n, state := range map[*testcluster.Node]string{one: "backup", other: "holder"} {
		var lines []string
		c.Wait("the last state being told on "+n.Name(), func() error {
			lines = hookLog(t, log+"."+n.Name())
			if k := len(lines); k < 2 || lines[k-1] != "end" || lines[k-2] != state {
				return fmt.Errorf("%q", lines)
			}
			return nil
		})
		for i, line := range lines {
			if (line == "end") != (i%2 == 1) {
				t.Errorf("%s: two at a time: %q", n.Name(), lines)
				break
			}
		}
		if len(lines)/2 >= moves {
			t.Errorf("%s: every one of %d changes was told: %q", n.Name(), moves, lines)
		}
	}
	c.NeverTwoHolders()
}

// Commands that are missing, fail or hang cost a line in the log, one in the status and a count in the metric, and never a VIP.
func TestHooksThatDoNotWork(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	script := c.File("fails.sh", "echo no such mailbox >&2; exit 3\n")
	const missing, hangs = ", on_change: [ /no/such/command ]", ", on_change: [ sleep, '20' ]"
	fails := ", on_change: [ sh, " + script + " ]"
	c.Apply(vipsDocument(c, missing, fails, hangs))
	var holders []*testcluster.Node
	for i := range 3 {
		holders = append(holders, c.WaitHolder(c.VIP(i)))
	}
	// The one that hangs does so on every node now, and the VIP moves all the same.
	next := holders[0]
	if _, err := next.Client().MoveVIP(within(t), api.MoveRequest{Address: netip.MustParseAddr(c.VIP(2)), To: next.Name()}); err != nil {
		t.Fatal(err)
	}
	problem := func(texts ...string) {
		t.Helper()
		c.Wait("the problem", func() error {
			problems := c.Status().Problems
			for _, p := range problems {
				all := true
				for _, text := range texts {
					all = all && strings.Contains(p, text)
				}
				if all {
					return nil
				}
			}
			return fmt.Errorf("%q not in %q", texts, problems)
		})
	}
	problem("on_change of vip "+c.VIP(0)+" on "+holders[0].Name(), "/no/such/command (holder)", "no such file")
	problem("on_change of vip "+c.VIP(1)+" on "+holders[1].Name(), "sh (holder): exit status 3: no such mailbox")
	problem("on_change of vip "+c.VIP(2)+" on "+holders[2].Name(), "sleep (holder): did not end within 10s and was killed")
	for i, result := range []string{"missing", "failed", "timeout"} {
		name := fmt.Sprintf("tripod_hook_runs_total{address=%q,result=%q}", c.VIP(i), result)
		if got := metric(t, holders[i], name); got == "" || got == "0" {
			t.Errorf("%s: %q", name, got)
		}
	}
	c.WaitHolder(c.VIP(2), testcluster.Is(next))

	// Another command, or a success, and it is forgotten.
	c.Apply(vipsDocument(c, ", on_change: [ 'true' ]", fails, ""))
	if err := os.WriteFile(script, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Nodes() {
		if _, err := n.Client().MoveVIP(within(t), api.MoveRequest{Address: netip.MustParseAddr(c.VIP(1)), To: n.Name()}); err != nil {
			t.Fatal(err)
		}
	}
	c.Wait("all being well", func() error {
		if problems := c.Status().Problems; len(problems) > 0 {
			return fmt.Errorf("%q", problems)
		}
		return nil
	})
	c.NeverTwoHolders()
}

// A node that stops does not wait for a command that hangs for longer than a few seconds.
func TestHangingHookDoesNotKeepANodeFromStopping(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(vipsDocument(c, ", on_change: [ sleep, '20' ]"))
	holder := c.WaitHolder(c.VIP(0))
	began := time.Now()
	holder.Stop()
	if took := time.Since(began); took > 14*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	c.WaitHolder(c.VIP(0), testcluster.Not(holder))
	c.NeverTwoHolders()
}
