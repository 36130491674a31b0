package cli_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"tripod/node/config"
	"tripod/testcluster"
	tripodtls "tripod/tls"
)

// What run refuses at once: one clear line, and no trace.
func TestRunRefuses(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	me, other := c.Node(0).Addr(), c.VIP(1)
	folder := write(t, "file", "not a folder") + "/data"
	for name, refusal := range map[string]struct {
		args  []string
		texts []string
	}{
		"no address is mine":     {[]string{"--nodes", "10.9.9.1,10.9.9.2,10.9.9.3"}, []string{"no address in --nodes 10.9.9.1,10.9.9.2,10.9.9.3 is mine", "this machine has 127.0.0.1", "--nodes"}},
		"one address twice":      {[]string{"--nodes", "a=" + me + ",b=" + me}, []string{"a=" + me + " and b=" + me + " claim one address"}},
		"one name twice":         {[]string{"--nodes", "a=" + me + ",a=" + other}, []string{"claim one name"}},
		"no address":             {[]string{"--nodes", "web1,web2,web3"}, []string{`"web1" is not an IP address`, "name=addr"}},
		"an empty entry":         {[]string{"--nodes", me + ","}, []string{`--nodes: ""`}},
		"the wildcard":           {[]string{"--nodes", "0.0.0.0"}, []string{"0.0.0.0 cannot be a node's address"}},
		"self is not listed":     {[]string{"--nodes", me, "--self", other}, []string{"--self " + other + " is not in --nodes " + me}},
		"self is elsewhere":      {[]string{"--nodes", "10.9.9.1," + me + "," + other, "--self", "10.9.9.1"}, []string{"10.9.9.1 is not an address of this machine", "--self"}},
		"a network, no secret":   {[]string{"--nodes", me + ",10.9.9.2,10.9.9.3"}, []string{"needs a secret", "tripod secret new", "--secret-file"}},
		"a secret that is short": {[]string{"--nodes", me, "--secret-file", write(t, "short", "abc\n")}, []string{"short", "3 characters", "at least 16"}},
		"no secret file":         {[]string{"--nodes", me, "--secret-file", "/nosuch/secret"}, []string{"/nosuch/secret does not exist", "tripod secret new"}},
		"a folder below a file":  {[]string{"--nodes", me, "--data", folder}, []string{"data folder " + folder, "not writable", "--data"}},
		"an odd admin address":   {[]string{"--nodes", me, "--admin", "2382"}, []string{`--admin: "2382" is not address:port`}},
		"admin elsewhere":        {[]string{"--nodes", me, "--admin", "10.9.9.1:80"}, []string{"10.9.9.1:80", "--admin"}},
		"a bad document":         {[]string{"--nodes", c.VIP(2), "--config", write(t, "bad.yaml", bad)}, []string{"bad.yaml" + badPlace, badWord}},
		"a large document":       {[]string{"--nodes", c.VIP(3), "--config", write(t, "big.yaml", strings.Repeat("#\n", config.MaxSize/2+1))}, []string{"big.yaml", "the limit is 2 MiB"}},
		"no document":            {[]string{"--nodes", c.VIP(4), "--config", "/nosuch.yaml"}, []string{"--config", "/nosuch.yaml", "no such file"}},
		"a folder as a document": {[]string{"--nodes", c.VIP(5), "--config", t.TempDir()}, []string{"--config", "is a directory"}},
	} {
		t.Run(name, func(t *testing.T) {
			ran(c.Command(append([]string{"run"}, refusal.args...)...)).refused(t, refusal.texts...)
		})
	}
	// Two secrets at once.
	secret := write(t, "secret", tripodtls.NewSecret()+"\n")
	ran(c.CommandEnv([]string{"TRIPOD_SECRET=" + tripodtls.NewSecret()}, "run", "--nodes", me, "--secret-file", secret)).refused(t, "TRIPOD_SECRET", "--secret-file")
	// After all that, the right command works on the same folder.
	p := c.Spawn("run", "--nodes", me)
	c.Node(0).WaitReady()
	// With no document yet: what it keeps for a start without the others is kept, without a complaint.
	c.Wait("the certificates on disk", func() error {
		_, err := os.Stat(filepath.Join(c.Node(0).Folder(), "cache", "certificates"))
		if strings.Contains(p.Err(), "level=ERROR") {
			return nil // reported below
		}
		return err
	})
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("ended with code %d", code)
	}
	if line, _ := complaint(p.Err()); line != "" {
		t.Errorf("a node that lacks nothing complains: %s", line)
	}
}

