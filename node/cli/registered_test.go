package cli_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node"
	"tripod/proxy/upstream"
	"tripod/testcluster"
)

func clientPrefix() clientv3.OpOption { return clientv3.WithPrefix() }

// plain makes one plain HTTP call over a node's unix socket, written out as any program can.
func plain(t *testing.T, n *testcluster.Node, method, path, body string) (status int, answer string) {
	t.Helper()
	conn, err := net.Dial("unix", filepath.Join(n.Folder(), node.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: tripod\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", method, path, len(body), body)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// A server registers by one plain call, or by one put under a lease; for a service that is not in the document it waits for that.
func TestRegisterByHand(t *testing.T) {
	t.Parallel()
	one, two, three := testcluster.StartBackend(t, "one", nil), testcluster.StartBackend(t, "two", nil), testcluster.StartBackend(t, "three", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply(site(c, one))
	c.WaitHolder(c.VIP(0))

	t.Run("plain call", func(t *testing.T) { testPlainCall(t, c, two) })
	t.Run("etcdctl", func(t *testing.T) {
		script := `eval "$(tripod env)"; set -e
lease=$(etcdctl lease grant 3600 | cut -d' ' -f2)
etcdctl put --lease="$lease" /tripod/registrations/web/two '{"address": "` + two.Address() + `"}'
echo "lease=$lease"`
		e := ran(c.Shell(script)).want(t, 0)
		seen(t, c, "web", two.Address(), upstream.StateUp)
		ran(c.Command("status")).want(t, 0, "All is well.", two.Address()+" registered")
		_, lease, _ := strings.Cut(strings.TrimSpace(e.out), "lease=")
		ran(c.Shell(`eval "$(tripod env)"; etcdctl lease revoke `+lease)).want(t, 0)
		seen(t, c, "web", two.Address(), "")
		ran(c.Shell(`eval "$(tripod env)"; etcdctl put /tripod/registrations/web/two '{"address": "`+two.Address()+`"}'`)).want(t, 0)
		seen(t, c, "web", two.Address(), upstream.StateUp)
		ran(c.Command("status")).want(t, 0, "All is well.", "/tripod/registrations/web/two has no lease: it stays until somebody deletes it")
		ran(c.Command("server", "drain", "web", two.Address())).want(t, 0, "is draining and serves nothing")
		ran(c.Command("server", "ready", "web", two.Address())).want(t, 0, "may get requests again")
		ran(c.Shell(`eval "$(tripod env)"; etcdctl put /tripod/registrations/web/two 'hello'`)).want(t, 0)
		seen(t, c, "web", two.Address(), "")
		ran(c.Command("status")).want(t, 1, "/tripod/registrations/web/two is ignored: it is not of the form")
		ran(c.Shell(`eval "$(tripod env)"; etcdctl del /tripod/registrations/web/two`)).want(t, 0)
		c.Wait("all being well", func() error {
			if e := ran(c.Command("status")); e.code != 0 {
				return fmt.Errorf("%s%s", e.out, e.err)
			}
			return nil
		})
	})
	t.Run("pending", func(t *testing.T) {
		p := c.Spawn("register", "--service", "later", "--address", three.Address(), "--id", "three")
		c.Wait("the registration being pending", func() error {
			e := ran(c.Command("server", "list", "later"))
			r := rows(e.out)
			if e.code != 0 || len(r) != 1 || r[0][0] != "later" || r[0][1] != three.Address() || r[0][3] != "pending" {
				return fmt.Errorf("%s%s", e.out, e.err)
			}
			if !strings.Contains(p.Err(), "the service is not in the document, and the server gets nothing until it is") {
				return fmt.Errorf("it is not said: %q", p.Err())
			}
			return nil
		})
		ran(c.Command("status")).want(t, 0, "All is well.", "server "+three.Address()+" (three) registered with service later, which is not in the document", "PENDING SERVICE")
		c.Apply(site(c, one) + "  later: { register: true }\n")
		seen(t, c, "later", three.Address(), upstream.StateUp)
		if e := ran(c.Command("status")).want(t, 0, "All is well."); strings.Contains(e.out, "PENDING") {
			t.Errorf("it is pending still: %s", e.out)
		}
	})
}

// testPlainCall: a server registers, renews and ends that by calls to any node, and slips are told with one line.
func testPlainCall(t *testing.T, c *testcluster.Cluster, two *testcluster.Backend) {
	body := fmt.Sprintf(`{"address":%q,"weight":3,"zone":"b"}`, two.Address())
	if status, answer := plain(t, c.Node(0), "PUT", "/v1/registrations/web/two?ttl=1m", body); status != 200 || !strings.Contains(answer, `"ttl_seconds":60`) {
		t.Errorf("%d: %s", status, answer)
	}
	seen(t, c, "web", two.Address(), upstream.StateUp)
	if status, answer := plain(t, c.Node(1), "PUT", "/v1/registrations/web/two?ttl=1m", body); status != 200 || !strings.Contains(answer, `"renewed":true`) {
		t.Errorf("%d: %s", status, answer)
	}
	if status, answer := plain(t, c.Node(2), "GET", "/v1/registrations", ""); status != 200 || !strings.Contains(answer, `"id":"two","address":"`+two.Address()+`","weight":3,"zone":"b"`) {
		t.Errorf("%d: %s", status, answer)
	}
	for _, bad := range []struct{ path, body, says string }{
		{"web/two?ttl=1ms", body, `ttl \"1ms\" is not a time from 1s to 1h0m0s`},
		{"web/two", `{"adress":"10.0.0.1:80"}`, "it has no address"},
		{"web/two", `{"address":"10.0.0.1:80","wieght":3}`, `unknown field \"wieght\"; it may have address, weight, zone`},
		{"web/two", `{"address":"10.0.0.1:80","weight":257}`, "weight 257 is not between 0 and 256"},
		{"web/two", "hello", "not of the form"},
		{"web/two", `{"address":"10.0.0.1:80","zone":"` + strings.Repeat("x", 5000) + `"}`, "longer than 4096 bytes"},
		{"web/a%2Fb", body, `ID \"a/b\" is not of letters`},
	} {
		if status, answer := plain(t, c.Node(0), "PUT", "/v1/registrations/"+bad.path, bad.body); status != 400 || !strings.Contains(answer, bad.says) {
			t.Errorf("%s %s: %d: %s", bad.path, bad.body, status, answer)
		}
	}
	if status, answer := plain(t, c.Node(1), "DELETE", "/v1/registrations/web/two", ""); status != 200 || !strings.Contains(answer, `"existed":true`) {
		t.Errorf("%d: %s", status, answer)
	}
	seen(t, c, "web", two.Address(), "")
	if status, answer := plain(t, c.Node(1), "DELETE", "/v1/registrations/web/two", ""); status != 200 || !strings.Contains(answer, `"existed":false`) {
		t.Errorf("%d: %s", status, answer)
	}
}
