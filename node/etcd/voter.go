package etcd

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Ports of a node, on its own address. All three speak mutual TLS under the cluster's secret.
const (
	PeerPort   = 2380 // etcd members among themselves
	ClientPort = 2379 // etcdctl and other etcd clients
	APIPort    = 2381 // node API
)

// MaxVoters is the largest number of voting members. Every write waits for a majority of them; etcd's own
// documentation advises seven at most (etcd FAQ, "What is maximum cluster size?").
const MaxVoters = 7

// Voter is one entry of --nodes: a voting member of the cluster.
type Voter struct {
	// Name is the node's name in keys, folders and listings. Without one in --nodes it is the address.
	Name string `json:"name"`
	// Addr is the node's own address, that its three ports are bound to.
	Addr netip.Addr `json:"address"`
}

// String is the entry as it is written in --nodes.
func (v Voter) String() string {
	if v.Name == v.Addr.String() {
		return v.Name
	}
	return v.Name + "=" + v.Addr.String()
}

// HostPort is the node's address with one of its ports.
func (v Voter) HostPort(port int) string {
	return net.JoinHostPort(v.Addr.String(), strconv.Itoa(port))
}

func (v Voter) peerURL() string   { return "https://" + v.HostPort(PeerPort) }
func (v Voter) clientURL() string { return "https://" + v.HostPort(ClientPort) }

// A name is a folder, a part of a key and a part of etcd's initial-cluster flag, where = and , are taken.
var voterName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$`)

// ParseVoters reads a --nodes list: addr or name=addr, separated by commas, and keeps their order: a
// node that could be several of them is the first that is free.
func ParseVoters(list string) ([]Voter, error) {
	var voters []Voter
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		name, text, named := strings.Cut(entry, "=")
		if !named {
			text = entry
		}
		addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
		switch {
		case err != nil:
			return nil, fmt.Errorf("--nodes: %q is not an IP address: write addr or name=addr, separated by commas", text)
		case addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "":
			return nil, fmt.Errorf("--nodes: %s cannot be a node's address: name one that the other nodes reach", addr)
		}
		addr = addr.Unmap()
		if !named {
			name = addr.String()
		}
		if !voterName.MatchString(name) {
			return nil, fmt.Errorf("--nodes: %q cannot be a node's name: use letters, digits, '.', '_', '-', 63 at most", name)
		}
		for _, other := range voters {
			if other.Addr == addr {
				return nil, fmt.Errorf("--nodes: %s and %s claim one address: give every node its own", other, Voter{name, addr})
			}
			if other.Name == name {
				return nil, fmt.Errorf("--nodes: %s and %s claim one name: give every node its own", other, Voter{name, addr})
			}
		}
		voters = append(voters, Voter{name, addr})
	}
	if len(voters) > MaxVoters {
		return nil, fmt.Errorf("--nodes: %d voters are more than %d: every write waits for a majority of them; list three or five", len(voters), MaxVoters)
	}
	return voters, nil
}

// sorted is the list by name: the order in which an operator typed it must not matter.
func sorted(voters []Voter) []Voter {
	return slices.SortedFunc(slices.Values(voters), func(a, b Voter) int { return cmp.Compare(a.Name, b.Name) })
}

// FormatVoters is the list as ParseVoters reads it, sorted, so that equal lists have equal texts.
func FormatVoters(voters []Voter) string {
	entries := make([]string, len(voters))
	for i, v := range sorted(voters) {
		entries[i] = v.String()
	}
	return strings.Join(entries, ",")
}

// AllLoopback says whether every voter has a loopback address: a cluster on one machine.
func AllLoopback(voters []Voter) bool {
	return !slices.ContainsFunc(voters, func(v Voter) bool { return !v.Addr.IsLoopback() })
}

func findVoter(voters []Voter, name string) (Voter, bool) {
	i := slices.IndexFunc(voters, func(v Voter) bool { return v.Name == name })
	if i < 0 {
		return Voter{}, false
	}
	return voters[i], true
}