// A taken port is named, with what it is for and what to do; and nothing of the node stays behind.
func TestRunTakenPorts(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	for host, taken := range []struct {
		port  int
		texts []string
	}{
		{2379, []string{"port 2379 for etcd clients is taken", "--nodes", "--self"}},
		{2380, []string{"port 2380 for etcd peers is taken", "--nodes", "--self"}},
		{2381, []string{"the node API's port is taken", ":2381", "--nodes", "--self"}},
		{2382, []string{":2382 is taken", "--admin"}},
	} {
		t.Run(strconv.Itoa(taken.port), func(t *testing.T) {
			address := c.VIP(host)
			squatter, err := net.Listen("tcp", net.JoinHostPort(address, strconv.Itoa(taken.port)))
			if err != nil {
				t.Fatal(err)
			}
			defer squatter.Close()
			ran(c.Command("run", "--nodes", address)).refused(t, append(taken.texts, address)...)
			if taken.port == 2382 { // the way out that the line names
				p := c.Spawn("run", "--nodes", address, "--admin", net.JoinHostPort(c.VIP(9), "2382"))
				c.Wait("the node with another --admin", func() error {
					if s, code := status(t, c); code != 0 {
						return fmt.Errorf("exit code %d, %q", code, s.Problems)
					}
					return nil
				})
				p.Signal(syscall.SIGTERM)
				if code := p.Wait(); code != 0 {
					t.Errorf("ended with code %d", code)
				}
			}
		})
	}
}

// The data folder of another secret, or of another address, is refused and stays as it is.
func TestRunForeignData(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	run := func(list string, more ...string) *testcluster.Process {
		t.Helper()
		p := c.Spawn(append([]string{"run", "--nodes", list}, more...)...)
		c.Wait("the node", func() error {
			if s, code := status(t, c); code != 0 {
				return fmt.Errorf("exit code %d, %q", code, s.Problems)
			}
			return nil
		})
		return p
	}
	stop := func(p *testcluster.Process) {
		t.Helper()
		p.Signal(syscall.SIGTERM)
		if code := p.Wait(); code != 0 {
			t.Errorf("ended with code %d", code)
		}
	}
	p := run("ann=" + c.VIP(1))
	ran(c.CommandInput("# kept\n", "config", "apply", "-")).want(t, 0)
	ran(c.Command("run", "--nodes", "ann="+c.VIP(2))).refused(t, "data folder "+filepath.Join(c.Dir(), "ann")+" is in use", "--data")
	stop(p)

	secret := write(t, "secret", tripodtls.NewSecret()+"\n")
	ran(c.Command("run", "--nodes", "ann="+c.VIP(1), "--secret-file", secret)).refused(t, "another secret", fingerprint(t, secret), fingerprint(t, filepath.Join(c.Dir(), "secret")), "--data")
	ran(c.Command("run", "--nodes", "ann="+c.VIP(2))).refused(t, "data folder of another cluster", "ann", c.VIP(1), c.VIP(2), "--data")

	p = run("ann=" + c.VIP(1))
	if got := ran(c.Command("config", "get")); got.out != "# kept\n" {
		t.Errorf("the document was lost: %s%s", got.out, got.err)
	}
	stop(p)
}

func fingerprint(t *testing.T, file string) string {
	t.Helper()
	secret, err := tripodtls.ReadSecret(file)
	if err != nil {
		t.Fatal(err)
	}
	return secret.Fingerprint()
}

