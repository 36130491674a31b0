package tls

import (
	"context"
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var (
	// ErrNoStorage means that the manager has no storage yet: the node has not joined the cluster.
	ErrNoStorage = errors.New("not connected to the cluster yet")
	// ErrNoCertificate is what a handshake fails with while there is nothing to show.
	ErrNoCertificate = errors.New("no certificate")
)

// Options are what a Manager needs.
type Options struct {
	// Storage may be given later, by Attach.
	Storage Storage
	// Sealer encrypts what goes to the storage and to the cache. Required.
	Sealer *Sealer
	// Cache is the path of the copy to serve from without a storage; "" keeps none.
	Cache string
	// Log may be nil.
	Log *slog.Logger
	// Now tells the time, for validity and renewal; nil is time.Now.
	Now func() time.Time
}

// Manager holds the certificates that the clients of the proxy see. Safe for concurrent use.
type Manager struct {
	sealer *Sealer
	cache  string
	log    *slog.Logger
	now    func() time.Time
	config *stdtls.Config

	life   context.Context // ends with Close
	end    context.CancelFunc
	closed sync.Once
	work   sync.WaitGroup
	wake   chan struct{} // the keeper has something to do
	dirty  chan struct{} // the cache is behind

	storage atomic.Pointer[Storage]
	opened  atomic.Bool

	// What handshakes read.
	ca       atomic.Pointer[internalCA]
	internal *hostMap
	added    atomic.Pointer[addedSet]
	wanted   atomic.Pointer[wantedSet]

	calls     sync.Map     // host → *obtaining
	born      time.Time    // the zero of the next two, which are monotonic nanoseconds
	suspect   atomic.Int64 // until when handshakes do not ask the storage
	complaint atomic.Int64 // from when a failed handshake may be logged again

	mu      sync.Mutex      // guards what follows, and writing of what handshakes read
	items   map[string]Item // as in the storage; revision cachedRevision: from the cache
	tickets tickets
	order   [][32]byte // the ticket keys in use
}

// New returns a manager that knows nothing yet. It does no I/O.
func New(options Options) *Manager {
	m := &Manager{
		born:     time.Now(),
		sealer:   options.Sealer,
		cache:    options.Cache,
		log:      options.Log,
		now:      options.Now,
		wake:     make(chan struct{}, 1),
		dirty:    make(chan struct{}, 1),
		internal: newHostMap(),
		items:    make(map[string]Item),
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	if m.now == nil {
		m.now = time.Now
	}
	m.life, m.end = context.WithCancel(context.Background())
	m.added.Store(newAddedSet(nil))
	m.wanted.Store(newWantedSet(nil, nil))
	m.config = &stdtls.Config{
		MinVersion: stdtls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		// Small records at the beginning of each answer would show its first bytes some milliseconds earlier on a slow line, at the
		// price of a system call for each.
		DynamicRecordSizingDisabled: true,
		GetCertificate:              m.getCertificate,
		// A clone, such as net/http makes, has its own copy of the ticket keys and would miss their
		// rotation; these two lead it back to ours.
		WrapSession: func(state stdtls.ConnectionState, session *stdtls.SessionState) ([]byte, error) {
			return m.config.EncryptTicket(state, session)
		},
		UnwrapSession: func(identity []byte, state stdtls.ConnectionState) (*stdtls.SessionState, error) {
			return m.config.DecryptTicket(identity, state)
		},
	}
	if options.Storage != nil {
		m.Attach(options.Storage)
	}
	return m
}

// Attach gives the manager its storage, before Open.
func (m *Manager) Attach(storage Storage) { m.storage.Store(&storage) }

func (m *Manager) mustStorage() (Storage, error) {
	storage := m.storage.Load()
	if storage == nil {
		return nil, ErrNoStorage
	}
	return *storage, nil
}

// Config returns the configuration for every listener that terminates TLS, always the same one. Certificates and
// ticket keys change behind it. Clones of it follow as well.
func (m *Manager) Config() *stdtls.Config { return m.config }

// Open loads the certificates from the storage, makes the internal authority and the ticket keys if nobody
// has, and from then on follows the storage and keeps it complete. It returns when all that is in place, and tries
// until the context ends. Missing certificates of hosts are made afterwards.
func (m *Manager) Open(ctx context.Context) error {
	storage, err := m.mustStorage()
	if err != nil {
		return fmt.Errorf("open certificates: %w", err)
	}
	if m.opened.Load() {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.life, cancel)()
	// A storage that lost everything gets the authority back that clients trust already.
	seed := m.item(KeyCA)
	if seed.Revision != cachedRevision {
		seed = Item{}
	}
	var certs, keys int64
	err = retry(ctx, func() (err error) {
		certs, keys, err = m.load(ctx, storage, seed)
		return err
	})
	if err != nil {
		return fmt.Errorf("open certificates: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.life.Err() != nil {
		return fmt.Errorf("open certificates: %w", context.Canceled)
	}
	if m.opened.Swap(true) {
		return nil
	}
	m.work.Go(func() { m.follow(storage, keyCerts, certs) })
	m.work.Go(func() { m.follow(storage, KeyTickets, keys) })
	m.work.Go(func() { m.keep(storage) })
	if m.cache != "" {
		m.work.Go(m.saveCache)
	}
	return nil
}

// Close ends the background work and writes the cache. Certificates already known are served on.
func (m *Manager) Close(ctx context.Context) error {
	m.closed.Do(func() {
		m.mu.Lock() // not while Open starts goroutines
		defer m.mu.Unlock()
		m.end()
	})
	done := make(chan struct{})
	go func() { m.work.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close certificates: %w", ctx.Err())
	}
}

// SetHosts tells which hosts (names and *.names) and addresses shall have certificates, in place of those told
// before. It returns at once; what is missing is made in the background, and before that when a client asks for it.
// The first address is the one whose certificate is shown when nothing else fits.
func (m *Manager) SetHosts(hosts []string, addresses []netip.Addr) {
	wanted := newWantedSet(hosts, addresses)
	for _, host := range wanted.refused {
		m.log.Warn("no certificate can be made for this host: it is not a DNS name", "host", host)
	}
	m.wanted.Store(wanted)
	signal(m.wake)
}

// List describes the added certificates, then the internal ones of the current hosts, each by name.
func (m *Manager) List() []Info {
	now := m.now()
	added, wanted := m.added.Load(), m.wanted.Load()
	list := make([]Info, 0, len(added.byName)+len(wanted.hosts))
	for _, cert := range added.byName {
		list = append(list, cert.describeAt(now))
	}
	start := len(list)
	for host := range wanted.hosts {
		if cert := m.internal.get(host); cert != nil {
			list = append(list, cert.describeAt(now))
		} else if !added.covers(host) {
			list = append(list, Info{Name: host, Hosts: []string{host}, Source: Internal, Error: "not made yet"})
		}
	}
	slices.SortFunc(list[start:], func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// CAPEM returns the certificate of the internal authority, for clients that shall trust it; nil before there is one.
func (m *Manager) CAPEM() []byte {
	if ca := m.ca.Load(); ca != nil {
		return slices.Clone(ca.pem)
	}
	return nil
}

// signal wakes whoever reads the channel, which has room for one.
func signal(channel chan struct{}) {
	select {
	case channel <- struct{}{}:
	default:
	}
}

// retry calls fn until it succeeds, fails for good, or the context ends.
func retry(ctx context.Context, fn func() error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := fn()
		if err == nil || errors.Is(err, ErrWrongKey) || errors.Is(err, ErrSealed) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, ctx.Err())
		case <-time.After(pause):
		}
	}
}
