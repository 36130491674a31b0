package node_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/testcluster"
)

func TestStaleApplyNamesWhoChangedIt(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	document := site(c, testcluster.StartBackend(t, "one", nil))
	first := c.Apply(document)
	c.Apply(document + "# second\n")
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	_, err := c.Node(0).Client().Apply(ctx, api.ApplyRequest{File: "x.yaml", Text: document, Author: "ann", IfRevision: &first.Revision})
	var failure *api.Failure
	if !errors.As(err, &failure) || failure.Status != http.StatusConflict || failure.Current == nil {
		t.Fatalf("stale apply: %v", err)
	}
	if failure.Current.Author != "test" || time.Since(failure.Current.Time) > time.Hour || !strings.Contains(failure.Message, "test") {
		t.Errorf("does not say who changed it and when: %v (%+v)", err, failure.Current)
	}
	if now, err := c.Node(0).Client().Document(ctx); err != nil || now.Text != document+"# second\n" {
		t.Errorf("the document was changed by a stale apply (%v)", err)
	}
}

// A put by etcdctl is as good as an apply; rubbish is refused everywhere, also over a restart, and the last good
// document goes on.
func TestDirectPut(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	put := func(text string) int64 {
		reply, err := c.Etcd().Put(ctx, "/tripod/config", text)
		if err != nil {
			t.Fatal(err)
		}
		return reply.Header.Revision
	}
	document := site(c, backend)
	good := put(document)
	served := func(revision int64, refused bool) {
		t.Helper()
		for _, n := range c.Nodes() {
			c.Wait(fmt.Sprintf("%s serving revision %d", n.Name(), revision), func() error {
				local, err := n.Client().Local(ctx)
				if err == nil && (local.Applied != revision || (local.Error != "") != refused) {
					err = fmt.Errorf("serves %d, error %q", local.Applied, local.Error)
				}
				return err
			})
		}
	}
	served(good, false)
	c.Wait("the history of a direct put", func() error {
		history, err := c.Node(0).Client().History(ctx)
		if err == nil && (len(history) != 1 || history[0].Revision != good) {
			err = fmt.Errorf("%+v", history)
		}
		return err
	})
	bad := put("listeners: { http: { adress: \":8080\" } }\n")
	served(good, true)
	c.WaitHolder(c.VIP(0))
	if s := c.Status(); len(s.Problems) != 3 || !strings.Contains(s.Problems[0], fmt.Sprintf("refuses %d: ", bad)) ||
		!strings.Contains(s.Problems[0], `did you mean "address"?`) {
		t.Errorf("status: %q", s.Problems)
	}
	if got := metric(t, c.Node(1), "tripod_config_refused"); got != "1" {
		t.Errorf("tripod_config_refused is %q", got)
	}
	c.Node(2).Kill()
	c.Node(2).Wipe() // not even a cache: it finds the last good one in the history
	c.Node(2).Restart()
	served(good, true)
	c.GetVia(c.Node(2).Addr(), "http://shop.test:8080/").Want(http.StatusOK)
	mended := put(document + "# mended\n")
	served(mended, false)
	if got := metric(t, c.Node(1), "tripod_config_refused"); got != "0" {
		t.Errorf("tripod_config_refused is %q after a good document", got)
	}
}

// A VIP that is a node's own address would be held twice from the start.
func TestVIPThatIsANode(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	_, err := c.TryApply(fmt.Sprintf("vips: [ %s/32 ]\n", c.Node(0).Addr()))
	if err == nil || !strings.Contains(err.Error(), "test.yaml: vips[0].address: "+c.Node(0).Addr()+" is the own address of node") {
		t.Errorf("applied: %v", err)
	}
}

// Raft leadership moves, as it does whenever it is kept off a VIP's holder: no apply fails for that, or is done
// twice.
func TestApplyWhileLeadershipMoves(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	document := site(c, testcluster.StartBackend(t, "one", nil))
	c.Apply(document)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	moved := make(chan int)
	go func() { moved <- moveLeadership(ctx, c.Etcd()) }()
	const applies = 30
	for i := range applies {
		c.Apply(fmt.Sprintf("%s# %d\n", document, i))
	}
	cancel()
	if n := <-moved; n < 3 {
		t.Errorf("leadership moved %d times: nothing is proved", n)
	}
	c.Wait("all documents in the history", func() error { // each is there a moment after it is served
		history, err := c.Node(0).Client().History(context.Background())
		if err == nil && len(history) != applies+1 {
			err = fmt.Errorf("%d documents, want %d", len(history), applies+1)
		}
		return err
	})
}

