package lock

import (
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// mostGrants is how many grants of one mode are read; while there are more, nobody who would have to count them is granted.
const mostGrants = MaxPermits

// grant is one holder as the store has it.
type grant struct {
	id       string
	key      string
	entry    Entry
	modified int64 // the revision of the last write
}

// state is who holds a lock at one revision.
type state struct {
	revision  int64
	exclusive []grant
	shared    []grant
	alive     map[string]bool // by ID
	// There is more of a kind than was read.
	moreExclusive, moreShared, moreAlive bool
}

// stateOps read the state, as part of a transaction; parseState takes their answers.
func stateOps(k keys) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(k.exclusive(), clientv3.WithPrefix(), clientv3.WithLimit(mostGrants)),
		clientv3.OpGet(k.shared(), clientv3.WithPrefix(), clientv3.WithLimit(mostGrants)),
		clientv3.OpGet(k.alive(), clientv3.WithPrefix(), clientv3.WithLimit(2*mostGrants), clientv3.WithKeysOnly()),
	}
}

// stateAnswers is how many answers stateOps get.
const stateAnswers = 3

// parseState makes the state of a transaction's last answers.
func parseState(response *clientv3.TxnResponse) state {
	s := state{revision: response.Header.Revision, alive: map[string]bool{}}
	answers := response.Responses[len(response.Responses)-stateAnswers:]
	for i, into := range []*[]grant{&s.exclusive, &s.shared} {
		answer := answers[i].GetResponseRange()
		for _, kv := range answer.Kvs {
			if g, ok := parseGrant(kv); ok {
				*into = append(*into, g)
			}
		}
	}
	s.moreExclusive, s.moreShared = answers[0].GetResponseRange().More, answers[1].GetResponseRange().More
	answer := answers[2].GetResponseRange()
	s.moreAlive = answer.More
	for _, kv := range answer.Kvs {
		s.alive[lastPart(string(kv.Key))] = true
	}
	return s
}

// parseGrant leaves out what is no grant: a stranger's key has no effect.
func parseGrant(kv *mvccpb.KeyValue) (grant, bool) {
	key := string(kv.Key)
	g := grant{id: lastPart(key), key: key, modified: kv.ModRevision}
	var err error
	if g.entry, err = ParseEntry(kv.Value); err != nil || !isID(g.id) {
		return g, false
	}
	return g, true
}

func lastPart(key string) string { return key[strings.LastIndexByte(key, '/')+1:] }

// blockers are those that have to go before one may be granted the lock who has this ID and wants it like this.
func (s state) blockers(id string, want Entry) []grant {
	if want.Mode == Shared && want.Permits == 0 {
		return without(s.exclusive, id)
	}
	others := append(without(s.exclusive, id), without(s.shared, id)...)
	if len(others) < want.Permits {
		return nil
	}
	return others
}

// free tells whether one may be granted the lock.
func (s state) free(id string, want Entry) bool {
	if s.moreExclusive || s.moreShared && (want.Mode == Exclusive || want.Permits > 0) {
		return false
	}
	return len(s.blockers(id, want)) == 0
}

// differs finds a holder that uses the lock in another way.
func (s state) differs(id string, want Entry) (Entry, bool) {
	for _, g := range append(without(s.exclusive, id), without(s.shared, id)...) {
		if g.entry.Permits != want.Permits {
			return g.entry, true
		}
	}
	return Entry{}, false
}

// orphan tells whether a grant's holder has shown no sign of life at this revision.
func (s state) orphan(g grant) bool { return !s.moreAlive && !s.alive[g.id] }

func without(grants []grant, id string) []grant {
	var others []grant
	for _, g := range grants {
		if g.id != id {
			others = append(others, g)
		}
	}
	return others
}

// orphans remembers since when holders have been without a sign of life.
type orphans map[string]time.Duration

// next notes what a state shows, which was read at a time not after now, and returns the orphans among some grants that have been waited
// out, and when the next one will be; 0 means none.
func (o orphans) next(s state, among []grant, now time.Duration) (due []grant, at time.Duration) {
	for _, g := range among {
		if !s.orphan(g) {
			delete(o, g.id) // only if somebody has made the sign by hand; the wait begins anew
			continue
		}
		since, known := o[g.id]
		if !known {
			since = now
			o[g.id] = now
		}
		over := since + wait(g.entry.hold())
		if now >= over {
			due = append(due, g)
		} else if at == 0 || over < at {
			at = over
		}
	}
	return due, at
}
