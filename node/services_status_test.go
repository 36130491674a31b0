package node_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/proxy/upstream"
	"tripod/testcluster"
)

// servicesDocument is a document with a service for each host of the same name, each written as the rest of its mapping.
func servicesDocument(services map[string]string) string {
	var routes, all strings.Builder
	for name, rest := range services {
		fmt.Fprintf(&routes, "  - { host: %s.test, service: %s }\n", name, name)
		fmt.Fprintf(&all, "  %s: { %s }\n", name, rest)
	}
	return "listeners:\n  http: { address: \":8080\" }\nroutes:\n" + routes.String() + "services:\n" + all.String()
}

// The status says why servers get nothing, and what waits: each as a problem where something is wrong.
func TestStatusOfServers(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	slow := testcluster.StartBackend(t, "slow", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	broken := testcluster.StartBackend(t, "broken", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := w.(http.Hijacker).Hijack(); err == nil {
			conn.Close()
		}
	}))
	well := testcluster.StartBackend(t, "well", nil)
	mute, err := net.ListenPacket("udp", "127.0.0.1:0") // a name server that does not answer
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply(servicesDocument(map[string]string{
		"queue": "servers: [ " + slow.Address() + " ], limits: { requests: 1, wait: 1m }",
		"break": "servers: [ " + broken.Address() + ", " + well.Address() + " ], passive: { failures: 2, eject: 5m }",
		"start": "servers: [ " + well.Address() + " ], slow_start: 1h",
		"names": "servers: [ \"nosuch.invalid:80\", " + well.Address() + " ]",
		"sick":  "servers: [ " + well.Address() + " ], health: { path: /healthz, interval: 50ms, status: [ \"201\" ] }",
	}) + "dns: { servers: [ \"" + mute.LocalAddr().String() + "\" ] }\n")
	for range 3 { // two wait
		client := c.HTTPClient(c.Node(0).Addr(), false)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if response, err := client.Get("http://queue.test:8080/"); err == nil {
				response.Body.Close()
			}
		}()
		t.Cleanup(func() { <-done })
	}
	t.Cleanup(func() { close(hold) })
	for range 8 {
		c.GetVia(c.Node(0).Addr(), "http://break.test:8080/").Want(http.StatusOK)
	}
	for _, state := range []upstream.OrderState{upstream.Drain, upstream.Ready} {
		if _, err := c.Node(0).Client().Order(within(t), api.OrderRequest{Service: "start", Address: well.Address(), State: state}); err != nil {
			t.Fatal(err)
		}
		want := map[upstream.OrderState]upstream.State{upstream.Drain: upstream.StateDrain, upstream.Ready: upstream.StateUp}[state]
		stateOn(t, c, c.Nodes(), "start", well.Address(), want, 1)
	}
	c.Wait("the status", func() error {
		return tellsOfServers(c.Status(), c.Node(0).Name(), well.Address(), broken.Address())
	})
}

// serverIn is a server of a status.
func serverIn(s api.Status, service, address string) api.ServerStatus {
	for _, one := range s.Services {
		for _, server := range one.Servers {
			if one.Name == service && server.Address == address {
				return server
			}
		}
	}
	return api.ServerStatus{}
}

// tellsOfServers says what a status does not tell of the servers of TestStatusOfServers, whose first node has ejected the broken one.
func tellsOfServers(s api.Status, node, well, broken string) error {
	all := strings.Join(s.Problems, "\n")
	for _, want := range []string{
		"service queue: 2 requests wait for their turn",
		"service break: server " + broken + " is ejected on " + node + ": ",
		"service sick: server " + well + " is down on all nodes: http check: ",
		"service names: nosuch.invalid is not resolved: ",
	} {
		if !strings.Contains(all, want) {
			return fmt.Errorf("%q is not said in %q", want, s.Problems)
		}
	}
	if len(s.Problems) != 4 {
		return fmt.Errorf("problems: %q", s.Problems)
	}
	ejected := serverIn(s, "break", broken)
	if ejected.State[node] != upstream.StateEjected || ejected.Why[node] == "" || time.Until(ejected.Next[node]) < time.Minute {
		return fmt.Errorf("ejected: %+v", ejected)
	}
	if text := ejected.StateText(time.Now()); !strings.HasPrefix(text, "EJECTED for 4m on "+node) {
		return fmt.Errorf("state of the ejected: %q", text)
	}
	if text := serverIn(s, "start", well).StateText(time.Now()); text != "up 10%" {
		return fmt.Errorf("state of the warming: %q", text)
	}
	down := serverIn(s, "sick", well)
	if text := down.StateText(time.Now()); text != "DOWN" || !strings.HasPrefix(down.WhyText(), "http check: ") || down.NextText(time.Now()) == "-" {
		return fmt.Errorf("down: %q, %q, %q", text, down.WhyText(), down.NextText(time.Now()))
	}
	return nil
}
