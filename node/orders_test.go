package node_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tripod/node"
	"tripod/node/api"
	"tripod/proxy/upstream"
	"tripod/testcluster"
)

// putOrder writes an operator's key by hand.
func putOrder(t *testing.T, c *testcluster.Cluster, service, address, value string) {
	t.Helper()
	if _, err := c.Etcd().Put(within(t), node.AdminServersPrefix+service+"/"+address, value); err != nil {
		t.Fatal(err)
	}
}

// stateOn waits until every running node of the list gives a server this state, with this weight.
func stateOn(t *testing.T, c *testcluster.Cluster, nodes []*testcluster.Node, service, address string, state upstream.State, weight int) {
	t.Helper()
	for _, n := range nodes {
		c.Wait(fmt.Sprintf("%s on %s in state %s with weight %d", address, n.Name(), state, weight), func() error {
			got, err := serverOn(t, n, service, address)
			if err == nil && (got.State != state || got.Weight != weight) {
				err = fmt.Errorf("state %s, weight %d", got.State, got.Weight)
			}
			return err
		})
	}
}

// serverOn is a server as one node sees it.
func serverOn(t *testing.T, n *testcluster.Node, service, address string) (upstream.ServerStatus, error) {
	t.Helper()
	local, err := n.Client().Local(within(t))
	if err != nil {
		return upstream.ServerStatus{}, err
	}
	for _, s := range local.Proxy.Services {
		for _, server := range s.Servers {
			if s.Name == service && server.Address == address {
				return server, nil
			}
		}
	}
	return upstream.ServerStatus{}, errors.New("there is no such server")
}

// servedBy fails the test unless one server answers all that is asked of the nodes.
func servedBy(t *testing.T, c *testcluster.Cluster, nodes []*testcluster.Node, answer string) {
	t.Helper()
	for _, n := range nodes {
		for range 6 {
			if got := c.GetVia(n.Addr(), "http://shop.test:8080/").Want(http.StatusOK).Body; got != answer {
				t.Errorf("%s answers %q, want %q", n.Name(), got, answer)
			}
		}
	}
}

// An operator's word counts on every node, whoever writes the key; it stays over documents, over restarts of nodes and of the whole cluster, and
// where no majority is.
func TestOrdersAreKept(t *testing.T) {
	t.Parallel()
	one, two := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 3)
	document := site(c, one, two)
	c.Apply(document)
	order := func(n *testcluster.Node, r api.OrderRequest) api.OrderReply {
		t.Helper()
		r.Service, r.Address, r.By = "web", one.Address(), "ann@desk"
		reply, err := n.Client().Order(within(t), r)
		if err != nil {
			t.Fatalf("order %+v: %v", r, err)
		}
		return reply
	}
	five := 5
	order(c.Node(1), api.OrderRequest{State: upstream.Drain, Timeout: "1h"})
	order(c.Node(2), api.OrderRequest{Weight: &five})
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateDrain, 5)
	if reply := order(c.Node(2), api.OrderRequest{Weight: &five}); !reply.Unchanged || reply.Order.State != upstream.Drain {
		t.Errorf("the same again: %+v", reply)
	}
	stored, err := c.Etcd().Get(within(t), node.AdminServersPrefix+"web/"+one.Address())
	var key upstream.Order
	if err != nil || len(stored.Kvs) != 1 || json.Unmarshal(stored.Kvs[0].Value, &key) != nil {
		t.Fatalf("the key: %+v, %v", stored, err)
	}
	if left := time.Until(key.Until); key.State != upstream.Drain || *key.Weight != 5 || key.By != "ann@desk" || key.At.IsZero() || left < 59*time.Minute || left > time.Hour {
		t.Errorf("the key: %s", stored.Kvs[0].Value)
	}
	servedBy(t, c, c.Nodes(), "two\n")
	c.Apply("# another\n" + document)
	servedBy(t, c, c.Nodes(), "two\n")

	c.Node(0).Kill()
	c.Node(0).Restart()
	servedBy(t, c, c.Nodes(), "two\n")
	for _, n := range c.Nodes() {
		n.Kill()
	}
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.WaitReady()
	servedBy(t, c, c.Nodes(), "two\n")
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateDrain, 5)

	// Without a majority the disk has it.
	for _, n := range c.Nodes() {
		n.Kill()
	}
	alone := c.Nodes()[1:2]
	alone[0].Start()
	stateOn(t, c, alone, "web", one.Address(), upstream.StateDrain, 5)
	servedBy(t, c, alone, "two\n")
	if _, err := alone[0].Client().Order(within(t), api.OrderRequest{Service: "web", Address: one.Address(), State: upstream.Ready}); err == nil || !strings.Contains(err.Error(), "not a member") && !strings.Contains(err.Error(), "no quorum") {
		t.Errorf("an order without a majority: %v", err)
	}
	c.Node(0).Start()
	c.Node(2).Start()
	c.WaitReady()

	// Ready ends the state and leaves the weight, default ends that, and a key that says nothing is gone.
	order(c.Node(0), api.OrderRequest{State: upstream.Ready})
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateUp, 5)
	order(c.Node(0), api.OrderRequest{DefaultWeight: true})
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateUp, 1)
	if stored, err := c.Etcd().Get(within(t), node.AdminServersPrefix+"web/"+one.Address()); err != nil || stored.Count != 0 {
		t.Errorf("the key is there still: %v", err)
	}
}

