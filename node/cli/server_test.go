package cli_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/testcluster"
)

// An operator looks at the servers, drains one, sees its last request end, and takes it back.
func TestServerCommands(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	one := testcluster.StartBackend(t, "one", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-hold
		}
		fmt.Fprintln(w, "one")
	}))
	two := testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply(site(c, one, two))
	c.WaitHolder(c.VIP(0))

	t.Run("list", func(t *testing.T) {
		var table [][]string
		c.Wait("both being up", func() error {
			table = rows(ran(c.Command("server", "list")).want(t, 0, "SERVICE", "SERVER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "REQUESTS", "NEXT TRY", "ZONE", "WHY").out)
			if len(table) != 2 || table[0][2] != "up" || table[1][2] != "up" {
				return fmt.Errorf("%q", table)
			}
			return nil
		})
		if table[0][0] != "web" || table[0][1] != one.Address() || table[1][1] != two.Address() {
			t.Errorf("server list: %q", table)
		}
		list := decode[api.ServerList](t, ran(c.Command("server", "list", "web", "-o", "json")).want(t, 0).out)
		if len(list.Services) != 1 || len(list.Services[0].Servers) != 2 || len(list.Services[0].Servers[0].State) != 3 || list.Pending == nil {
			t.Errorf("server list: %+v", list)
		}
		ran(c.Command("server", "list", "wbe")).refused(t, `no service is named "wbe"; did you mean "web"?`)
	})
	t.Run("refused", func(t *testing.T) {
		ran(c.Command("server", "drain", "wbe", one.Address())).refused(t, `no service is named "wbe"; did you mean "web"?`)
		ran(c.Command("server", "maint", "web", "10.1.2.3:80")).refused(t, `service web has no server "10.1.2.3:80"; there is `, one.Address(), two.Address())
		ran(c.Command("server", "ready", "web", two.Address()+"1")).refused(t, "did you mean")
		ran(c.Command("server", "weight", "web", one.Address(), "257")).refused(t, "weight 257 is not between 0 and 256")
		ran(c.Command("server", "weight", "web", one.Address(), "heavy")).want(t, 2, `weight "heavy" is neither a number from 0 to 256 nor default`)
		ran(c.Command("server", "drain", "web", one.Address(), "--wait=-1s")).want(t, 2, "--wait is a time from 0s to ")
		ran(c.Command("server", "drain", "web", one.Address(), "--timeout=-1s")).want(t, 2, "--timeout is a time from 0s on")
		ran(c.Command("server", "drain", "web")).want(t, 2)
	})
	t.Run("drain", func(t *testing.T) { testServerDrain(t, c, one, two, hold) })
	t.Run("maint and ready", func(t *testing.T) {
		ran(c.Command("server", "weight", "web", one.Address(), "9")).want(t, 0, "web "+one.Address()+" has weight 9")
		ran(c.Command("server", "weight", "web", one.Address(), "9")).want(t, 0, "web "+one.Address()+" had weight 9")
		ran(c.Command("server", "maint", "web", one.Address())).want(t, 0, "is in maint and serves nothing")
		e := ran(c.Command("server", "maint", "web", two.Address()))
		e.want(t, 0, "warning: no other server of web is up: new requests are answered with 503", "is in maint and serves nothing")
		for _, n := range c.Nodes() {
			c.GetVia(n.Addr(), "http://shop.test:8080/").Want(503)
		}
		if table := rows(ran(c.Command("server", "list")).want(t, 0, "ordered by ").out); table[0][2] != "maint" || table[1][2] != "maint" {
			t.Errorf("server list: %q", table)
		}
		ran(c.Command("server", "ready", "web", one.Address())).want(t, 0, "may get requests again, with weight 9: tripod server weight web "+one.Address()+" default")
		ran(c.Command("server", "ready", "web", two.Address())).want(t, 0, "web "+two.Address()+" may get requests again")
		ran(c.Command("server", "ready", "web", two.Address())).want(t, 0, "was ready already")
		ran(c.Command("server", "weight", "web", one.Address(), "default")).want(t, 0, "web "+one.Address()+" has the document's weight")
		c.Wait("all is well", func() error {
			if e := ran(c.Command("status")); e.code != 0 || !strings.Contains(e.out, "All is well.") || strings.Contains(e.out, "\n  - ") {
				return fmt.Errorf("%s%s", e.out, e.err)
			}
			return nil
		})
	})
}

// testServerDrain: the command shows what runs on all nodes, and ends when nothing does.
func testServerDrain(t *testing.T, c *testcluster.Cluster, one, two *testcluster.Backend, hold chan struct{}) {
	const slow = 6
	ended := make(chan int, 2*slow)
	for i := range slow { // through every node, until one has some of each
		client := c.HTTPClient(c.Node(i%3).Addr(), false)
		for range 2 { // round robin gives each server one of two
			go func() {
				status := 0
				if response, err := client.Get("http://shop.test:8080/slow"); err == nil {
					status = response.StatusCode
					response.Body.Close()
				}
				ended <- status
			}()
		}
	}
	var running api.Running
	c.Wait("requests that run on every node", func() (err error) {
		running, err = c.Node(0).Client().Running(t.Context(), "web", one.Address())
		for _, here := range running.Nodes {
			if err == nil && (here.Running == 0 || running.Running < slow) {
				err = fmt.Errorf("%+v", running)
			}
		}
		return err
	})
	e := ran(c.Command("server", "drain", "web", one.Address(), "--wait", "200ms"))
	e.want(t, 1, "is draining: ", fmt.Sprintf("web %s is draining, but after ", one.Address()), fmt.Sprintf("%d requests run", running.Running))
	draining := c.Spawn("server", "drain", "web", one.Address())
	c.Wait("the count", func() error {
		if !strings.Contains(draining.Out(), fmt.Sprintf("web %s is draining: %d requests run\n", one.Address(), running.Running)) {
			return fmt.Errorf("%s%s", draining.Out(), draining.Err())
		}
		return nil
	})
	for i := range slow {
		if got := c.GetVia(c.Node(i%3).Addr(), "http://shop.test:8080/").Want(200).Body; got != "two\n" {
			t.Errorf("a drained server answers %q", got)
		}
	}
	s, code := status(t, c)
	if code != 0 || len(s.Warnings) != 1 || !said(s.Warnings, "service web: server "+one.Address()+" is in drain (", "tripod server ready web "+one.Address()+" ends that") {
		t.Errorf("status: %d, %q, %q", code, s.Problems, s.Warnings)
	}
	for n := running.Running; n > 0; n-- {
		hold <- struct{}{} // one request after the other ends
		if n > 1 {
			words := fmt.Sprintf("\n%d requests run\n", n-1)
			if n == 2 {
				words = "\n1 request runs\n"
			}
			c.Wait("the count of one less", func() error {
				if !strings.Contains(draining.Out(), words) {
					return fmt.Errorf("%q is not in %s", words, draining.Out())
				}
				return nil
			})
		}
	}
	if code := draining.Wait(); code != 0 || !strings.HasSuffix(draining.Out(), "is draining and serves nothing\n") {
		t.Errorf("exit code %d: %s%s", code, draining.Out(), draining.Err())
	}
	for range 2 * slow {
		if status := <-ended; status != 200 {
			t.Errorf("a request that ran when its server was drained ends with %d", status)
		}
	}
	if table := rows(ran(c.Command("server", "list", "web")).want(t, 0, "ordered by ").out); table[0][2] != "drain" {
		t.Errorf("server list: %q", table)
	}
	ran(c.Command("server", "ready", "web", one.Address())).want(t, 0, "may get requests again")
}

// Where clients are kept by a cookie, a drained server serves nothing only when none may come any more.
func TestServerDrainOfSticky(t *testing.T) {
	t.Parallel()
	one, two := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 1, testcluster.InProcess())
	c.Apply(strings.Replace(site(c, one, two), "  web:\n", "  web:\n    sticky: { cookie: srv }\n", 1))
	e := ran(c.Command("server", "drain", "web", one.Address(), "--timeout", "0s", "--wait", "300ms"))
	e.want(t, 1, "nothing runs, clients that a cookie keeps there may come: tripod server maint web "+one.Address()+" sends them to other servers")
	began := time.Now()
	ran(c.Command("server", "drain", "web", one.Address(), "--timeout", "1s")).want(t, 0, "clients that a cookie keeps there may come until ", "is draining and serves nothing")
	if took := time.Since(began); took < time.Second {
		t.Errorf("it serves nothing after %s, while clients may come for a second", took)
	}
}
