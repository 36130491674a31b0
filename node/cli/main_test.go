package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tripod/node/api"
	"tripod/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }

// site is a document with one VIP, HTTP on 8080, HTTPS on 8443 and the given servers behind shop.test. Its comments
// and its odd spaces must survive.
func site(c *testcluster.Cluster, servers ...*testcluster.Backend) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# the shop, by ann   \nvips: [ %s/32 ]\n", c.VIP(0))
	b.WriteString("listeners:\n  http:  { address: \":8080\" }   # plain\n  https: { address: \":8443\", tls: true }\n")
	b.WriteString("routes:\n  - { host: shop.test, service: web }\n")
	b.WriteString("services:\n  web:\n    health: { path: /healthz, interval: 100ms, timeout: 2s, rise: 1, fall: 2 }\n    servers:\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "      - %s\n", s.Address())
	}
	return b.String()
}

// bad does not compile: line 2, column 11.
const bad = "listeners:\n  http: { adress: \":8080\" }\n"

const (
	badPlace = ":2:11: "
	badWord  = `did you mean "address"?`
)

// ended is how a command ended.
type ended struct {
	out, err string
	code     int
}

// ran makes one value of what the testcluster's commands return.
func ran(out, err string, code int) ended { return ended{out, err, code} }

// want fails the test unless the command ended with this code, and said all of the texts on standard output or error.
func (e ended) want(t *testing.T, code int, texts ...string) ended {
	t.Helper()
	if e.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", e.code, code, e.out, e.err)
	}
	for _, text := range texts {
		if !strings.Contains(e.out+e.err, text) {
			t.Errorf("%q is not said in\n%s%s", text, e.out, e.err)
		}
	}
	return e
}

// refused fails the test unless the command failed with exactly one line of complaint, which says all of the texts.
func (e ended) refused(t *testing.T, texts ...string) {
	t.Helper()
	e.want(t, 1)
	line, ok := complaint(e.err)
	if !ok {
		t.Errorf("not one line of complaint:\n%s", e.err)
	}
	for _, text := range texts {
		if !strings.Contains(line, text) {
			t.Errorf("%q is not said in: %s", text, line)
		}
	}
	if e.out != "" {
		t.Errorf("standard output of what failed: %s", e.out)
	}
}

// complaint is the one line on standard error that is no log line. Log lines of run must not warn of more.
func complaint(stderr string) (string, bool) {
	var lines []string
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "time=") || strings.Contains(line, "level=ERROR") {
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "tripod: ") {
		return strings.Join(lines, "\n"), false
	}
	return lines[0], true
}

// write writes a file of the test, and returns its path.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// rows are the cells of a table, without its heading.
func rows(table string) [][]string {
	var cells [][]string
	for line := range strings.Lines(table) {
		cells = append(cells, strings.Fields(line))
	}
	return cells[min(1, len(cells)):]
}

// served waits until every node of the cluster serves the revision, and, when refuses is set, refuses a newer one.
func served(t *testing.T, c *testcluster.Cluster, revision int64, refuses bool) {
	t.Helper()
	for _, n := range c.Nodes() {
		c.Wait(fmt.Sprintf("%s serving revision %d", n.Name(), revision), func() error {
			local, err := n.Client().Local(t.Context())
			if err == nil && (local.Applied != revision || (local.Error != "") != refuses) {
				err = fmt.Errorf("serves %d, error %q", local.Applied, local.Error)
			}
			return err
		})
	}
}

// status is tripod status -o json.
func status(t *testing.T, c *testcluster.Cluster) (api.Status, int) {
	t.Helper()
	e := ran(c.Command("status", "-o", "json"))
	if e.out == "" {
		return api.Status{Problems: []string{e.err}}, e.code
	}
	return decode[api.Status](t, e.out), e.code
}

// said tells whether one of the problems says all of the texts.
func said(problems []string, texts ...string) bool {
	return slices.ContainsFunc(problems, func(p string) bool { return containsAll(p, texts) })
}

func containsAll(line string, texts []string) bool {
	return !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) })
}
