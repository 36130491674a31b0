package api

import (
	"maps"
	"net/netip"
	"time"

	"tripod/election"
	"tripod/election/vip"
	"tripod/node/config"
	"tripod/proxy"
	"tripod/tls"
)

// States of a node, as its key shows them.
const (
	Starting = "starting" // not yet serving the document
	Ready    = "ready"
	Draining = "draining" // ready, but an operator wants it to hold nothing
	Stopping = "stopping" // a clean stop is under way; holds nothing
)

// NodeKey is the JSON value of /tripod/nodes/<name>, under the node's lease: it is there while the node lives.
type NodeKey struct {
	Address netip.Addr `json:"address"`
	Zone    string     `json:"zone,omitempty"`
	Version string     `json:"version"`
	State   string     `json:"state"`
	// Applied is the revision of the document that the node serves; 0 is none.
	Applied int64 `json:"applied"`
	// Error says why the node does not serve the newest document; Refused is that document's revision.
	Error   string `json:"error,omitempty"`
	Refused int64  `json:"refused,omitempty"`
	// Unfit are the VIPs that the node cannot hold now, and why: an interface is missing, or has no carrier. The
	// map is replaced as a whole, never changed.
	Unfit map[netip.Addr]string `json:"unfit,omitempty"`
	// SilenceMS is for how many milliseconds the node's kernel may go on answering for a VIP after the right to it
	// has ended, should the process be stopped or killed: 0 with the kernel's guard.
	SilenceMS int64 `json:"silence_ms,omitempty"`
}

// Same tells whether two keys say the same.
func (k NodeKey) Same(other NodeKey) bool {
	return k.Address == other.Address && k.Zone == other.Zone && k.Version == other.Version && k.State == other.State &&
		k.Applied == other.Applied && k.Error == other.Error && k.Refused == other.Refused && k.SilenceMS == other.SilenceMS && maps.Equal(k.Unfit, other.Unfit)
}

// Local is what one node knows about itself.
type Local struct {
	Name string `json:"name"`
	NodeKey
	Started    time.Time       `json:"started"`
	RaftLeader string          `json:"raft_leader,omitempty"` // empty: this node sees no majority
	Waiting    string          `json:"waiting,omitempty"`     // what the start waits for
	Voters     string          `json:"voters"`                // its --nodes
	Proxy      proxy.Status    `json:"proxy"`
	Held       []election.Held `json:"held"`
	// Lingering are VIPs that have moved away, whose established connections go on at this node.
	Lingering []vip.Draining `json:"lingering,omitempty"`
	// Clashes are other stations that answer for a VIP that this node holds.
	Clashes []vip.Clash `json:"clashes,omitempty"`
	// Revision is of the newest document that the node knows of.
	Revision int64            `json:"revision"`
	Warnings []config.Problem `json:"warnings,omitempty"`
	Secret   string           `json:"secret_fingerprint"`
	// Failovers is the last change of holder of each VIP, as this node saw it.
	Failovers map[netip.Addr]Failover `json:"failovers,omitempty"`
	// Hooks says, by VIP, what went wrong when the command of on_change ran last.
	Hooks map[netip.Addr]string `json:"hooks,omitempty"`
}

// Status is the whole cluster, as one node sees it now.
type Status struct {
	// Problems says in words what is wrong; empty means that all is well.
	Problems []string `json:"problems"`
	Warnings []string `json:"warnings"`
	// Quorum: a majority of the voters is there.
	Quorum   bool   `json:"quorum"`
	Revision int64  `json:"revision"`         // of the document; 0 is none
	Leader   string `json:"leader,omitempty"` // holder of the first VIP; without VIPs the raft leader
	AskedOf  string `json:"asked_of"`         // the node that made this

	Nodes     []NodeStatus    `json:"nodes"`
	VIPs      []VIPStatus     `json:"vips"`
	Lingering []Lingering     `json:"lingering,omitempty"`
	Listeners []Listener      `json:"listeners"`
	Services  []ServiceStatus `json:"services"`
	// Pending are servers that registered themselves with services that the document has not.
	Pending      []RegisteredServer `json:"pending,omitempty"`
	Certificates []tls.Info         `json:"certificates"`
}

// NodeStatus is one node. A voter that does not answer has State "down".
type NodeStatus struct {
	Name string `json:"name"`
	NodeKey
	Voter      bool `json:"voter"`
	Leader     bool `json:"leader"`
	RaftLeader bool `json:"raft_leader"`
	Self       bool `json:"self"`
	// Drain is the operator's word that the node is to hold nothing; nil if there is none.
	Drain *Drain `json:"drain,omitempty"`
	// Holds are the VIPs that the node says it holds.
	Holds []netip.Addr `json:"holds"`
}

// VIPStatus is one virtual address. Holder is what the record says, Held whether that node confirms it.
type VIPStatus struct {
	Address netip.Prefix `json:"address"`
	Holder  string       `json:"holder,omitempty"`
	Epoch   int64        `json:"epoch,omitempty"`
	Held    bool         `json:"held"`
	Since   time.Time    `json:"since,omitzero"`
	// Failover is the last change of holder; nil if there was none that is known.
	Failover *Failover `json:"failover,omitempty"`
}

// Lingering are connections to a VIP that has moved away, which go on at their node.
type Lingering struct {
	Node string `json:"node"`
	vip.Draining
}

// Listener is one listener on all nodes that answered.
type Listener struct {
	Name     string            `json:"name"`
	Address  string            `json:"address"`
	Protocol string            `json:"protocol"`
	TLS      bool              `json:"tls"`
	Errors   map[string]string `json:"errors,omitempty"` // by node
	Open     int64             `json:"connections"`      // on all nodes
}

// Event is something that happened on a node, for people and tests that watch.
type Event struct {
	Time time.Time `json:"time"`
	Node string    `json:"node"`
	// Kind is what happened: started, ready, applied, refused, leader, vip_taken, vip_renewed, vip_dropped, vip_moved,
	// draining, undrained, hook, server_up, server_down, server_ordered, server_registered, server_deregistered, stopping.
	Kind    string `json:"kind"`
	Subject string `json:"subject,omitempty"` // which VIP, server or document
	Text    string `json:"text,omitempty"`
	// At and Until bound a hold of a VIP, in nanoseconds of the machine's boot clock, which is one for all
	// processes of a machine: what proves that two nodes of a test never held one address.
	At    int64 `json:"at,omitempty"`
	Until int64 `json:"until,omitempty"`
}
