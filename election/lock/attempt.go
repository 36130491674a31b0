package lock

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// attempt is one try to get a lock, under an ID and a lease of its own. It writes its place in the queue once, and its grant once.
type attempt struct {
	m     *Manager
	name  string
	opts  Options
	keys  keys
	id    string
	entry Entry
	lease clientv3.LeaseID
	hold  time.Duration
	ttl   time.Duration
	life  *life
	place int64 // the create revision of the key in the queue; 0 means none
	dead  orphans
	// failures are calls that have failed in a row.
	failures int
	reason   string // what Waiting was told last
}

func newAttempt(m *Manager, name string, opts Options) *attempt {
	id := make([]byte, idBytes)
	_, _ = crand.Read(id) // never fails
	return &attempt{
		m: m, name: name, opts: opts, keys: keysOf(name), id: hex.EncodeToString(id), dead: orphans{},
		entry: Entry{Holder: m.cfg.Holder, Host: m.cfg.Host, Command: opts.Command, Mode: opts.mode(), Permits: opts.Permits},
	}
}

// run takes the lock at once if nobody has it or waits for it, and waits for its turn otherwise.
func (a *attempt) run(ctx context.Context) (*Lock, error) {
	if err := a.getLease(ctx); err != nil {
		return nil, err
	}
	l, err := a.enter(ctx)
	if l != nil || err != nil {
		return l, err
	}
	return a.wait(ctx)
}

// getLease asks until the store answers.
func (a *attempt) getLease(ctx context.Context) error {
	ttl := cmp.Or(a.opts.TTL, DefaultTTL)
	seconds, _ := split(ttl, 0)
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		answer, err := a.m.cfg.Leases.Grant(call, seconds)
		cancel()
		if err == nil {
			a.lease = answer.ID
			seconds, a.hold = split(ttl, answer.TTL)
			a.ttl = time.Duration(seconds)*time.Second + wait(a.hold)
			a.entry.Hold = a.hold.Milliseconds()
			a.life = startLife(a.m.cfg.Leases, a.lease, seconds)
			return nil
		}
		if err := a.trouble(ctx, err); err != nil {
			return err
		}
	}
}

// trouble waits after a call has failed, longer from one to the next, since a store that many wait for may be busy with just them. It returns
// the error of ctx if that has ended.
func (a *attempt) trouble(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		a.say(fmt.Sprintf("the store does not answer: %v", err))
		pause(ctx, retryPause<<min(a.failures, mostDoublings)+rand.N(retryPause))
		a.failures++
	}
	return ctx.Err()
}

// say tells why the lock is waited for.
func (a *attempt) say(reason string) {
	if reason == a.reason {
		return
	}
	a.reason = reason
	if a.opts.Waiting != nil {
		a.opts.Waiting(reason)
	}
}

func (a *attempt) queueKey() string          { return a.keys.queue() + a.id }
func (a *attempt) aliveKey() string          { return a.keys.alive() + a.id }
func (a *attempt) leased() clientv3.OpOption { return clientv3.WithLease(a.lease) }
func (a *attempt) now() time.Duration        { return a.m.cfg.Clock() }
func (a *attempt) stamped() string           { e := a.entry; e.Since = time.Now().UTC(); return e.text() }
func (a *attempt) grantKey() string          { return a.keys.grant(a.entry.Mode) + a.id }
func none(prefix string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(prefix), "=", 0).WithPrefix()
}
func since(prefix string, r int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(prefix), "<", r+1).WithPrefix()
}

// grantOps write the grant and the sign of life.
func (a *attempt) grantOps() []clientv3.Op {
	return []clientv3.Op{clientv3.OpPut(a.grantKey(), a.stamped()), clientv3.OpPut(a.aliveKey(), "", a.leased())}
}

// enter takes the lock, if nobody is in its way and nobody waits, or a place in its queue. Neither of the two means that it has to wait.
func (a *attempt) enter(ctx context.Context) (*Lock, error) {
	conditions := []clientv3.Cmp{none(a.keys.queue()), none(a.keys.exclusive())}
	if a.entry.Mode == Exclusive || a.entry.Permits > 0 {
		conditions = append(conditions, none(a.keys.shared()))
	}
	then := a.grantOps()
	if a.entry.Mode == Shared && a.entry.Permits == 0 {
		// Others may share already, and their use is compared before this one is believed to be granted.
		then = append(then, clientv3.OpGet(a.keys.shared(), clientv3.WithPrefix(), clientv3.WithLimit(lookBack)))
	}
	began := a.now()
	answer, err := a.m.txn(ctx, callTimeout, conditions, then, []clientv3.Op{clientv3.OpPut(a.queueKey(), a.stamped(), a.leased())})
	switch {
	case err != nil:
		// It may have been written, or may yet be, under this lease only. So this ID is given up, and its lease with it.
		if err := a.trouble(ctx, err); err != nil {
			return nil, err
		}
		return nil, errAgain
	case !answer.Succeeded:
		a.place = answer.Header.Revision
		return nil, nil
	}
	if len(then) > 2 {
		for _, kv := range answer.Responses[2].GetResponseRange().Kvs {
			if g, ok := parseGrant(kv); ok && g.id != a.id && g.entry.Permits != a.entry.Permits {
				return nil, a.differs(g.entry)
			}
		}
	}
	return newLock(a, answer.Header.Revision, began), nil
}

func (a *attempt) differs(other Entry) error {
	return fmt.Errorf("%w: it is used as %s by %s, not as %s", ErrKind, other.kind(), other, a.entry.kind())
}

// abandon deletes what was written. It returns at once; what cannot be deleted ends with its lease.
func (a *attempt) abandon() {
	if a.life == nil {
		return
	}
	a.m.work.Go(func() {
		a.life.stop()
		ctx, cancel := context.WithTimeout(context.Background(), farewell)
		defer cancel()
		_ = a.m.forgetKeys(ctx, a.keys, a.id)
		_, _ = a.m.cfg.Leases.Revoke(ctx, a.lease)
	})
}

// forgetKeys deletes all keys of an ID. Its holder has stopped to use the right, if it had any.
func (m *Manager) forgetKeys(ctx context.Context, k keys, id string) error {
	_, err := m.txn(ctx, callTimeout, nil, []clientv3.Op{
		clientv3.OpDelete(k.shared() + id), clientv3.OpDelete(k.exclusive() + id),
		clientv3.OpDelete(k.alive() + id), clientv3.OpDelete(k.queue() + id),
	}, nil)
	return err
}
