package cli_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/node/config"
	"tripod/testcluster"
)

func decode[V any](t *testing.T, text string) V {
	t.Helper()
	var v V
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return v
}

// One cluster lives through the whole life of a document.
func TestConfig(t *testing.T) {
	t.Parallel()
	backend := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	first := site(c, backend)
	file := write(t, "site.yaml", first)

	t.Run("none", func(t *testing.T) {
		ran(c.Command("config", "get")).refused(t, "there is no document yet", "tripod config apply FILE")
		ran(c.Command("config", "history")).want(t, 0, "REVISION")
		if e := ran(c.Command("config", "diff")).want(t, 0); e.out != "" {
			t.Errorf("diff of nothing: %s", e.out)
		}
		ran(c.Command("status")).want(t, 0, "no document yet: tripod config apply FILE")
	})
	t.Run("apply", func(t *testing.T) { testApply(t, c, file, first) })
	t.Run("refused", func(t *testing.T) { testRefused(t, c, file, first) })
	t.Run("history", func(t *testing.T) { testHistory(t, c, file, first) })
	t.Run("edit", func(t *testing.T) { testEdit(t, c) })
	t.Run("taken port", func(t *testing.T) { testTakenPort(t, c, first) })
}

func testApply(t *testing.T, c *testcluster.Cluster, file, first string) {
	dry := ran(c.Command("config", "apply", "--dry-run", file)).want(t, 0, "+listeners:", "dry run: nothing was changed")
	if dry.err != "" {
		t.Errorf("a dry run complains: %s", dry.err)
	}
	ran(c.Command("config", "get")).refused(t, "there is no document yet")

	e := ran(c.Command("config", "apply", "-m", "the beginning", file)).want(t, 0, "+++ "+file, "+listeners:", ", served by ")
	for _, n := range c.Nodes() {
		if !strings.Contains(e.out, n.Name()) {
			t.Errorf("apply does not name %s: %s", n.Name(), e.out)
		}
		c.GetVia(n.Addr(), "http://shop.test:8080/").Want(200)
	}
	if got := ran(c.Command("config", "get")).want(t, 0); got.out != first {
		t.Errorf("not the text that was applied:\n%s", got.out)
	}
	v := decode[config.Version](t, ran(c.Command("config", "get", "-o", "json")).want(t, 0).out)
	if v.Text != first || v.Message != "the beginning" || !strings.Contains(v.Author, "@") || time.Since(v.Time) > time.Hour {
		t.Errorf("get -o json: %+v", v)
	}
	if raw := ran(c.Shell(`eval "$(tripod env)"; etcdctl get --print-value-only /tripod/config`)).want(t, 0); raw.out != first+"\n" {
		t.Errorf("etcd holds another text:\n%s", raw.out)
	}

	again := ran(c.Command("config", "apply", file)).want(t, 0, fmt.Sprintf("no change: revision %d is this document", v.Revision))
	if strings.Contains(again.out, "+++") {
		t.Errorf("a diff of no change: %s", again.out)
	}
	// From standard input, with comments only, for programs.
	second := first + "# from a pipe\n"
	reply := decode[api.ApplyReply](t, ran(c.CommandInput(second, "config", "apply", "-", "-o", "json")).want(t, 0).out)
	if reply.Former != v.Revision || reply.Revision <= v.Revision || len(reply.Served) != 3 || len(reply.Missing) != 0 || !strings.Contains(reply.Diff, "\n+# from a pipe\n") {
		t.Errorf("apply -o json: %+v", reply)
	}
	if got := ran(c.Command("config", "get")); got.out != second {
		t.Errorf("not the text from standard input:\n%s", got.out)
	}
	served(t, c, reply.Revision, false)
}

func testRefused(t *testing.T, c *testcluster.Cluster, file, first string) {
	before := ran(c.Command("config", "get", "-o", "json")).want(t, 0).out
	v := decode[config.Version](t, before)
	stale := ran(c.Command("config", "apply", "--if-revision", "1", file))
	stale.refused(t, fmt.Sprintf("revision %d by %s", v.Revision, v.Author), "you based yours on 1")
	if !strings.Contains(stale.err, " ago") && !strings.Contains(stale.err, "just now") {
		t.Errorf("does not say when: %s", stale.err)
	}
	if strings.Contains(v.Message, "the beginning") {
		t.Errorf("the message of an earlier change sticks: %q", v.Message)
	}
	ran(c.Command("config", "apply", "--if-revision", "0", file)).refused(t, "there is a document already")

	broken := write(t, "broken.yaml", bad)
	ran(c.Command("config", "apply", broken)).refused(t, broken+badPlace, badWord)
	ran(c.CommandInput(bad, "config", "apply", "-")).refused(t, "standard input"+badPlace)
	big := write(t, "big.yaml", first+strings.Repeat("# so much to say\n", config.MaxSize/17+1))
	ran(c.Command("config", "apply", big)).refused(t, big, "the limit is 2 MiB")
	ran(c.Command("config", "apply", filepath.Join(t.TempDir(), "nosuch.yaml"))).refused(t, "nosuch.yaml", "no such file")
	ran(c.Command("config", "apply", t.TempDir())).refused(t, "is a directory")
	ran(c.Command("config", "rollback", "999999")).refused(t, "999999", "nearest are", fmt.Sprint(v.Revision))
	ran(c.Command("config", "get", "--revision", "999999")).refused(t, "999999", "nearest are")
	ran(c.Command("config", "diff", "999999")).refused(t, "999999", "nearest are")

	if after := ran(c.Command("config", "get", "-o", "json")).out; after != before {
		t.Errorf("something refused changed the document:\n%s", after)
	}
	ran(c.Command("config", "apply", "--if-revision", fmt.Sprint(v.Revision), file)).want(t, 0, "-# from a pipe")
}

