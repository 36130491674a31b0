// Package lab tests what crosses a network: hosts in network namespaces on one virtual LAN, with the real program on each
// node. It needs Linux and root, and changes nothing on the machine itself: the switch, a bridge, is in a namespace of its
// own, every host is in another, and cables, pairs of veth interfaces, join them. The namespaces have no names; a thread
// of the test binary keeps each, and the kernel takes all away when it ends, however it ends.
//
//	func TestMain(m *testing.M) { testcluster.Main(m) }
//
//	func TestCable(t *testing.T) {
//		l := lab.Start(t, 3)                   // n1, n2, n3, ready
//		l.Apply(l.Site(l.VIP(0)))              // returns when every node serves it
//		p := l.Probe(l.VIP(0))                 // before the fault: it watches from here to the end
//		old := p.WaitHolder()
//		cut := old.CutCable()
//		p.WaitHolder(lab.Not(old))
//		t.Log(p.Failover(cut))
//		old.MendCable()
//		p.NeverTwoAnswering()
//	}
//
// # The LAN
//
//	n1, n2, …   10.77.0.1, fd77::1   02:77:00:00:00:01   run tripod
//	client      10.77.0.50           …:32                sends the requests
//	watcher     10.77.0.51           …:33                asks who has the VIP
//	servers     10.77.0.60           …:3c                are behind the cluster: web on 8080, echo on 7000
//	foreign1, … 10.77.0.71 …         …:47                are strangers (Lab.ForeignStation)
//	VIPs        10.77.0.100, fd77::100, and on
//
// The web server answers with the name of the node that asked it, which is how a probe knows who answered: tripod
// itself does nothing for the tests.
//
// # Faults
//
// Every fault holds when its method has returned, and returns the Moment before it, to count from. To a host: CutCable,
// CutSilently, CutIncoming, CutOutgoing, Loss; to a node also PartitionCluster, PartitionClients, RemoveAddress, Kill,
// Pause, PowerOff, FillDisk. Packets are dropped in the switch, by nftables, so that the hosts' own tables stay
// tripod's. There is no delay: that would take the kernel's netem.
//
// # Who may answer
//
// A Probe taps the switch: it sees every frame in which a station claims the address, at the port where it came in, also
// frames that reach nobody. Probe.NeverTwoAnswering compares what was seen, with the answers to its requests, to the
// holders that the VIP's record named in etcd: once a holder was seen, no earlier one may be seen again, except by a
// later epoch of its own. Nothing in that depends on the length of any delay, or on what the nodes say of themselves.
//
// A SYN-ACK counts, because it answers a new connection; other packets of TCP do not, because a connection may outlive a
// planned move on its old holder. So does an ARP request *from* the address, which tells everybody its sender's MAC as
// much as an answer would (RFC 826, "Packet Reception").
package lab
