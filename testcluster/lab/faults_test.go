//go:build linux

package lab

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"
)

// silence is how long a test waits to be sure that nothing comes.
const silence = 300 * time.Millisecond

// connects tries whether a connection comes about. One whose packets are dropped takes the whole time.
func connects(from, to *Host, port int, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", netip.AddrPortFrom(to.IP4, uint16(port)).String())
	if err == nil {
		conn.Close()
	}
	return err
}

func wantConnects(t *testing.T, from, to *Host, port int) {
	t.Helper()
	if err := connects(from, to, port, Patience); err != nil {
		t.Errorf("%s to port %d of %s: %v", from.Name, port, to.Name, err)
	}
}

func wantCut(t *testing.T, from, to *Host, port int) {
	t.Helper()
	if connects(from, to, port, silence) == nil {
		t.Errorf("%s still reaches port %d of %s", from.Name, port, to.Name)
	}
}

// arrive counts how many of n datagrams arrive.
func arrive(t *testing.T, from, to *Host, n int) int {
	t.Helper()
	var in *net.UDPConn
	err := to.Do(func() (err error) {
		in, err = net.ListenUDP("udp4", &net.UDPAddr{IP: to.IP4.AsSlice()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := from.Dial(context.Background(), "udp4", in.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	got := 0
	datagram := make([]byte, 8)
	receive := func(patience time.Duration) bool {
		if err := in.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Read(datagram); err != nil {
			return false
		}
		got++
		return true
	}
	for i := range n {
		if _, err := fmt.Fprint(out, "datagram"); err != nil {
			t.Fatal(err)
		}
		if i%64 == 63 { // a socket holds some hundreds
			for got <= i && receive(2*time.Millisecond) {
			}
		}
	}
	for got < n && receive(silence) {
	}
	return got
}

// Every fault of the network does what it says, to those it says, and is over when it is taken back.
func TestNetworkFaults(t *testing.T) {
	l := startFakes(t, 3)
	n1, n2, n3 := l.Node(0), l.Node(1), l.Node(2)
	// For one-way faults neighbours have to be known: asking takes both ways.
	meet := func() {
		t.Helper()
		for _, other := range []*Host{n2.Host, n3.Host, l.Client, l.Servers} {
			wantConnects(t, other, n1.Host, 80)
			if arrive(t, n1.Host, other, 1) != 1 {
				t.Errorf("n1 does not reach %s", other.Name)
			}
		}
		wantConnects(t, l.Client, n2.Host, 80)
	}
	meet()

	t.Run("CutCable", func(t *testing.T) {
		n1.CutCable()
		wantCut(t, l.Client, n1.Host, 80)
		wantConnects(t, l.Client, n2.Host, 80)
		if n1.Carrier() || !n2.Carrier() {
			t.Errorf("carriers: n1 %v, n2 %v; want none and one", n1.Carrier(), n2.Carrier())
		}
		n1.MendCable()
		meet()
		if !n1.Carrier() {
			t.Error("no carrier after the cable was mended")
		}
	})
	t.Run("CutSilently", func(t *testing.T) {
		n1.CutSilently()
		for _, other := range []*Host{n2.Host, l.Client} {
			if a, b := arrive(t, n1.Host, other, 3), arrive(t, other, n1.Host, 3); a+b != 0 {
				t.Errorf("%d arrive at %s, %d come from it", a, other.Name, b)
			}
		}
		wantConnects(t, l.Client, n2.Host, 80)
		if !n1.Carrier() {
			t.Error("the carrier is lost")
		}
		n1.Heal()
		meet()
	})
	t.Run("CutIncoming", func(t *testing.T) {
		n1.CutIncoming()
		if out, in := arrive(t, n1.Host, l.Client, 3), arrive(t, l.Client, n1.Host, 3); out != 3 || in != 0 {
			t.Errorf("%d of 3 get out, %d of 3 get in", out, in)
		}
		n1.Heal()
		meet()
	})
	t.Run("CutOutgoing", func(t *testing.T) {
		n1.CutOutgoing()
		if out, in := arrive(t, n1.Host, l.Client, 3), arrive(t, l.Client, n1.Host, 3); out != 0 || in != 3 {
			t.Errorf("%d of 3 get out, %d of 3 get in", out, in)
		}
		n1.Heal()
		meet()
	})
	t.Run("PartitionCluster", func(t *testing.T) {
		n1.PartitionCluster()
		for port := firstClusterPort; port <= lastClusterPort; port++ {
			wantCut(t, n1.Host, n2.Host, port)
			wantCut(t, n3.Host, n1.Host, port)
			wantConnects(t, n2.Host, n3.Host, port)
			wantConnects(t, l.Client, n1.Host, port)
		}
		wantConnects(t, n2.Host, n1.Host, 80)
		wantConnects(t, n1.Host, n2.Host, 80)
		wantConnects(t, n1.Host, l.Servers, webPort)
		wantConnects(t, l.Client, n1.Host, 80)
		n1.Heal()
		wantConnects(t, n1.Host, n2.Host, 2380)
		meet()
	})
	t.Run("PartitionClients", func(t *testing.T) {
		n1.PartitionClients()
		wantCut(t, l.Client, n1.Host, 80)
		wantCut(t, n1.Host, l.Servers, webPort)
		for port := firstClusterPort; port <= lastClusterPort; port++ {
			wantConnects(t, n1.Host, n2.Host, port)
			wantConnects(t, n3.Host, n1.Host, port)
		}
		wantConnects(t, l.Client, n2.Host, 80)
		n1.Heal()
		meet()
	})
	t.Run("Loss", func(t *testing.T) {
		const sent = 3000
		if got := arrive(t, l.Client, n1.Host, sent); got != sent {
			t.Fatalf("without loss %d of %d arrive", got, sent)
		}
		for _, percent := range []float64{30, 5} {
			n1.Loss(percent)
			share := percent / 100
			// Six standard deviations: by chance, less than once in 10⁸ runs.
			off := 6 * math.Sqrt(sent*share*(1-share))
			for _, way := range [][2]*Host{{l.Client, n1.Host}, {n1.Host, l.Client}} {
				lost := float64(sent - arrive(t, way[0], way[1], sent))
				if math.Abs(lost-sent*share) > off {
					t.Errorf("%s to %s: %v of %d lost, want %v ± %v", way[0].Name, way[1].Name, lost, sent, sent*share, off)
				}
			}
		}
		if got := arrive(t, l.Client, n2.Host, sent); got != sent {
			t.Errorf("to another node %d of %d arrive", got, sent)
		}
		n1.Loss(0)
		if got := arrive(t, l.Client, n1.Host, sent); got != sent {
			t.Errorf("after the loss %d of %d arrive", got, sent)
		}
	})
}

// Faults add up, and taking one host's back leaves the others'.
func TestFaultsAddUp(t *testing.T) {
	l := startFakes(t, 2)
	n1, n2 := l.Node(0), l.Node(1)
	wantConnects(t, n1.Host, n2.Host, 80)
	wantConnects(t, l.Client, n1.Host, 80)
	wantConnects(t, l.Client, n2.Host, 80)
	n1.PartitionCluster()
	n2.PartitionCluster()
	n1.PartitionClients()
	wantCut(t, l.Client, n1.Host, 80)
	wantCut(t, n1.Host, n2.Host, 2380)
	wantConnects(t, n1.Host, n2.Host, 80)
	n1.Heal()
	wantConnects(t, l.Client, n1.Host, 80)
	wantCut(t, n1.Host, n2.Host, 2380)
	n2.Heal()
	wantConnects(t, n1.Host, n2.Host, 2380)
}

// IPv6 and the LAN's own addresses work on every host from the start.
func TestAddresses(t *testing.T) {
	l := startFakes(t, 2)
	for _, h := range l.hosts() {
		if !h.Has(h.IP4) || !h.Has(h.IP6) {
			t.Errorf("%s has not both %s and %s", h.Name, h.IP4, h.IP6)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := l.Client.Dial(ctx, "tcp", netip.AddrPortFrom(l.Node(0).IP6, 80).String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	out, err := l.Node(0).Run("cat", "/sys/class/net/eth0/address")
	if err != nil || out != l.Node(0).MAC.String()+"\n" {
		t.Errorf("/sys says %q, %v; want the host's own interface, %s", out, err, l.Node(0).MAC)
	}
}
