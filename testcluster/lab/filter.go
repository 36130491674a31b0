//go:build linux

package lab

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The ports that the nodes of a cluster use among themselves: etcd's clients and peers, and the node API.
const (
	firstClusterPort = 2379
	lastClusterPort  = 2381
)

// packetFaults is what the switch does to one host's frames.
type packetFaults struct {
	incoming, outgoing bool    // to the host, from it: nothing passes
	cluster            bool    // nothing passes between the cluster ports of this node and other nodes
	clients            bool    // nothing passes between this node and hosts that are no nodes
	loss               float64 // share of frames lost, each way, 0 to 1
}

// filter drops frames in the switch: one table of the bridge family with one chain at the forward hook, written
// anew in one transaction whenever a fault changes, so that no fault leaves a trace in another.
type filter struct {
	conn  *nftables.Conn
	table *nftables.Table
	chain *nftables.Chain

	mu     sync.Mutex
	nodes  []string // ports of nodes
	others []string // ports of other hosts
	faults map[string]packetFaults
}

func newFilter(ns *namespace) (*filter, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.net.Fd())), nftables.AsLasting())
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	f := &filter{conn: conn, faults: map[string]packetFaults{}}
	f.table = conn.AddTable(&nftables.Table{Name: "lab", Family: nftables.TableFamilyBridge})
	f.chain = conn.AddChain(&nftables.Chain{
		Name: "forward", Table: f.table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
	})
	if err := conn.Flush(); err != nil {
		_ = conn.CloseLasting() // the first error tells
		return nil, fmt.Errorf("nftables for bridges: %w", err)
	}
	return f, nil
}

func (f *filter) close() { _ = f.conn.CloseLasting() } // only its socket; the table goes with the namespace

// know tells of a host's port.
func (f *filter) know(port string, node bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if node {
		f.nodes = append(f.nodes, port)
	} else {
		f.others = append(f.others, port)
	}
	return f.write()
}

// change changes the faults of one host; they hold when it returns.
func (f *filter) change(port string, how func(*packetFaults)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	faults := f.faults[port]
	how(&faults)
	f.faults[port] = faults
	return f.write()
}

func (f *filter) write() error {
	f.conn.FlushChain(f.chain)
	for _, port := range slices.Concat(f.nodes, f.others) {
		for _, match := range f.rules(port, f.faults[port]) {
			drop := append(match, &expr.Verdict{Kind: expr.VerdictDrop})
			f.conn.AddRule(&nftables.Rule{Table: f.table, Chain: f.chain, Exprs: drop})
		}
	}
	if err := f.conn.Flush(); err != nil {
		return fmt.Errorf("write the switch's rules: %w", err)
	}
	return nil
}

// rules are the matches of the frames to drop.
func (f *filter) rules(port string, faults packetFaults) [][]expr.Any {
	var rules [][]expr.Any
	add := func(parts ...[]expr.Any) { rules = append(rules, slices.Concat(parts...)) }
	if faults.incoming {
		add(to(port))
	}
	if faults.outgoing {
		add(from(port))
	}
	if faults.loss > 0 {
		add(from(port), chance(faults.loss))
		add(to(port), chance(faults.loss))
	}
	if faults.clients {
		for _, other := range f.others {
			add(from(port), to(other))
			add(from(other), to(port))
		}
	}
	if faults.cluster {
		for _, other := range f.nodes {
			if other == port {
				continue
			}
			for _, offset := range []uint32{sourcePort, destinationPort} {
				add(from(port), to(other), clusterPort(offset))
				add(from(other), to(port), clusterPort(offset))
			}
		}
	}
	return rules
}

func from(port string) []expr.Any { return named(expr.MetaKeyIIFNAME, port) }
func to(port string) []expr.Any   { return named(expr.MetaKeyOIFNAME, port) }

func named(key expr.MetaKey, port string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ) // filled up with zeros, it matches the whole name
	copy(name, port)
	return []expr.Any{
		&expr.Meta{Key: key, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
	}
}

// grain is how finely chance tells shares apart.
const grain = 1 << 20

func chance(share float64) []expr.Any {
	limit := make([]byte, 4)
	// Numbers are compared as memory is, so the most significant byte has to come first.
	binary.BigEndian.PutUint32(limit, uint32(share*grain))
	return []expr.Any{
		&expr.Numgen{Register: 1, Modulus: grain, Type: unix.NFT_NG_RANDOM},
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: limit},
	}
}

// Offsets in the header of TCP (RFC 9293 §3.1).
const (
	sourcePort      = 0
	destinationPort = 2
)

func clusterPort(offset uint32) []expr.Any {
	number := func(port uint16) []byte { return binary.BigEndian.AppendUint16(nil, port) }
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_TCP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: number(firstClusterPort)},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: number(lastClusterPort)},
	}
}