// What is written by hand is as good, and what says nothing does nothing, and is told.
func TestOrdersByHand(t *testing.T) {
	t.Parallel()
	one, two := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply(site(c, one, two))
	c.WaitHolder(c.VIP(0))
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateUp, 1)
	putOrder(t, c, "web", one.Address(), `{"state": "maint"}`)
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateMaint, 1)
	putOrder(t, c, "web", one.Address(), `{"weight": 7, "by": 12, "at": "yesterday"}`)
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateUp, 7)
	for value, why := range map[string]string{
		`{"state": "sleep"}`: `state "sleep" is none of drain, maint and ready`, `{"weight": 300}`: "weight 300 is not between 0 and 256",
		`{"drain": true}`: "not of the form", `drain`: "not of the form", `{"state": "drain", "until": "soon"}`: "not of the form",
		`{"state": "drain", "by": "` + strings.Repeat("x", 5000) + `"}`: "longer than 4096 bytes",
	} {
		putOrder(t, c, "web", one.Address(), value)
		key := node.AdminServersPrefix + "web/" + one.Address()
		c.Wait("the problem with "+value, func() error {
			if s := c.Status(); len(s.Problems) != 1 || !strings.HasPrefix(s.Problems[0], key+" is ignored: ") || !strings.Contains(s.Problems[0], why) {
				return fmt.Errorf("problems: %q", s.Problems)
			}
			return nil
		})
		stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateUp, 1)
		if n := strings.Count(strings.ReplaceAll(c.Node(0).Log(), `\"`, `"`), why); n == 0 || why != "not of the form" && n > 1 {
			t.Errorf("the log has %q %d times", why, n)
		}
	}
	putOrder(t, c, "web", one.Address(), `{"state": "ready"}`)
	putOrder(t, c, "web", "10.9.9.9:80", `{"state": "drain"}`)
	putOrder(t, c, "wide", one.Address(), `{"state": "drain"}`)
	putOrder(t, c, "web", two.Address(), `{"state": "drain", "by": "ann", "until": "2020-01-01T00:00:00Z"}`)
	c.Wait("warnings, and no problem", func() error {
		s := c.Status()
		all := strings.Join(s.Warnings, "\n")
		for _, want := range []string{
			node.AdminServersPrefix + "web/10.9.9.9:80 is an order for a server that is not there", "/wide/" + one.Address() + " is an order for a server that is not there",
			"service web: server " + two.Address() + " is in drain (ann): tripod server ready web " + two.Address() + " ends that",
		} {
			if !strings.Contains(all, want) {
				return fmt.Errorf("not said: %s: %q", want, s.Warnings)
			}
		}
		if len(s.Problems) > 0 || len(s.Warnings) != 3 {
			return fmt.Errorf("problems %q, warnings %q", s.Problems, s.Warnings)
		}
		return nil
	})
}

