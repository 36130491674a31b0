package cli_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"tripod/testcluster"
)

// sampleServer is the command line of a web server that says hello from its name.
func sampleServer(t *testing.T, name, address string) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, "demo-server", "--name", name, "--listen", address}
}

// listens waits until a sample server answers.
func listens(c *testcluster.Cluster, p *testcluster.Process, address string) {
	c.Wait("the server at "+address, func() error {
		response, err := http.Get("http://" + address + "/healthz")
		if err != nil {
			return errors.Join(err, errors.New(p.Err()))
		}
		return response.Body.Close()
	})
}

// A server is drained, killed, replaced and brought back under load from clients that a cookie keeps there, and none of them sees anything of it.
func TestServerReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	one, two := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	address := c.VIP(10) + ":9000"
	old := c.Spawn(sampleServer(t, "old", address)[1:]...)
	listens(c, old, address)
	document := strings.Replace(site(c, one, two), "  web:\n", "  web:\n    sticky: { cookie: srv }\n", 1)
	c.Apply(document + "      - " + address + "\n")
	c.Wait("all being well", func() error {
		if e := ran(c.Command("status")); e.code != 0 {
			return fmt.Errorf("%s%s", e.out, e.err)
		}
		return nil
	})

	l := startLoad(t, c, 4, true)
	l.servedBy(c, "hello from old")
	ran(c.Command("server", "drain", "web", address, "--timeout", "1h", "--wait", "0s")).want(t, 0, "web "+address+" is draining\n")
	l.servedBy(c, "hello from old") // clients that its cookie keeps there
	e := ran(c.Command("server", "drain", "web", address, "--timeout", "1s")).want(t, 0, "web "+address+" is draining: ", "is draining and serves nothing")
	t.Logf("%s", e.out)
	old.Signal(syscall.SIGKILL)
	old.Wait()
	fresh := c.Spawn(sampleServer(t, "new", address)[1:]...)
	listens(c, fresh, address)
	ran(c.Command("server", "ready", "web", address)).want(t, 0, "may get requests again")
	// Those who came back to other servers stay there; who comes now without a cookie may get the new one.
	for _, n := range c.Nodes() {
		client := c.HTTPClient(n.Addr(), false)
		c.Wait("the new server answering through "+n.Name(), func() error {
			name, err := exchange(client, true)
			if err != nil {
				t.Errorf("through %s: %v", n.Name(), err)
			}
			if name != "hello from new" {
				return fmt.Errorf("%q answers", name)
			}
			return nil
		})
	}
	l.end()
}
