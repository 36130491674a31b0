package node_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"tripod/testcluster"
)

// The holder is killed: another node holds the VIP and serves it; no two ever did.
func TestKilledHolderIsReplaced(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	c.Apply(site(c, backend))
	for range 3 {
		old := c.WaitHolder(c.VIP(0))
		c.Get("http://shop.test:8080/").Want(http.StatusOK)
		old.Kill()
		c.WaitHolder(c.VIP(0), testcluster.Not(old))
		c.Get("http://shop.test:8080/").Want(http.StatusOK)
		old.Restart()
	}
	c.NeverTwoHolders()
	if leader := c.Status().Leader; leader != c.WaitHolder(c.VIP(0)).Name() {
		t.Errorf("status calls %q the leader, which does not hold the first VIP", leader)
	}
}

// A stopped process cannot drop anything. The others wait until its right has ended, and it finds that out
// before it does anything else when it goes on.
func TestPausedHolderIsReplaced(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	c.Apply(site(c, backend))
	old := c.WaitHolder(c.VIP(0))
	old.Pause()
	now := c.WaitHolder(c.VIP(0), testcluster.Not(old))
	old.Resume()
	c.Wait("the former holder to let go", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
		defer cancel()
		local, err := old.Client().Local(ctx)
		if err == nil && len(local.Held) > 0 {
			err = fmt.Errorf("%s still says that it holds %s", old.Name(), c.VIP(0))
		}
		return err
	})
	c.WaitHolder(c.VIP(0), testcluster.Is(now))
	c.Wait("the VIP being served by its holder", func() error {
		response, err := c.HTTPClient(c.VIP(0), false).Get("http://shop.test:8080/")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
	c.NeverTwoHolders()
}

// A clean stop moves the VIP without waiting for anybody's time to end, and without a failed request.
func TestCleanStopHandsOver(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	c.Apply(site(c, backend))
	old := c.WaitHolder(c.VIP(0))
	old.Stop()
	next := c.WaitHolder(c.VIP(0), testcluster.Not(old))
	c.Get("http://shop.test:8080/").Want(http.StatusOK)
	if log := next.Log(); !strings.Contains(log, "vip released by its former holder") {
		t.Errorf("%s waited for the former holder's time instead of its acknowledgement", next.Name())
	}
	c.NeverTwoHolders()
}

// Only the holder answers on the VIP; a VIP that leaves the document is served by nobody.
func TestVIPFollowsTheDocument(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	document := site(c, backend)
	c.Apply(document)
	holder := c.WaitHolder(c.VIP(0))
	if got := metric(t, holder, fmt.Sprintf("tripod_vip_held{address=%q}", c.VIP(0))); got != "1" {
		t.Errorf("tripod_vip_held on the holder: %q", got)
	}
	two := strings.Replace(document, "vips: [ ", fmt.Sprintf("vips: [ %s/32, ", c.VIP(1)), 1)
	c.Apply(two)
	first, second := c.WaitHolder(c.VIP(0)), c.WaitHolder(c.VIP(1))
	if first == second {
		t.Errorf("%s holds both VIPs, with two other nodes free", first.Name())
	}
	c.Apply(strings.Replace(document, fmt.Sprintf("vips: [ %s/32 ]\n", c.VIP(0)), "", 1))
	c.Wait("nobody serving the VIP", func() error {
		conn, err := net.Dial("tcp", c.VIP(0)+":8080")
		if err != nil {
			return nil
		}
		conn.Close()
		return fmt.Errorf("something accepts connections on it")
	})
	c.NeverTwoHolders()
}

// A record written by hand moves the VIP as one written by a node does, and rubbish is replaced.
func TestRecordWrittenByHand(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(site(c, testcluster.StartBackend(t, "one", nil)))
	old := c.WaitHolder(c.VIP(0))
	next := c.Node(0)
	if next == old {
		next = c.Node(1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	key := "/tripod/vips/" + c.VIP(0)
	if _, err := c.Etcd().Put(ctx, key, fmt.Sprintf(`{"holder":%q,"epoch":7}`, next.Name())); err != nil {
		t.Fatal(err)
	}
	c.WaitHolder(c.VIP(0), testcluster.Is(next))
	if _, err := c.Etcd().Put(ctx, key, "rubbish"); err != nil {
		t.Fatal(err)
	}
	c.Wait("the rubbish being replaced", func() error {
		reply, err := c.Etcd().Get(ctx, key)
		if err == nil && strings.Contains(string(reply.Kvs[0].Value), "rubbish") {
			err = fmt.Errorf("still there")
		}
		return err
	})
	c.WaitHolder(c.VIP(0))
	c.NeverTwoHolders()
}
