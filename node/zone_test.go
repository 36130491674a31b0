package node_test

import (
	"fmt"
	"testing"

	"tripod/testcluster"
)

// Each node gives requests to the servers of its own zone.
func TestNodesPreferServersOfTheirZone(t *testing.T) {
	c := testcluster.Start(t, 2, testcluster.Stopped())
	zones := []string{"a", "b"}
	servers := ""
	for i, zone := range zones {
		c.Node(i).SetFlags("--zone", zone)
		c.Node(i).Start()
		servers += fmt.Sprintf("\n      - { address: %q, zone: %s }", testcluster.StartBackend(t, zone, nil).Address(), zone)
	}
	c.WaitReady()
	c.Apply("listeners:\n  http: { address: \":8080\" }\nroutes:\n  - { service: web }\nservices:\n  web:\n    prefer_zone: true\n    servers:" + servers + "\n")
	for i, zone := range zones {
		for range 6 {
			if got := c.GetVia(c.Node(i).Addr(), "http://"+c.Node(i).Addr()+":8080/").Header.Get("X-Server"); got != zone {
				t.Errorf("a node of zone %s gave a request to zone %s", zone, got)
			}
		}
	}
}