// Bad orders are refused with one line each.
func TestOrdersRefused(t *testing.T) {
	t.Parallel()
	one := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 1, testcluster.InProcess())
	c.Apply(site(c, one))
	many, five := 257, 5
	for _, bad := range []struct {
		request api.OrderRequest
		status  int
		says    string
	}{
		{api.OrderRequest{Service: "wbe", Address: one.Address(), State: upstream.Drain}, 404, `no service is named "wbe"; did you mean "web"?`},
		{api.OrderRequest{Service: "quux", Address: one.Address(), State: upstream.Drain}, 404, `no service is named "quux"; there is web`},
		{api.OrderRequest{Service: "web", Address: "10.0.0.1:80", State: upstream.Drain}, 404, `service web has no server "10.0.0.1:80"; there is ` + one.Address()},
		{api.OrderRequest{Service: "web", Address: one.Address() + "0", State: upstream.Drain}, 404, `did you mean "` + one.Address() + `"?`},
		{api.OrderRequest{Service: "web", Address: one.Address(), State: "sleep"}, 400, `state "sleep" is none of drain, maint and ready`},
		{api.OrderRequest{Service: "web", Address: one.Address(), Weight: &many}, 400, "weight 257 is not between 0 and 256"},
		{api.OrderRequest{Service: "web", Address: one.Address()}, 400, "it says nothing about the server"},
		{api.OrderRequest{Service: "web", Address: one.Address(), Weight: &five, DefaultWeight: true}, 400, "both weight and default_weight"},
		{api.OrderRequest{Service: "web", Address: one.Address(), State: upstream.Drain, Timeout: "soon"}, 400, `timeout "soon" is not a time`},
		{api.OrderRequest{Service: "web", Address: one.Address(), State: upstream.Maint, Timeout: "1m"}, 400, "a timeout goes with state drain only"},
	} {
		_, err := c.Node(0).Client().Order(within(t), bad.request)
		var f *api.Failure
		if !errors.As(err, &f) || f.Status != bad.status || !strings.Contains(err.Error(), bad.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v, want %d and %q", bad.request, err, bad.status, bad.says)
		}
	}
	if stored, err := c.Etcd().Get(within(t), node.AdminServersPrefix+"web/"+one.Address()); err != nil || stored.Count != 0 {
		t.Errorf("something was written: %v", err)
	}
}

// BenchmarkOrderInEffect measures from the write of an operator's key to the moment from which every node of three keeps it.
func BenchmarkOrderInEffect(b *testing.B) {
	one := testcluster.StartBackend(b, "one", nil)
	c := testcluster.Start(b, 3)
	c.Apply(site(c, one))
	states := []upstream.State{upstream.StateDrain, upstream.StateMaint}
	var worst time.Duration
	for i := 0; b.Loop(); i++ {
		want := states[i%2]
		began := time.Now()
		if _, err := c.Etcd().Put(b.Context(), node.AdminServersPrefix+"web/"+one.Address(), fmt.Sprintf(`{"state": %q}`, want)); err != nil {
			b.Fatal(err)
		}
		for _, n := range c.Nodes() {
			c.Wait("the order on "+n.Name(), func() error {
				here, err := n.Client().ServerHere(b.Context(), "web", one.Address())
				if err == nil && here.State != want {
					err = fmt.Errorf("state %s", here.State)
				}
				return err
			})
		}
		worst = max(worst, time.Since(began))
	}
	b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
}