func testHistory(t *testing.T, c *testcluster.Cluster, file, first string) {
	text := ran(c.Command("config", "history")).want(t, 0, "REVISION", "AUTHOR", "the beginning")
	list := decode[[]config.Version](t, ran(c.Command("config", "history", "-o", "json")).want(t, 0).out)
	if len(list) != 3 || len(rows(text.out)) != 3 {
		t.Fatalf("history has %d documents, not the 3 that were applied:\n%s", len(list), text.out)
	}
	lines := strings.Split(strings.TrimSpace(text.out), "\n")
	if strings.Index(lines[0], "MESSAGE") != strings.Index(lines[len(lines)-1], "the beginning") {
		t.Errorf("the columns are not aligned:\n%s", text.out)
	}
	for i, row := range rows(text.out) {
		if row[0] != fmt.Sprint(list[i].Revision) || i > 0 && list[i].Revision >= list[i-1].Revision {
			t.Errorf("history is not newest first: %s", text.out)
		}
	}
	now, piped, oldest := list[0].Revision, list[1].Revision, list[2].Revision

	// By default against the one before; else against the one that is named.
	if d := ran(c.Command("config", "diff")).want(t, 0, fmt.Sprintf("--- revision %d\n+++ revision %d\n", piped, now), "-# from a pipe"); strings.Contains(d.out, "\n+#") {
		t.Errorf("diff: %s", d.out)
	}
	if d := ran(c.Command("config", "diff", fmt.Sprint(oldest))).want(t, 0); d.out != "" {
		t.Errorf("diff of equal texts: %s", d.out)
	}
	if got := ran(c.Command("config", "get", "--revision", fmt.Sprint(piped))).want(t, 0); got.out != first+"# from a pipe\n" {
		t.Errorf("get --revision: %s", got.out)
	}

	ran(c.Command("config", "rollback", "-m", "it was better", fmt.Sprint(piped))).want(t, 0, "+# from a pipe", ", served by ")
	if got := ran(c.Command("config", "get")); got.out != first+"# from a pipe\n" {
		t.Errorf("after the rollback: %s", got.out)
	}
	list = decode[[]config.Version](t, ran(c.Command("config", "history", "-o", "json")).want(t, 0).out)
	if want := fmt.Sprintf("rollback to revision %d: it was better", piped); len(list) != 4 || list[0].Message != want {
		t.Errorf("history after the rollback has %d documents, the newest %q, want %q", len(list), list[0].Message, want)
	}
	ran(c.Command("config", "apply", file)).want(t, 0)
}

// testTakenPort: the document is stored and served by the others; the one that cannot is named, and follows when
// the port is free.
func testTakenPort(t *testing.T, c *testcluster.Cluster, first string) {
	unlucky := c.Node(1)
	address := net.JoinHostPort(unlucky.Addr(), "8090")
	squatter, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	document := strings.Replace(first, "listeners:\n", "listeners:\n  more: { address: \":8090\" }\n", 1)
	e := ran(c.CommandInput(document, "config", "apply", "-")).want(t, 3,
		fmt.Sprintf(", served by %s, %s\n", c.Node(0).Name(), c.Node(2).Name()))
	if line, ok := complaint(e.err); !ok || !strings.HasPrefix(line, "tripod: node "+unlucky.Name()+" does not serve it: ") ||
		!strings.Contains(line, "listener more") || !strings.Contains(line, address) {
		t.Errorf("not one line that names the node, the listener and its address:\n%s", e.err)
	}
	for _, n := range []*testcluster.Node{c.Node(0), c.Node(2)} {
		c.GetVia(n.Addr(), "http://shop.test:8090/").Want(200)
	}
	c.GetVia(unlucky.Addr(), "http://shop.test:8080/").Want(200) // the last good document
	if s, code := status(t, c); code != 1 || !said(s.Problems, unlucky.Name(), address) {
		t.Errorf("status exits with %d: %q", code, s.Problems)
	}
	reply := decode[api.ApplyReply](t, ran(c.CommandInput(document, "config", "apply", "-o", "json", "-")).want(t, 3).out)
	if len(reply.Missing) != 1 || reply.Missing[0].Node != unlucky.Name() || len(reply.Served) != 2 || !reply.Unchanged {
		t.Errorf("apply -o json: %+v", reply)
	}
	squatter.Close()
	served(t, c, reply.Revision, false)
	c.GetVia(unlucky.Addr(), "http://shop.test:8090/").Want(200)
}

