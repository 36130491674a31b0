package lock

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// mostWaiting is how many may wait for one lock.
	mostWaiting = 10_000
	// lookBack is how many keys before one's own are read at a time, to find one that is no stranger's.
	lookBack = 16
	// headTick and queueTick are after how long without an event the first in the queue, and the others, look for themselves.
	headTick  = 5 * time.Second
	queueTick = time.Minute
)

// wait waits in the queue. Only the first in the queue watches the holders; each of the others watches the one before it.
func (a *attempt) wait(ctx context.Context) (*Lock, error) {
	var holders *watch // once this one is, or may be, the first
	defer func() { holders.close() }()
	for ctx.Err() == nil {
		v, err := a.look(ctx)
		if err != nil {
			return nil, err
		}
		if other, differs := v.state.differs(a.id, a.entry); differs {
			return nil, a.differs(other)
		}
		if v.ahead == "" && v.state.free(a.id, a.entry) {
			l, err := a.claim(ctx, v.state.revision)
			if l != nil || err != nil {
				return l, err
			}
			continue
		}
		if a.opts.Try {
			return nil, a.busy(v)
		}
		a.say(a.busy(v).Error())
		if v.ahead != "" {
			holders.close()
			a.follow(ctx, v)
			holders = a.m.watchNow(ctx, a.keys.held())
			continue
		}
		if holders.over() {
			holders.close()
			holders = a.m.watchNow(ctx, a.keys.held())
			continue // with what has changed until then
		}
		a.m.await(ctx, a.keys, v.state.blockers(a.id, a.entry), v.state, a.dead, holders, a.life.ended)
	}
	return nil, ctx.Err()
}

// follow waits until the one before is gone.
func (a *attempt) follow(ctx context.Context, v view) {
	ahead := a.m.watchFrom(ctx, v.ahead, v.state.revision)
	defer ahead.close()
	ahead.wait(queueTick, a.life.ended)
}

// busy says why the lock is not free.
func (a *attempt) busy(v view) error {
	if blockers := v.state.blockers(a.id, a.entry); len(blockers) > 0 {
		text := blockers[0].entry.String()
		if v.state.orphan(blockers[0]) {
			text += ", who gives no sign of life"
		}
		return fmt.Errorf("%w: it is held by %s", ErrHeld, text)
	}
	return fmt.Errorf("%w: others wait for it", ErrHeld)
}

// view is what one in the queue sees.
type view struct {
	ahead string // the key of the one before; "" for the first
	state state
}

// look reads the place, what is before it, and the holders, at one revision.
func (a *attempt) look(ctx context.Context) (view, error) {
	for {
		ops := append([]clientv3.Op{
			clientv3.OpGet(a.queueKey(), clientv3.WithKeysOnly()),
			clientv3.OpGet(a.keys.queue(), a.before(a.place)...),
		}, stateOps(a.keys)...)
		answer, err := a.m.txn(ctx, callTimeout, nil, ops, nil)
		if err != nil {
			if err := a.trouble(ctx, err); err != nil {
				return view{}, err
			}
			continue
		}
		if len(answer.Responses[0].GetResponseRange().Kvs) == 0 {
			return view{}, errAgain // the lease has ended, or somebody has deleted it
		}
		before := answer.Responses[1].GetResponseRange()
		if before.Count > mostWaiting {
			return view{}, fmt.Errorf("%w: %d do, and %d may", ErrFull, before.Count-1, mostWaiting)
		}
		v := view{state: parseState(answer)}
		v.ahead, err = a.ahead(ctx, before.Kvs)
		if err == nil {
			a.failures = 0
			return v, nil
		}
		if err := a.trouble(ctx, err); err != nil {
			return view{}, err
		}
	}
}

// before asks for the last keys that came into the queue before a revision.
func (a *attempt) before(revision int64) []clientv3.OpOption {
	return []clientv3.OpOption{
		clientv3.WithPrefix(), clientv3.WithMaxCreateRev(revision - 1), clientv3.WithLimit(lookBack),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend),
	}
}

