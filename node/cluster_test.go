package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/node/etcd"
	"tripod/testcluster"
)

// members are the names of the voters, as etcd has them.
func members(t *testing.T, c *testcluster.Cluster) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	list, err := c.Etcd().MemberList(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range list.Members {
		if !m.IsLearner {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

func names(c *testcluster.Cluster) []string {
	var all []string
	for _, n := range c.Nodes() {
		all = append(all, n.Name())
	}
	slices.Sort(all)
	return all
}

func report(t *testing.T, n *testcluster.Node) etcd.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	r, err := n.Client().Report(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The whole main job: a cluster, a document, HTTP and HTTPS on every node and on the VIP, and everything kept
// over a restart of all nodes.
func TestClusterServesAndRestarts(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	document := site(c, backend)
	applied := c.Apply(document)
	if want := names(c); !slices.Equal(applied.Served, want) || !slices.Equal(members(t, c), want) {
		t.Errorf("served by %v, members %v, want %v", applied.Served, members(t, c), want)
	}
	c.WaitHolder(c.VIP(0))
	for _, address := range append(names(c), c.VIP(0)) {
		for _, url := range []string{"http://shop.test:8080/", "https://shop.test:8443/"} {
			if got := c.GetVia(address, url).Want(http.StatusOK).Body; got != "one\n" {
				t.Errorf("%s via %s answers %q", url, address, got)
			}
		}
	}
	id, authority := report(t, c.Node(0)).ClusterID, c.Authority()
	for _, n := range c.Nodes() {
		n.Stop()
	}
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.WaitReady()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	kept, err := c.Node(1).Client().Document(ctx)
	if err != nil || kept.Text != document || kept.Revision != applied.Revision {
		t.Errorf("after the restart: revision %d, want %d: %v", kept.Revision, applied.Revision, err)
	}
	if again, err := c.Node(2).Client().Authority(ctx); err != nil || again != authority {
		t.Errorf("another certificate authority after the restart (%v)", err)
	}
	if got := report(t, c.Node(0)).ClusterID; got != id {
		t.Errorf("cluster %s after the restart, was %s", got, id)
	}
	c.WaitHolder(c.VIP(0))
	c.Get("https://shop.test:8443/").Want(http.StatusOK)
	c.NeverTwoHolders()
}

// Two blank nodes and a silent third may be a cluster that lost two disks: they wait, and say for whom.
func TestBlankNodesWaitForAll(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Stopped())
	c.Node(0).Start()
	c.Node(1).Start()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	c.Wait("both saying that they wait", func() error {
		for _, n := range c.Nodes()[:2] {
			local, err := n.Client().Local(ctx)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(local.Waiting, c.Node(2).Name()+" does not answer") {
				return fmt.Errorf("%s waits for %q", n.Name(), local.Waiting)
			}
		}
		return nil
	})
	for _, n := range c.Nodes()[:2] {
		if r := report(t, n); r.Phase != etcd.Blank || r.Token != "" {
			t.Errorf("%s is %s with token %q without the third voter's word", n.Name(), r.Phase, r.Token)
		}
		if page := n.Page("/readyz"); !strings.Contains(page, c.Node(2).Name()) {
			t.Errorf("/readyz of %s does not say for whom it waits: %q", n.Name(), page)
		}
		if page := n.Page("/healthz"); page != "ok\n" {
			t.Errorf("/healthz of a waiting node: %q", page)
		}
		// Nobody is to give it a VIP or raft leadership yet, as what is listed of it from before may have them do.
		var failure *api.Failure
		if beat, err := n.Client().Beat(ctx); !errors.As(err, &failure) || failure.Status != http.StatusServiceUnavailable {
			t.Errorf("the heartbeat of a waiting node: %v, %v", beat, err)
		}
	}
	c.Node(2).Start()
	c.WaitReady()
	for _, n := range c.Nodes() {
		beat, err := n.Client().Beat(ctx)
		if err == nil {
			_, err = beat.Read(make([]byte, 1))
			beat.Close()
		}
		if err != nil {
			t.Errorf("the heartbeat of %s: %v", n.Name(), err)
		}
	}
}

// A wiped disk: the same command joins the living cluster; the member that lost its log is replaced, never
// started anew under its old identity.
func TestWipedNodeJoins(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	c.Apply(site(c, backend))
	before := report(t, c.Node(0))
	lost := c.Node(2)
	lostID := report(t, lost).MemberID
	lost.Kill()
	lost.Wipe()
	lost.Restart()
	after := report(t, lost)
	if after.ClusterID != before.ClusterID {
		t.Errorf("the wiped node is in cluster %s, want %s", after.ClusterID, before.ClusterID)
	}
	if after.MemberID == lostID {
		t.Errorf("the wiped node votes as member %s, which it has forgotten", lostID)
	}
	if got := members(t, c); !slices.Equal(got, names(c)) {
		t.Errorf("voters %v, want %v", got, names(c))
	}
	c.GetVia(lost.Addr(), "https://shop.test:8443/").Want(http.StatusOK)
	// It carries its share of the quorum: with another node gone, the cluster still takes a change.
	c.Node(0).Kill()
	c.Wait("a change with the rejoined node's vote", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := c.Etcd().Put(ctx, "/test", "value")
		return err
	})
}

// All disks but one lost: nobody forms a second cluster beside the survivor's.
func TestBlankMajorityDoesNotFormAnother(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	id := report(t, c.Node(0)).ClusterID
	for _, n := range c.Nodes() {
		n.Kill()
	}
	c.Node(1).Wipe()
	c.Node(2).Wipe()
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.Wait("the blank nodes finding the survivor", func() error {
		for _, n := range c.Nodes()[1:] {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			local, err := n.Client().Local(ctx)
			if err != nil {
				return err
			}
			if !strings.Contains(local.Waiting, "does not admit this node yet") {
				return fmt.Errorf("%s: %q", n.Name(), local.Waiting)
			}
		}
		return nil
	})
	for _, n := range c.Nodes()[1:] {
		if r := report(t, n); r.Phase != etcd.Blank {
			t.Errorf("%s is %s beside a member of cluster %s", n.Name(), r.Phase, id)
		}
	}
}

// Data that does not open, or that has lost what it had acknowledged, is moved aside, and the node joins as a
// blank one: by the same command, at the first start.
func TestDamagedDataIsMovedAside(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(site(c, testcluster.StartBackend(t, "one", nil)))
	log := func(n *testcluster.Node) string {
		logs, err := filepath.Glob(filepath.Join(n.Folder(), "etcd", "member", "wal", "*.wal"))
		if err != nil || len(logs) == 0 {
			t.Fatalf("no write-ahead log: %v", err)
		}
		return logs[len(logs)-1]
	}
	store := func(n *testcluster.Node) string { return filepath.Join(n.Folder(), "etcd", "member", "snap", "db") }
	for i, damage := range []struct {
		name string
		do   func(*testcluster.Node) error
	}{
		{"log overwritten at its head", func(n *testcluster.Node) error { return overwrite(log(n), 200, 64) }},
		{"log cut to its half", func(n *testcluster.Node) error { return cutHalf(log(n)) }},
		{"store overwritten", func(n *testcluster.Node) error { return overwrite(store(n), 0, 9000) }},
		{"store cut short", func(n *testcluster.Node) error { return os.Truncate(store(n), 5000) }},
		{"store gone", func(n *testcluster.Node) error { return os.Remove(store(n)) }},
	} {
		n := c.Node(i % 3)
		n.Kill()
		if err := damage.do(n); err != nil {
			t.Fatal(err)
		}
		before, err := filepath.Glob(n.Folder() + ".broken-*")
		if err != nil {
			t.Fatal(err)
		}
		n.Restart()
		after, err := filepath.Glob(n.Folder() + ".broken-*")
		if err != nil || len(after) != len(before)+1 {
			t.Errorf("%s: moved aside %d, %v", damage.name, len(after)-len(before), err)
		}
		if got := members(t, c); !slices.Equal(got, names(c)) {
			t.Errorf("%s: voters %v, want %v", damage.name, got, names(c))
		}
	}
}

func overwrite(file string, at int64, n int) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(bytes.Repeat([]byte{0xa5}, n), at)
	return err
}

// cutHalf cuts what is used of a log, which is filled up with zeros.
func cutHalf(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.Truncate(file, int64(len(bytes.TrimRight(text, "\x00"))/2))
}

// What the machine lacks is no fault of the data: it stays where it is.
func TestHealthyDataIsKept(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	n := c.Node(0)
	n.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	starved := exec.CommandContext(ctx, "prlimit", append([]string{"--nofile=28:28", os.Args[0]}, n.Args()...)...)
	starved.Env = c.Environment()
	output, err := starved.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("with 28 file descriptors: %v, want exit code 1: %s", err, output)
	}
	if aside, _ := filepath.Glob(n.Folder() + ".broken-*"); len(aside) > 0 {
		t.Errorf("moved aside for want of file descriptors: %s", output)
	}
	n.Restart()
}

