package election

import (
	"net/netip"
	"time"
)

// Kind says what an Event is about.
type Kind string

// What happens at a Holder.
const (
	// Waiting: a record names this node; it may hold at Until, or as soon as the former holder acknowledges.
	Waiting Kind = "waiting"
	// Acknowledged: an acknowledgement ended the wait.
	Acknowledged Kind = "acknowledged"
	// Taken: the node answers for the address. At is from before it began to, Until is the end of its right.
	Taken Kind = "taken"
	// Renewed: a read moved the end of the right to Until. There are ten of these per second and address.
	Renewed Kind = "renewed"
	// Dropped: the node has stopped to answer. At is from after it had.
	Dropped Kind = "dropped"
	// Failed: the node has the right, but could not start to answer; it tries again.
	Failed Kind = "failed"
	// Released: the node sends its acknowledgement to Holder, the next one.
	Released Kind = "released"
)

// What happens at a Placer.
const (
	// Placed: the Placer wrote a record that names Holder, in place of the one with Revision (0: none).
	Placed Kind = "placed"
	// Removed: the Placer deleted the record of an address that the document no longer has.
	Removed Kind = "removed"
)

// Event is something that happened to one address, for logs, metrics and tests.
type Event struct {
	Kind     Kind          `json:"kind"`
	Address  netip.Addr    `json:"address"`
	Holder   string        `json:"holder,omitempty"` // the node that the record names, where it is another
	Epoch    int64         `json:"epoch"`
	Revision int64         `json:"revision"`
	At       time.Duration `json:"at"`    // on the Clock of the Holder or Placer
	Until    time.Duration `json:"until"` // on the same Clock; 0 where there is no deadline
	Reason   string        `json:"reason,omitempty"`
}
