package election

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// Record is the value of a key /tripod/vips/<address>, with what the store says about the key. People read
// and write the first two fields. Every argument about safety rests on the last three, which only the store can
// set, and never on the epoch or on what tells the story.
type Record struct {
	// Holder is the name of the node that is to hold the address; empty names nobody.
	Holder string `json:"holder"`
	// Epoch counts the changes of holder, for people.
	Epoch int64 `json:"epoch"`

	// From is the holder before, Reason why it was replaced, and At when, by the clock of whoever wrote the
	// record. They are for people and for listings, and may be missing or made up.
	From   string    `json:"from,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
	// Silence is for how many milliseconds nothing had been heard of From by then, when that was the
	// reason; 0 otherwise.
	Silence int64 `json:"silence_ms,omitempty"`

	// Revision is the store's revision at which the record was written (etcd: mod_revision); 0 means that
	// there is no record.
	Revision int64 `json:"-"`
	// Created is the revision at which the key came into being (etcd: create_revision); 0 means unknown.
	Created int64 `json:"-"`
	// Version counts the writes of the key since then, from 1 (etcd: version). With Created it tells
	// whether one record directly followed another. 0 means unknown, which costs a new holder the whole
	// wait.
	Version int64 `json:"-"`
}

// longestRecord bounds what is parsed; a record as we write it has some two hundred bytes.
const longestRecord = 4096

// ParseRecord makes a record of a stored value and the three numbers that etcd keeps about its key:
// mod_revision, create_revision and version. When the value is rubbish the record returned names nobody, but
// has its place in history all the same, so that it can be replaced; use it, and log the error.
func ParseRecord(value []byte, revision, created, version int64) (Record, error) {
	place := Record{Revision: revision, Created: created, Version: version}
	if len(value) > longestRecord {
		return place, fmt.Errorf("the record has %d bytes, more than the %d allowed", len(value), longestRecord)
	}
	record := place
	if json.Unmarshal(value, &record) == nil {
		return record, nil
	}
	// A record written by hand may tell its story in words of its own; only these two decide anything.
	var core struct {
		Holder string `json:"holder"`
		Epoch  int64  `json:"epoch"`
	}
	if err := json.Unmarshal(value, &core); err != nil {
		return place, fmt.Errorf(`the record is not of the form {"holder": "name", "epoch": 1}: %w`, err)
	}
	record = place
	record.Holder, record.Epoch = core.Holder, core.Epoch
	return record, nil
}

// same tells whether two reads saw the same write.
func (r Record) same(other Record) bool {
	return r.Revision == other.Revision && r.Created == other.Created && r.Version == other.Version && r.Holder == other.Holder
}

// follows tells whether the record was the very next write after the earlier one. etcd raises a key's
// version by one with every write and starts a new create_revision after a deletion (etcd's api,
// mvccpb.KeyValue), so that no other record can have been between the two.
func (r Record) follows(earlier Record) bool {
	return r.Created != 0 && r.Created == earlier.Created &&
		earlier.Version > 0 && r.Version == earlier.Version+1 && r.Revision > earlier.Revision
}

// Acknowledgement is a node's word to its successor: "No node but you holds the address by virtue of a record
// older than Next, or ever will again." A node gives it only if the record at Version named it, that record's
// predecessors were over for it, it has dropped the address, and it has seen Next, the very next write. The
// word is about the past, so it stays true however late it arrives.
type Acknowledgement struct {
	Address netip.Addr `json:"address"`
	// From is the node that gives its word. Whoever receives this from a network must have made sure of it.
	From string `json:"from"`
	// Created, Version and Held (its revision) say which record named From.
	Created int64 `json:"created"`
	Version int64 `json:"version"`
	Held    int64 `json:"held"`
	// Next is the revision of the record that followed, and that names the receiver.
	Next int64 `json:"next"`
}

// clears tells whether the word is about this very record.
func (a Acknowledgement) clears(record Record) bool {
	held := Record{Revision: a.Held, Created: a.Created, Version: a.Version}
	return a.Next == record.Revision && record.follows(held)
}
