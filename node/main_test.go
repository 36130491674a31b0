package node_test

import (
	"fmt"
	"strings"
	"testing"

	"tripod/testcluster"
)

func TestMain(m *testing.M) { testcluster.Main(m) }

// site is a document with one VIP, HTTP on 8080 and HTTPS on 8443, and a service of the given servers.
func site(c *testcluster.Cluster, servers ...*testcluster.Backend) string {
	var b strings.Builder
	fmt.Fprintf(&b, "vips: [ %s/32 ]\n", c.VIP(0))
	b.WriteString("listeners:\n  http: { address: \":8080\" }\n  https: { address: \":8443\", tls: true }\n")
	b.WriteString("routes:\n  - { host: shop.test, service: web }\n")
	b.WriteString("services:\n  web:\n    health: { path: /healthz, interval: 100ms, rise: 1, fall: 2 }\n    servers:\n")
	for _, s := range servers {
		fmt.Fprintf(&b, "      - %s\n", s.Address())
	}
	return b.String()
}

// metric is the value of a metric on a node's /metrics, with its labels as they are printed there.
func metric(t *testing.T, n *testcluster.Node, name string) string {
	t.Helper()
	for line := range strings.SplitSeq(n.Page("/metrics"), "\n") {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return value
		}
	}
	return ""
}
