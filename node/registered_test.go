package node_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node"
	"tripod/node/api"
	"tripod/proxy/upstream"
	"tripod/testcluster"
)

// A renewal keeps the lease, and writes the key only where it says something else; whatever node it goes to.
func TestRegistrationIsRenewed(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply("services:\n  web: { register: true }\n")
	key := func() (lease, revision int64, value string) {
		t.Helper()
		reply, err := c.Etcd().Get(within(t), node.RegistrationsPrefix+"web/one")
		if err != nil || len(reply.Kvs) != 1 {
			t.Fatalf("the key: %+v, %v", reply, err)
		}
		return reply.Kvs[0].Lease, reply.Kvs[0].ModRevision, string(reply.Kvs[0].Value)
	}
	register := func(n int, r api.Registration, ttl time.Duration) api.RegisterReply {
		t.Helper()
		reply, err := c.Node(n).Client().Register(within(t), api.RegisterRequest{Service: "web", ID: "one", Registration: r, TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	r := api.Registration{Address: backend.Address()}
	if reply := register(0, r, time.Minute); reply.Renewed || reply.Pending || reply.TTL != 60 {
		t.Errorf("the first: %+v", reply)
	}
	lease, revision, _ := key()
	if lease == 0 {
		t.Fatal("the key has no lease")
	}
	if reply := register(1, r, time.Minute); !reply.Renewed {
		t.Errorf("the second: %+v", reply)
	}
	if again, rev, _ := key(); again != lease || rev != revision {
		t.Errorf("the same again: lease %x, revision %d; it was %x, %d", again, rev, lease, revision)
	}
	r.Draining = true
	register(2, r, time.Minute)
	if again, rev, value := key(); again != lease || rev == revision || !strings.Contains(value, `"draining":true`) {
		t.Errorf("something else: lease %x, revision %d, %s; it was %x, %d", again, rev, value, lease, revision)
	}
	stateOn(t, c, c.Nodes(), "web", backend.Address(), upstream.StateDrain, 1)
	register(2, r, 1500*time.Millisecond)
	again, _, _ := key()
	if left, err := c.Etcd().TimeToLive(within(t), clientv3.LeaseID(again)); again == lease || err != nil || left.GrantedTTL != 2 {
		t.Errorf("another time: lease %x, %+v, %v", again, left, err)
	}
	register(0, r, 1500*time.Millisecond)
	if third, _, _ := key(); third != again {
		t.Errorf("a renewal changes the lease from %x to %x", again, third)
	}
	// Nobody renews it: it ends.
	for _, n := range c.Nodes() {
		c.Wait("the end of the registration on "+n.Name(), func() error {
			here, err := n.Client().ServerHere(within(t), "web", backend.Address())
			if err == nil && here.State != "" {
				err = fmt.Errorf("%+v", here)
			}
			return err
		})
	}
}

// Several registrations of one address are one server, and the document goes before all; it is said that they have no effect.
func TestRegistrationsOfOneAddress(t *testing.T) {
	t.Parallel()
	one, two := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 1, testcluster.InProcess())
	c.Apply(site(c, one))
	c.WaitHolder(c.VIP(0))
	for id, address := range map[string]string{"x": one.Address(), "a": two.Address(), "b": two.Address()} {
		if _, err := c.Etcd().Put(within(t), node.RegistrationsPrefix+"web/"+id, fmt.Sprintf(`{"address":%q}`, address)); err != nil {
			t.Fatal(err)
		}
	}
	c.Wait("the warnings", func() error {
		s := c.Status()
		all := strings.Join(s.Warnings, "\n")
		if !strings.Contains(all, "web/b has no effect") || !strings.Contains(all, "web/x has no effect") || strings.Contains(all, "web/a has no effect") || len(s.Problems) > 0 {
			return fmt.Errorf("problems %q, warnings %q", s.Problems, s.Warnings)
		}
		if servers := s.Services[0].Servers; len(servers) != 2 || servers[0].Registration != "" || servers[1].Registration != "a" {
			return fmt.Errorf("servers: %+v", servers)
		}
		return nil
	})
}

// Servers that registered themselves are there also where no majority is, and after a restart there.
func TestRegistrationsWithoutMajority(t *testing.T) {
	t.Parallel()
	one := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	c.Apply(strings.Replace(site(c), "    servers:\n", "    register: true\n", 1))
	if _, err := c.Node(0).Client().Register(within(t), api.RegisterRequest{
		Service: "web", ID: "one", Registration: api.Registration{Address: one.Address()}, TTL: api.MaxTTL}); err != nil {
		t.Fatal(err)
	}
	stateOn(t, c, c.Nodes(), "web", one.Address(), upstream.StateUp, 1)
	for _, n := range c.Nodes() {
		n.Stop() // what is known is written by then
	}
	c.Node(1).Start()
	stateOn(t, c, c.Nodes()[1:2], "web", one.Address(), upstream.StateUp, 1)
	c.GetVia(c.Node(1).Addr(), "http://shop.test:8080/").Want(http.StatusOK)
}

// There is a bound to what is kept and read, and it is said where it is reached.
func TestRegistrationsAreBounded(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.InProcess())
	const most, batch = 10_000, 100
	for first := 0; first < most; first += batch {
		var puts []clientv3.Op
		for i := range batch {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%slater/s%05d", node.RegistrationsPrefix, first+i), `{"address":"10.1.2.3:80"}`))
		}
		if _, err := c.Etcd().Txn(within(t)).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	pending := func(n int) {
		t.Helper()
		c.Wait(fmt.Sprintf("%d that are pending", n), func() error {
			if s := c.Status(); len(s.Pending) != n || len(s.Warnings) > 100 {
				return fmt.Errorf("%d are pending, %d warnings", len(s.Pending), len(s.Warnings))
			}
			return nil
		})
	}
	pending(most)
	_, err := c.Node(0).Client().Register(within(t), api.RegisterRequest{Service: "web", ID: "one", Registration: api.Registration{Address: "10.0.0.1:80"}, TTL: time.Minute})
	var f *api.Failure
	if !errors.As(err, &f) || f.Status != http.StatusTooManyRequests || !strings.Contains(err.Error(), "there are 10000 registrations, and no more may be") {
		t.Errorf("one more: %v", err)
	}
	if _, err := c.Etcd().Put(within(t), node.RegistrationsPrefix+"later/t", `{"address":"10.1.2.3:80"}`); err != nil {
		t.Fatal(err)
	}
	c.Wait("the problem", func() error {
		if s := c.Status(); len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "more than 10000 keys below "+node.RegistrationsPrefix) {
			return fmt.Errorf("problems: %q", s.Problems)
		}
		return nil
	})
	pending(most)
	if _, err := c.Etcd().Delete(within(t), node.RegistrationsPrefix, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	pending(0)
}

// BenchmarkRegistrationEnds measures from the last renewal of a registration with a lease of two seconds to the moment from which no node has the server.
func BenchmarkRegistrationEnds(b *testing.B) {
	backend := testcluster.StartBackend(b, "one", nil)
	c := testcluster.Start(b, 3)
	c.Apply("services:\n  web: { register: true }\n")
	var worst time.Duration
	for b.Loop() {
		if _, err := c.Node(0).Client().Register(b.Context(), api.RegisterRequest{
			Service: "web", ID: "one", Registration: api.Registration{Address: backend.Address()}, TTL: 2 * time.Second}); err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		for _, there := range []bool{true, false} {
			for _, n := range c.Nodes() {
				c.Wait(fmt.Sprintf("the server on %s: %v", n.Name(), there), func() error {
					here, err := n.Client().ServerHere(b.Context(), "web", backend.Address())
					if err == nil && (here.State != "") != there {
						err = fmt.Errorf("%+v", here)
					}
					return err
				})
			}
		}
		worst = max(worst, time.Since(began))
	}
	b.ReportMetric(float64(worst.Milliseconds()), "worst-ms")
}
