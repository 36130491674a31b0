package lock

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/election"
)

// Store is what locks need of etcd's keys. Reads and transactions are linearizable, which is etcd's default.
type Store interface {
	Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error)
	Txn(ctx context.Context) clientv3.Txn
	Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan
}

// Leases is what locks need of etcd's leases. KeepAliveOnce fails with rpctypes.ErrLeaseNotFound when the lease has ended.
type Leases interface {
	Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error)
	KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error)
	Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error)
}

var (
	_ Store  = (*clientv3.Client)(nil)
	_ Leases = (*clientv3.Client)(nil)
)

// Config is what locks need of the world.
type Config struct {
	// Store and Leases are etcd's; a *clientv3.Client is both.
	Store  Store
	Leases Leases
	// Holder and Host are told to those who wait. They may be empty.
	Holder, Host string
	// Clock returns the time since some moment in the past. It never goes back, and goes on while the machine is suspended. nil means
	// election.Clock().
	Clock func() time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// Validate finds what is missing.
func (c Config) Validate() error {
	if c.Store == nil || c.Leases == nil {
		return errors.New("locks: Store and Leases are needed")
	}
	return nil
}

// Manager takes locks. It is safe for concurrent use.
type Manager struct {
	cfg Config

	mu     sync.Mutex
	closed bool
	locks  map[*Lock]struct{}
	work   sync.WaitGroup // goroutines; nothing is added once closed and Close waits
}

const (
	// callTimeout bounds one call of the store while a lock is waited for or released.
	callTimeout = 3 * time.Second
	// retryPause is between two attempts when the store does not answer; who waits for a lock doubles it so many times.
	retryPause    = 100 * time.Millisecond
	mostDoublings = 4
	// farewell bounds how long the keys of a lock that is given up may take to be deleted; their lease ends them in any case.
	farewell = 3 * time.Second
)

// NewManager makes a Manager. It does nothing by itself.
func NewManager(cfg Config) (*Manager, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = election.Clock()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Manager{cfg: cfg, locks: map[*Lock]struct{}{}}, nil
}

// Acquire takes a lock with a client of etcd, of which nobody else need know. It is NewManager and Manager.Acquire.
func Acquire(ctx context.Context, client *clientv3.Client, name string, opts Options) (*Lock, error) {
	m, err := NewManager(Config{Store: client, Leases: client})
	if err != nil {
		return nil, err
	}
	return m.Acquire(ctx, name, opts)
}

// Acquire waits for its turn and returns the lock. While the store does not answer it goes on trying, until ctx ends; then the error is
// that of ctx. Others are ErrName, ErrHeld, ErrKind, ErrFull and ErrClosed. An error means that nothing is held, and what was
// written is deleted in the background.
func (m *Manager) Acquire(ctx context.Context, name string, opts Options) (*Lock, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("acquire lock %s: %w", name, err)
	}
	if !m.begin() {
		return nil, fmt.Errorf("acquire lock %s: %w", name, ErrClosed)
	}
	defer m.work.Done()
	var said string
	for {
		a := newAttempt(m, name, opts)
		a.reason = said
		l, err := a.run(ctx)
		if err == nil {
			if !m.keep(l) {
				_ = l.Release(ctx) // of its errors none matters: the lease ends it
				return nil, fmt.Errorf("acquire lock %s: %w", name, ErrClosed)
			}
			return l, nil
		}
		a.abandon()
		if !errors.Is(err, errAgain) {
			if a.reason != "" && ctx.Err() != nil {
				err = fmt.Errorf("%w: %s", err, a.reason)
			}
			return nil, fmt.Errorf("acquire lock %s: %w", name, err)
		}
		m.cfg.Log.Warn("the place in a lock's queue is lost, and a new one is taken", "lock", name)
		said = a.reason
	}
}

// Close releases every lock that is still held and waits for all goroutines, for as long as ctx lasts. Whoever waits in Acquire gets
// ErrClosed once its turn comes, unless its context ends before.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	var held []*Lock
	for l := range m.locks {
		held = append(held, l)
	}
	m.mu.Unlock()
	var faults []error
	for _, l := range held {
		faults = append(faults, l.Release(ctx))
	}
	done := make(chan struct{})
	go func() { m.work.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		faults = append(faults, fmt.Errorf("close locks: %w", ctx.Err()))
	}
	return errors.Join(faults...)
}

// begin counts one more that Close waits for, unless it is too late for that.
func (m *Manager) begin() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.work.Add(1)
	return true
}

// keep notes a lock that is held.
func (m *Manager) keep(l *Lock) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.locks[l] = struct{}{}
	return true
}

func (m *Manager) forget(l *Lock) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.locks, l)
}

// txn runs one transaction.
func (m *Manager) txn(ctx context.Context, limit time.Duration, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return m.cfg.Store.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
}

// pause waits, and tells whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
