//go:build linux

package lab

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"tripod/node"
)

// get asks a node, on its own address, from the client.
func get(l *Lab, n *Node) error {
	client := l.Client.HTTPClient()
	defer client.CloseIdleConnections()
	client.Timeout = time.Second
	response, err := client.Get(fmt.Sprintf("http://%s/", n.IP4))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || strings.TrimSpace(string(body)) != n.Name {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	return nil
}

// nodesUp are the nodes that are ready, as one of them sees it.
func nodesUp(n *Node) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	status, err := n.Client().Status(ctx)
	if err != nil {
		return 0, err
	}
	up := 0
	for _, n := range status.Nodes {
		if n.State == "ready" {
			up++
		}
	}
	return up, nil
}

func waitUp(l *Lab, n *Node, want int) {
	l.t.Helper()
	l.Wait(fmt.Sprintf("%d nodes ready, as %s sees it", want, n.Name), func() error {
		got, err := nodesUp(n)
		if err == nil && got != want {
			err = fmt.Errorf("%d are", got)
		}
		return err
	})
}

// testEpochs reads the holders of an address that are written by hand. No document names it, so the nodes may remove
// the records; that they were there remains.
func testEpochs(t *testing.T, l *Lab) {
	t.Helper()
	client, err := l.Etcd()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	const address = "10.77.0.199"
	if holders, err := l.Epochs(address); err == nil {
		t.Errorf("without a record, the holders are %v", holders)
	}
	key := node.VIPsPrefix + address
	for i, holder := range []string{"n1", "n2", "", "n1"} {
		if _, err := client.Put(ctx, key, fmt.Sprintf(`{"holder":%q,"epoch":%d}`, holder, i)); err != nil {
			t.Fatal(err)
		}
	}
	holders, err := l.Epochs(address)
	if err != nil || !slices.Equal(holders, []string{"n1", "n2", "n1"}) {
		t.Errorf("the holders are %v, %v", holders, err)
	}
}

// The real program, three times on the LAN: it forms a cluster, serves clients, outlives a cut cable and a power
// failure, and comes back.
func TestTripod(t *testing.T) {
	l := Start(t, 3)
	l.Apply(l.Site())
	for _, n := range l.Nodes() {
		l.Wait("an answer by "+n.Name, func() error { return get(l, n) })
	}
	n1, n2, n3 := l.Node(0), l.Node(1), l.Node(2)
	p := l.Probe(n2.IP4.String(), Every(50*time.Millisecond), Timeout(Patience))
	p.WaitHolder(Is(n2))

	n1.CutCable()
	waitUp(l, n2, 2)
	n2.Apply(strings.Replace(l.Site(), "interval: 200ms", "interval: 300ms", 1))
	n1.MendCable()
	waitUp(l, n2, 3)
	l.Wait("an answer by n1", func() error { return get(l, n1) })

	n3.PowerOff()
	waitUp(l, n1, 2)
	n3.PowerOn()
	n3.WaitReady()
	waitUp(l, n1, 3)
	l.Wait("an answer by n3", func() error { return get(l, n3) })

	n1.Restart()
	testEpochs(t, l)
	waitUp(l, n3, 3)
	l.Wait("an answer by n1", func() error { return get(l, n1) })

	p.Stop()
	if s := p.Summary(0, l.Now()); s.Failed > 0 || s.By["n2"] == 0 {
		t.Errorf("through a node without a fault: %s", s)
	}
	p.OnlyInOrder("n2")
	out, err := n2.Tripod("status")
	if err != nil || !strings.Contains(out, "n3") {
		t.Errorf("tripod status: %v\n%s", err, out)
	}
}
