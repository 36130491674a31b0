package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"tripod/node/config"
	"tripod/testcluster"
)

// A stock etcdctl reads everything, and what it writes is as good as what tripod writes.
func TestEtcdctl(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	etcdctl := func(arguments string) ended {
		t.Helper()
		return ran(c.Shell(`eval "$(tripod env)"; etcdctl `+arguments)).want(t, 0)
	}
	revision := func() int64 {
		t.Helper()
		var reply struct {
			Kvs []struct {
				Revision int64 `json:"mod_revision"`
			}
		}
		if err := json.Unmarshal([]byte(etcdctl("get -w json /tripod/config").out), &reply); err != nil || len(reply.Kvs) != 1 {
			t.Fatalf("get -w json: %v", err)
		}
		return reply.Kvs[0].Revision
	}

	// Good: served everywhere, and kept.
	document := site(c, backend)
	etcdctl("put /tripod/config < '" + write(t, "good.yaml", document) + "'")
	good := revision()
	served(t, c, good, false)
	for _, n := range c.Nodes() {
		c.GetVia(n.Addr(), "http://shop.test:8080/").Want(200)
	}
	c.Wait("a direct put in the history", func() error {
		e := ran(c.Command("config", "history"))
		if r := rows(e.out); e.code != 0 || len(r) != 1 || r[0][0] != fmt.Sprint(good) || !strings.Contains(e.out, "direct write") {
			return fmt.Errorf("%s%s", e.out, e.err)
		}
		return nil
	})
	c.WaitHolder(c.VIP(0))
	ran(c.Command("status")).want(t, 0, "All is well.")

	t.Run("read", func(t *testing.T) {
		keys := etcdctl("get --prefix --keys-only /tripod/").out
		want := []string{"/tripod/config", "/tripod/history/" + fmt.Sprint(good), "/tripod/vips/" + c.VIP(0), "/tripod/certs/", "/tripod/tickets"}
		for _, n := range c.Nodes() {
			want = append(want, "/tripod/nodes/"+n.Name())
		}
		for _, key := range want {
			if !strings.Contains(keys, key) {
				t.Errorf("no key %s in\n%s", key, keys)
			}
		}
		if all := etcdctl("get --prefix /tripod/").out; strings.Contains(all, "PRIVATE KEY") {
			t.Error("a private key is in the store unsealed")
		}
		for _, table := range []string{etcdctl("endpoint status --cluster").out, etcdctl("member list").out, etcdctl("endpoint health").err + etcdctl("endpoint health").out} {
			for _, n := range c.Nodes() {
				if strings.Count(table, n.Addr()+":2379") != 1 {
					t.Errorf("%s is not there once:\n%s", n.Addr(), table)
				}
			}
		}
	})
	t.Run("rubbish", func(t *testing.T) { testRubbish(t, c, etcdctl, revision, good) })
}

// testRubbish: refused by all, also over a restart; the last good document goes on; a good one clears it.
func testRubbish(t *testing.T, c *testcluster.Cluster, etcdctl func(string) ended, revision func() int64, good int64) {
	for _, rubbish := range []string{bad, "\x00\xff not even text", "a: &a [*a, *a]\nb: *c\n"} {
		etcdctl("put /tripod/config < '" + write(t, "rubbish", rubbish) + "'")
		served(t, c, good, true)
	}
	etcdctl("put /tripod/config < '" + write(t, "bad.yaml", bad) + "'")
	refused := revision()
	c.Wait("every node refusing the last one", func() error {
		if s, _ := status(t, c); s.Revision != refused || len(s.Problems) != 3 {
			return fmt.Errorf("revision %d, %q", s.Revision, s.Problems)
		}
		return nil
	})
	ran(c.Command("status")).want(t, 1, "PROBLEMS", badWord)
	s, _ := status(t, c)
	for _, n := range c.Nodes() {
		if !said(s.Problems, "node "+n.Name()+" ", "refuses", fmt.Sprint(refused), fmt.Sprintf("serves document revision %d", good), badPlace) {
			t.Errorf("status does not say that %s refuses %d and serves %d: %q", n.Name(), refused, good, s.Problems)
		}
		if metrics := n.Page("/metrics"); !strings.Contains(metrics, "\ntripod_config_refused 1\n") || !strings.Contains(metrics, fmt.Sprintf("\ntripod_config_revision %d\n", good)) {
			t.Errorf("metrics of %s do not show it", n.Name())
		}
		c.GetVia(n.Addr(), "http://shop.test:8080/").Want(200)
	}
	c.GetVia(c.VIP(0), "http://shop.test:8080/").Want(200)

	// A restarted node goes on with the last good one, too, and one that has lost its disk finds it in the history.
	c.Node(1).Stop()
	c.Node(1).Restart()
	c.Node(2).Stop()
	c.Node(2).Wipe()
	c.Node(2).Restart()
	served(t, c, good, true)
	for _, n := range c.Nodes() {
		c.GetVia(n.Addr(), "http://shop.test:8080/").Want(200)
	}

	// What an operator does then.
	ran(c.Command("config", "rollback", fmt.Sprint(good))).want(t, 0, ", served by ")
	now := decode[config.Version](t, ran(c.Command("config", "get", "-o", "json")).want(t, 0).out)
	served(t, c, now.Revision, false)
	c.WaitHolder(c.VIP(0))
	ran(c.Command("status")).want(t, 0, "All is well.")
	for _, n := range c.Nodes() {
		if !strings.Contains(n.Page("/metrics"), "\ntripod_config_refused 0\n") {
			t.Errorf("%s still counts as refusing", n.Name())
		}
	}
	// Rubbish is not history.
	list := decode[[]config.Version](t, ran(c.Command("config", "history", "-o", "json")).want(t, 0).out)
	if len(list) != 2 {
		t.Errorf("history: %+v", list)
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	ran(c.Command("env")).refused(t, "no node runs here")
	ran(c.Command("env", "--node", "127.0.0.1")).refused(t, "without --node")
	// A folder whose name has every character that a shell would take apart.
	odd := c.Dir() + `/o'd "$d`
	p := c.Spawn("run", "--nodes", c.VIP(50), "--data", odd)
	c.Wait("the node", func() error {
		if e := ran(c.Command("status", "--data", odd)); e.code != 0 {
			return fmt.Errorf("%s%s%s", e.out, e.err, p.Err())
		}
		return nil
	})
	out := ran(c.Shell(`export TRIPOD_DATA="$TRIPOD_DATA"'/o'\''d "$d'; eval "$(tripod env)"; echo "$ETCDCTL_CACERT"; etcdctl get --prefix --keys-only /tripod/nodes/`)).want(t, 0).out
	if want := odd + "/" + c.VIP(50) + "/tls/ca.crt\n"; !strings.HasPrefix(out, want) || !strings.Contains(out, "/tripod/nodes/"+c.VIP(50)) {
		t.Errorf("env in an odd folder: %s, want %s", out, want)
	}
	variables := decode[map[string]string](t, ran(c.Command("env", "-o", "json", "--data", odd)).want(t, 0).out)
	if len(variables) != 4 || variables["ETCDCTL_ENDPOINTS"] != "https://"+c.VIP(50)+":2379" {
		t.Errorf("env -o json: %v", variables)
	}
}