// A script that applies again and again: the node stays registered throughout, and each answer names it. Its lease
// ends after three seconds without a renewal, and with it the key, and the node's VIPs.
func TestConfigAppliedOften(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1)
	registered := func() int64 {
		t.Helper()
		reply, err := c.Etcd().Get(t.Context(), "/tripod/nodes/"+c.Node(0).Name())
		if err != nil || len(reply.Kvs) != 1 {
			t.Fatalf("the node's key: %v, %v", reply, err)
		}
		return reply.Kvs[0].CreateRevision
	}
	before, applied := registered(), 0
	for began := time.Now(); time.Since(began) < 5*time.Second && !t.Failed(); applied++ {
		ran(c.CommandInput(fmt.Sprintf("# %d\n", applied), "config", "apply", "-")).want(t, 0, ", served by "+c.Node(0).Name()+"\n")
	}
	if after := registered(); after != before {
		t.Errorf("the node's key was lost meanwhile, and written anew at revision %d", after)
	}
	// The list of those that are kept is bounded.
	list := decode[[]config.Version](t, ran(c.Command("config", "history", "-o", "json")).want(t, 0).out)
	if len(list) != min(applied, 100) || applied < 10 {
		t.Errorf("%d documents are kept of %d", len(list), applied)
	}
}

func TestConfigCheckNeedsNoNode(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	document := site(c, testcluster.StartBackend(t, "one", nil))
	good, broken := write(t, "good.yaml", document), write(t, "broken.yaml", bad+"rutes: []\n")
	type report struct {
		OK                 bool
		Problems, Warnings []config.Problem
	}

	ran(c.Command("config", "check", good)).want(t, 0, good+": ok: 2 listeners, 1 routes, 1 services, 1 vips")
	ran(c.CommandInput(document, "config", "check", "-")).want(t, 0, "standard input: ok")
	e := ran(c.Command("config", "check", broken)).want(t, 1)
	if lines := strings.Split(strings.TrimSpace(e.err), "\n"); len(lines) != 2 || !strings.HasPrefix(lines[0], broken+badPlace) ||
		!strings.HasPrefix(lines[1], broken+":3:1: ") || !strings.Contains(lines[1], `did you mean "routes"?`) || e.out != "" {
		t.Errorf("not a line for each mistake:\n%s%s", e.out, e.err)
	}
	r := decode[report](t, ran(c.Command("config", "check", "-o", "json", broken)).want(t, 1).out)
	if r.OK || len(r.Problems) != 2 || r.Problems[0].Line != 2 || r.Problems[0].Column != 11 || r.Problems[0].Path != "listeners.http.adress" {
		t.Errorf("check -o json: %+v", r)
	}
	out := ran(c.Command("config", "check", "-o", "json", good)).want(t, 0).out
	if r := decode[report](t, out); !r.OK || r.Problems == nil || r.Warnings == nil {
		t.Errorf("check -o json of a good document has no empty lists: %s", out)
	}
	// A remark does not refuse.
	warned := strings.Replace(document, "listeners:\n", "listeners:\n  tcp: { address: \":8091\", protocol: tcp, service: web }\n", 1) +
		"  idle:\n    servers: [ 127.0.0.1:9 ]\n"
	if e := ran(c.CommandInput(warned, "config", "check", "-")).want(t, 0, "ok"); !strings.HasPrefix(e.err, "warning: standard input:") || !strings.Contains(e.err, "idle") {
		t.Errorf("no warning of a service that nothing leads to: %s", e.err)
	}
	ran(c.Command("config", "check", filepath.Join(t.TempDir(), "nosuch"))).refused(t, "nosuch", "no such file")
	ran(c.Command("config", "get")).refused(t, "no node runs here", "tripod run", "--data", "--node ADDR")
}

func TestConfigSchema(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	e := ran(c.Command("config", "schema")).want(t, 0)
	schema := decode[map[string]any](t, e.out)
	properties, _ := schema["properties"].(map[string]any)
	for _, key := range []string{"vips", "listeners", "routes", "services", "certificates", "access_log"} {
		if _, ok := properties[key]; !ok {
			t.Errorf("the schema does not know %s", key)
		}
	}
	if schema["additionalProperties"] != false || !strings.Contains(fmt.Sprint(schema["$schema"]), "json-schema.org") {
		t.Errorf("schema of %v, additional keys %v", schema["$schema"], schema["additionalProperties"])
	}
	// An enum of the schema is what check accepts.
	log := properties["access_log"].(map[string]any)
	for _, word := range log["enum"].([]any) {
		ran(c.CommandInput(fmt.Sprintf("access_log: %s\n", word), "config", "check", "-")).want(t, 0)
	}
	ran(c.CommandInput("access_log: perhaps\n", "config", "check", "-")).want(t, 1, "standard input:1:13: ")
	if _, err := os.Stat(filepath.Join(c.Dir(), "secret")); err == nil {
		t.Error("commands that need no node made a secret")
	}
}