// All nodes are killed at some moment of their first start. Whatever of it had reached the disks, the same
// command makes a cluster.
func TestKilledWhileForming(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.Stopped())
	for i := range 8 {
		for _, n := range c.Nodes() {
			n.Start()
		}
		time.Sleep(time.Duration(40+40*i) * time.Millisecond) // not for luck: the moment is what is varied
		for _, n := range c.Nodes() {
			n.Kill()
		}
		for _, n := range c.Nodes() {
			n.Start()
		}
		c.WaitReady()
		for _, n := range c.Nodes() {
			n.Kill()
			n.Wipe()
		}
	}
}

// Without a quorum traffic goes on, also after a restart, from what is on disk; nobody holds the VIP, and
// nothing can be changed.
func TestFailStatic(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	document := site(c, backend)
	c.Apply(document)
	c.WaitHolder(c.VIP(0))
	c.GetVia(c.Node(0).Addr(), "https://shop.test:8443/").Want(http.StatusOK) // asks for the authority while it is there
	c.Node(1).Kill()
	c.Node(2).Kill()
	survivor := c.Node(0)
	c.Wait("nobody holding the VIP", func() error {
		if h := c.Holder(c.VIP(0)); h != nil {
			return fmt.Errorf("%s holds it", h.Name())
		}
		return nil
	})
	c.GetVia(survivor.Addr(), "https://shop.test:8443/").Want(http.StatusOK)
	if _, err := c.TryApply(document + "# more\n"); err == nil || !strings.Contains(err.Error(), "no quorum") ||
		!strings.Contains(err.Error(), c.Node(1).Name()+" and "+c.Node(2).Name()) {
		t.Errorf("apply without a quorum: %v", err)
	}
	if s := c.Status(); s.Quorum || len(s.Problems) == 0 || !strings.Contains(s.Problems[0], "no quorum") {
		t.Errorf("status does not begin with the lost quorum: %q", s.Problems)
	}
	survivor.Kill()
	survivor.Start()
	c.Wait("traffic after a restart without a quorum", func() error {
		response, err := c.HTTPClient(survivor.Addr(), true).Get("https://shop.test:8443/")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	if page := survivor.Page("/readyz"); !strings.Contains(page, "not a member of the cluster yet") {
		t.Errorf("/readyz without a quorum: %q", page)
	}
	c.Node(1).Start()
	c.Node(1).WaitReady()
	survivor.WaitReady()
	c.WaitHolder(c.VIP(0))
	c.NeverTwoHolders()
}

// A key that somebody deletes or overwrites is put right: what nodes say about themselves does not rest on
// nobody touching it.
func TestNodeKeyIsRestored(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	key := "/tripod/nodes/" + c.Node(0).Name()
	if _, err := c.Etcd().Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	c.Wait("the node's key", func() error {
		reply, err := c.Etcd().Get(ctx, key)
		if err == nil && len(reply.Kvs) == 0 {
			err = fmt.Errorf("still gone")
		}
		return err
	})
}
