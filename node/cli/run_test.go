package cli_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"tripod/testcluster"
)

var startedAs = regexp.MustCompile(`msg=starting .*node=(\S+)`)

// The same command typed in three terminals makes one cluster; in a fourth it is refused.
func TestRunInThreeTerminals(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Stopped())
	document := site(c, testcluster.StartBackend(t, "one", nil))
	command := []string{"run", "--nodes", c.List(), "--config", write(t, "site.yaml", document)}
	terminals := []*testcluster.Process{c.Spawn(command...), c.Spawn(command...), c.Spawn(command...)}
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	names := map[string]bool{}
	for _, p := range terminals {
		if m := startedAs.FindStringSubmatch(p.Err()); m != nil {
			names[m[1]] = true
		}
	}
	if len(names) != 3 {
		t.Fatalf("the three terminals run %v", names)
	}
	c.Wait("one cluster that serves the document", func() error {
		if s, code := status(t, c); code != 0 || len(s.Nodes) != 3 || len(s.VIPs) != 1 || s.Revision == 0 {
			return fmt.Errorf("exit code %d, %+v", code, s)
		}
		return nil
	})
	for _, address := range []string{c.Node(0).Addr(), c.Node(1).Addr(), c.Node(2).Addr(), c.VIP(0)} {
		c.GetVia(address, "http://shop.test:8080/").Want(200)
	}
	if got := ran(c.Command("config", "get")); got.out != document {
		t.Errorf("--config became\n%s", got.out)
	}

	fourth := ran(c.Command(command...))
	fourth.refused(t, "already running", c.Node(0).Addr(), c.Node(1).Addr(), c.Node(2).Addr(), "--nodes")
	ran(c.Command(append(command, "--self", c.Node(1).Addr())...)).refused(t, c.Node(1).Addr()+":2381", "already running")
	for _, p := range terminals {
		if !p.Running() {
			t.Fatal("the fourth ended one of the three")
		}
	}

	// Ctrl-C ends each with code 0. The same command starts them again, with what they had; what --config says
	// does not count any more.
	for _, p := range terminals {
		p.Signal(syscall.SIGINT)
	}
	for _, p := range terminals {
		if code := p.Wait(); code != 0 {
			t.Errorf("Ctrl-C ended a node with code %d:\n%s", code, p.Err())
		}
		if line, _ := complaint(p.Err()); line != "" {
			t.Errorf("a clean stop complains: %s", line)
		}
	}
	command[len(command)-1] = write(t, "other.yaml", "access_log: off\n")
	for i := range terminals {
		terminals[i] = c.Spawn(command...)
	}
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	if got := ran(c.Command("config", "get")); got.out != document {
		t.Errorf("after a restart with another --config:\n%s%s", got.out, got.err)
	}
	if !strings.Contains(terminals[0].Err()+terminals[1].Err()+terminals[2].Err(), "--config is ignored") {
		t.Error("no node says that --config is ignored")
	}
}

// Every flag has an environment variable.
func TestRunByEnvironment(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	secret := ran(c.Command("secret", "new")).want(t, 0).out
	admin := net.JoinHostPort(c.VIP(60), "7777")
	p := c.Program("run")
	p.Env = append(p.Env, "TRIPOD_NODES=ann="+c.Node(0).Addr(), "TRIPOD_SELF=ann", "TRIPOD_ADMIN="+admin, "TRIPOD_ZONE=west",
		"TRIPOD_SECRET="+secret, "TRIPOD_LOG_FORMAT=json", "TRIPOD_LOG_LEVEL=warn", "TRIPOD_CONFIG="+write(t, "site.yaml", "access_log: off\n"))
	process := c.SpawnProgram(p)
	c.Wait("the node", func() error {
		s, code := status(t, c)
		if code != 0 || len(s.Nodes) != 1 || s.Nodes[0].Name != "ann" || s.Nodes[0].Zone != "west" || s.Revision == 0 {
			return fmt.Errorf("exit code %d, %+v\n%s", code, s, process.Err())
		}
		return nil
	})
	if text := c.GetVia(c.VIP(60), "http://"+admin+"/metrics").Want(200).Body; !strings.Contains(text, "tripod_node_ready 1") {
		t.Errorf("TRIPOD_ADMIN: no metrics at %s", admin)
	}
	if _, err := os.Stat(filepath.Join(c.Dir(), "ann", "tripod.sock")); err != nil {
		t.Errorf("TRIPOD_DATA: %v", err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir(), "secret")); err == nil {
		t.Error("TRIPOD_SECRET is set, and another secret was made")
	}
	ran(c.CommandEnv([]string{"TRIPOD_SECRET=" + secret}, "status", "--node", c.Node(0).Addr())).want(t, 0, "All is well.")
	process.Signal(syscall.SIGTERM)
	if code := process.Wait(); code != 0 || strings.Contains(process.Err(), "INFO") {
		t.Errorf("code %d, and with TRIPOD_LOG_LEVEL=warn it said:\n%s", code, process.Err())
	}
	for line := range strings.Lines(process.Err()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("TRIPOD_LOG_FORMAT=json: %s", line)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	for text, args := range map[string][]string{
		"foo":                     {"foo"},
		"--bogus":                 {"run", "--bogus"},
		"--nodse":                 {"run", "--nodse", "127.0.0.1"},
		`"check", "apply", "get"`: {"config"},
		"<file>":                  {"config", "apply"},
		"--if-revision":           {"config", "apply", "--if-revision", "old", "x.yaml"},
		`"text","json"`:           {"status", "-o", "yaml"},
		"--for":                   {"demo", "--for", "ever"},
		"--log-level":             {"run", "--log-level", "loud"},
		"<revision>":              {"config", "rollback"},
	} {
		e := ran(c.Command(args...))
		if line, ok := complaint(e.err); e.code != 2 || !ok || !strings.Contains(line, text) || !strings.Contains(line, "see tripod --help") || e.out != "" {
			t.Errorf("tripod %s: exit code %d, want 2 and one line with %s:\n%s%s", strings.Join(args, " "), e.code, text, e.out, e.err)
		}
	}
	help := ran(c.Command("--help")).want(t, 0, "run", "demo", "status", "config", "cert", "secret", "env", "version")
	if nothing := ran(c.Command()).want(t, 0); nothing.out != help.out || help.err != "" || strings.Contains(help.out, "demo-server") {
		t.Errorf("help: %s%s", help.out, help.err)
	}
	ran(c.Command("run", "--help")).want(t, 0, "--nodes", "$TRIPOD_NODES", "--self", "--secret-file", "TRIPOD_SECRET", "--data", "--config", "--zone", "--admin", "2382")
	ran(c.Command("version")).want(t, 0, "tripod 0.")
	one, two := ran(c.Command("secret", "new")).want(t, 0).out, ran(c.Command("secret", "new")).out
	if one == two || strings.Count(one, "\n") != 1 || len(one) < 32 {
		t.Errorf("secrets %q and %q", one, two)
	}
}