// Two voters are allowed, with a warning that says why not; each says for whom it waits.
func TestRunEvenVoters(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 2, testcluster.Stopped())
	p := c.Spawn("run", "--nodes", c.List())
	c.Wait("the warning, and for whom it waits", func() error {
		said := p.Err()
		for _, text := range []string{"level=WARN", "2 voters survive the loss of 0", "odd number in --nodes", "waiting to form or join", c.Node(1).Name() + " does not answer"} {
			if !strings.Contains(said, text) {
				return fmt.Errorf("%q is not said in\n%s", text, said)
			}
		}
		return nil
	})
	if page := c.GetVia(c.Node(0).Addr(), c.Node(0).Admin()+"/readyz").Want(503); !strings.Contains(page.Body, c.Node(1).Name()+" does not answer") {
		t.Errorf("/readyz: %s", page.Body)
	}
	e := ran(c.Command("status")).want(t, 1, "no quorum", c.Node(1).Name()+" does not answer", "2 voters bear the loss of no more")
	if strings.Contains(e.out, "All is well") {
		t.Error(e.out)
	}
	ran(c.CommandInput("# first\n", "config", "apply", "-")).refused(t, "not a member of the cluster yet", c.Node(1).Name())
	// It can be interrupted while it waits, and started again beside the other.
	p.Signal(syscall.SIGINT)
	if code := p.Wait(); code != 0 {
		t.Errorf("interrupted while it waited: code %d:\n%s", code, p.Err())
	}
	for range 2 {
		c.Spawn("run", "--nodes", c.List())
	}
	for _, n := range c.Nodes() {
		n.WaitReady()
	}
	ran(c.Command("status")).want(t, 0, "All is well.", "2 voters bear the loss of no more")
}

// A node with another secret gets nowhere, and both sides say so, with both fingerprints, within seconds: while a
// cluster lives, and while it forms.
func TestRunWrongSecret(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	odd, others := c.Node(2), []*testcluster.Node{c.Node(0), c.Node(1)}
	wrong := write(t, "wrong", tripodtls.NewSecret()+"\n")
	theirs, ours := fingerprint(t, wrong), fingerprint(t, filepath.Join(c.Dir(), "secret"))
	// said waits until one line of the node's log, after a place in it, says all of the texts.
	said := func(n *testcluster.Node, after int, texts ...string) {
		t.Helper()
		c.Wait(n.Name()+" saying it", func() error {
			for line := range strings.Lines(n.Log()[after:]) {
				if containsAll(line, texts) {
					return nil
				}
			}
			return fmt.Errorf("no line with %q", texts)
		})
	}

	// With the folder of the right secret it does not even start.
	odd.Stop()
	odd.SetFlags("--secret-file", wrong)
	before := len(odd.Log())
	odd.Start()
	if code := odd.Exited(); code != 1 {
		t.Errorf("with a folder of another secret: code %d", code)
	}
	said(odd, before, "tripod: data folder", odd.Folder(), theirs, ours)

	// As a new disk with a wrong secret. The members do not call it; that it refuses them tells them.
	aside := odd.Folder() + ".aside"
	if err := os.Rename(odd.Folder(), aside); err != nil {
		t.Fatal(err)
	}
	before = len(odd.Log())
	odd.Start()
	for _, n := range others {
		said(odd, before, n.Addr(), "another secret", "ours is "+theirs, "theirs is "+ours, "same secret")
		said(n, 0, "level=WARN", "another secret", ours, "same secret")
	}
	ran(c.Command("status", "--node", others[0].Addr())).want(t, 1, "node "+odd.Name()+" does not answer", "another secret", "ours is "+ours, "theirs is "+theirs)
	odd.Kill()
	odd.Wipe()
	if err := os.Rename(aside, odd.Folder()); err != nil {
		t.Fatal(err)
	}
	odd.SetFlags()
	odd.Restart()
	ran(c.Command("status")).want(t, 0, "All is well.")

	// Three new disks: the two wait for the third, and know why.
	for _, n := range c.Nodes() {
		n.Kill()
		n.Wipe()
	}
	odd.SetFlags("--secret-file", wrong)
	places := []int{len(others[0].Log()), len(others[1].Log()), len(odd.Log())}
	for _, n := range c.Nodes() {
		n.Start()
	}
	for i, n := range others {
		said(n, places[i], odd.Addr(), "another secret", "ours is "+ours, "theirs is "+theirs, "same secret")
		said(odd, places[2], n.Addr(), "another secret", "ours is "+theirs, "theirs is "+ours, "same secret")
	}
	odd.Kill()
	odd.Wipe()
	odd.SetFlags()
	odd.Start()
	c.WaitReady()
}