// ahead finds the last one in the queue before this one; "" means that this one is the first. Keys that do not end with a lease, and what is no
// entry, have been put there by a stranger and wait for nothing.
func (a *attempt) ahead(ctx context.Context, kvs []*mvccpb.KeyValue) (string, error) {
	for len(kvs) > 0 {
		for _, kv := range kvs {
			if _, err := ParseEntry(kv.Value); err == nil && kv.Lease != 0 && isID(lastPart(string(kv.Key))) {
				return string(kv.Key), nil
			}
		}
		if len(kvs) < lookBack {
			break
		}
		call, cancel := context.WithTimeout(ctx, callTimeout)
		answer, err := a.m.cfg.Store.Get(call, a.keys.queue(), a.before(kvs[len(kvs)-1].CreateRevision)...)
		cancel()
		if err != nil {
			return "", err
		}
		kvs = answer.Kvs
	}
	return "", nil
}

// claim writes the grant, if nobody has been granted the lock since this revision. Those who come into the queue come behind this one, and
// who does not wait passes nobody by, so that this one is the first still.
func (a *attempt) claim(ctx context.Context, revision int64) (*Lock, error) {
	conditions := []clientv3.Cmp{
		clientv3.Compare(clientv3.CreateRevision(a.queueKey()), "=", a.place), since(a.keys.exclusive(), revision),
	}
	if a.entry.Mode == Exclusive || a.entry.Permits > 0 {
		conditions = append(conditions, since(a.keys.shared(), revision))
	}
	began := a.now()
	answer, err := a.m.txn(ctx, callTimeout, conditions, append(a.grantOps(), clientv3.OpDelete(a.queueKey())), nil)
	switch {
	case err == nil && answer.Succeeded:
		return newLock(a, answer.Header.Revision, began), nil
	case err == nil:
		return nil, nil
	}
	return a.claimed(ctx, err)
}

// claimed finds out what became of a claim that was not answered. It takes the place in the queue away as it writes the grant, so that it is
// done once at most, however late.
func (a *attempt) claimed(ctx context.Context, err error) (*Lock, error) {
	for {
		if err := a.trouble(ctx, err); err != nil {
			return nil, err
		}
		began := a.now()
		var answer *clientv3.TxnResponse
		answer, err = a.m.txn(ctx, callTimeout, nil, []clientv3.Op{
			clientv3.OpGet(a.queueKey(), clientv3.WithKeysOnly()),
			clientv3.OpGet(a.aliveKey(), clientv3.WithKeysOnly()),
			clientv3.OpGet(a.grantKey(), clientv3.WithKeysOnly()),
		}, nil)
		if err != nil {
			continue
		}
		found := func(i int) []*mvccpb.KeyValue { return answer.Responses[i].GetResponseRange().Kvs }
		switch {
		case len(found(0)) > 0:
			return nil, nil // not yet; the next look decides
		case len(found(1)) > 0 && len(found(2)) > 0:
			return newLock(a, found(2)[0].ModRevision, began), nil
		}
		return nil, errAgain
	}
}

// await waits until one of the holders is gone, and takes away the grants of those among the ones in the way who are dead, once their right is over
// for sure.
func (m *Manager) await(ctx context.Context, k keys, blockers []grant, s state, dead orphans, holders *watch, ended <-chan struct{}) {
	due, at := dead.next(s, blockers, m.cfg.Clock())
	for _, g := range due {
		if err := m.bury(ctx, k, g); err != nil {
			pause(ctx, retryPause)
			return // it is due at the next look too
		}
	}
	if len(due) > 0 {
		return
	}
	tick := headTick
	if at != 0 {
		tick = min(tick, max(at-m.cfg.Clock(), 0))
	}
	holders.wait(tick, ended)
}

// bury takes a grant away whose holder's right is over, unless it has been written since.
func (m *Manager) bury(ctx context.Context, k keys, g grant) error {
	answer, err := m.txn(ctx, callTimeout, []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(g.key), "=", g.modified),
		clientv3.Compare(clientv3.CreateRevision(k.alive()+g.id), "=", 0),
	}, []clientv3.Op{clientv3.OpDelete(g.key)}, nil)
	if err == nil && answer.Succeeded {
		m.cfg.Log.Info("a holder of a lock is dead, and its right is over", "lock", k.root, "holder", g.entry.String())
	}
	return err
}