// moveLeadership hands raft leadership on and on until ctx ends, and returns how often it did.
func moveLeadership(ctx context.Context, client *clientv3.Client) int {
	all, moved := client.Endpoints(), 0
	for ctx.Err() == nil {
		var ids []uint64
		var leader uint64
		at := ""
		for _, endpoint := range all {
			s, err := client.Status(ctx, endpoint)
			if err != nil {
				continue
			}
			ids = append(ids, s.Header.MemberId)
			if s.Leader == s.Header.MemberId {
				leader, at = s.Leader, endpoint
			}
		}
		if at == "" {
			continue
		}
		client.SetEndpoints(at) // only the leader can hand over
		for _, id := range ids {
			call, cancel := context.WithTimeout(ctx, time.Second)
			if id != leader {
				if _, err := client.MoveLeader(call, id); err == nil {
					moved++
				}
				cancel()
				break
			}
			cancel()
		}
	}
	return moved
}

// A deleted document is a mistake until somebody says otherwise: the last good one goes on, and status says so.
func TestDeletedDocument(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 1)
	document := site(c, backend)
	c.Apply(document)
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	if _, err := c.Etcd().Delete(ctx, "/tripod/config"); err != nil {
		t.Fatal(err)
	}
	c.Wait("status telling", func() error {
		if s := c.Status(); len(s.Problems) == 0 || !strings.Contains(s.Problems[0], "the document was deleted") {
			return fmt.Errorf("%q", s.Problems)
		}
		return nil
	})
	c.GetVia(c.Node(0).Addr(), "http://shop.test:8080/").Want(http.StatusOK)
	c.Apply(document)
	c.WaitHolder(c.VIP(0))
	if s := c.Status(); len(s.Problems) > 0 {
		t.Errorf("after applying it again: %q", s.Problems)
	}
}

// A node that cannot bind a listener says so by name, serves the former document whole, and serves the new one
// when the port is free.
func TestTakenPortRefusesOnOneNode(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	document := site(c, backend)
	c.Apply(document)
	odd := c.Node(1)
	squatter, err := net.Listen("tcp", odd.Addr()+":8081")
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	more := strings.Replace(document, "listeners:\n", "listeners:\n  extra: { address: \":8081\" }\n", 1)
	reply, err := c.TryApply(more)
	if err != nil {
		t.Fatal(err)
	}
	if len(reply.Missing) != 1 || reply.Missing[0].Node != odd.Name() || !strings.Contains(reply.Missing[0].Why, "8081") || len(reply.Served) != 2 {
		t.Errorf("served by %v, missing %+v", reply.Served, reply.Missing)
	}
	c.GetVia(odd.Addr(), "http://shop.test:8080/").Want(http.StatusOK)
	c.GetVia(c.Node(0).Addr(), "http://shop.test:8081/").Want(http.StatusOK)
	squatter.Close()
	c.Wait("the node serving the document after all", func() error {
		if s := c.Status(); len(s.Problems) > 0 {
			return fmt.Errorf("%q", s.Problems)
		}
		return nil
	})
	c.GetVia(odd.Addr(), "http://shop.test:8081/").Want(http.StatusOK)
}

// The first --config becomes the document; a later one is ignored, with a line in the log.
func TestConfigFlag(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	first, second := c.File("first.yaml", "# first\n"), c.File("second.yaml", "# second\n")
	n := c.Node(0)
	n.SetFlags("--config", first)
	n.Restart()
	n.Stop()
	n.SetFlags("--config", second)
	n.Restart()
	ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
	defer cancel()
	if v, err := n.Client().Document(ctx); err != nil || v.Text != "# first\n" {
		t.Errorf("the document is %q, %v", v.Text, err)
	}
	if !strings.Contains(n.Log(), "--config is ignored") {
		t.Error("the log does not say that --config is ignored")
	}
}
