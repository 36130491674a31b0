package tls

import (
	"context"
	"fmt"
	"strings"
	"time"
)

const (
	listLimit = 15 * time.Second
	// relistTime is how often everything is read again even though nothing seems wrong.
	relistTime = time.Hour
	// watchPause keeps a watch that fails at once from becoming a busy loop.
	watchPause = 200 * time.Millisecond
	// cachedRevision stands for the revision of what came from the cache: older than anything in a storage.
	cachedRevision = 1
)

// load reads everything once, and makes what must not be missing. It returns the revisions to follow from.
func (m *Manager) load(ctx context.Context, storage Storage, seed Item) (certs, keys int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, listLimit)
	defer cancel()
	items, certs, err := storage.List(ctx, keyCerts)
	if err != nil {
		return 0, 0, err
	}
	m.replace(keyCerts, items, certs)
	if m.ca.Load() == nil || !m.has(KeyCA) {
		if err := m.makeCA(ctx, storage, seed); err != nil {
			return 0, 0, err
		}
	}
	items, keys, err = storage.List(ctx, KeyTickets)
	if err != nil {
		return 0, 0, err
	}
	m.replace(KeyTickets, items, keys)
	if err := m.keepTickets(ctx, storage); err != nil {
		return 0, 0, err
	}
	return certs, keys, nil
}

// follow applies every change under the prefix until Close.
func (m *Manager) follow(storage Storage, prefix string, revision int64) {
	for m.life.Err() == nil {
		ctx, cancel := context.WithTimeout(m.life, relistTime)
		err := storage.Watch(ctx, prefix, revision, m.apply)
		timely := ctx.Err() != nil
		cancel()
		if !timely {
			m.log.Debug("certificates are read again", "prefix", prefix, "cause", err)
			select {
			case <-m.life.Done():
			case <-time.After(watchPause):
			}
		}
		// Fails only when the manager closes.
		_ = retry(m.life, func() error {
			ctx, cancel := context.WithTimeout(m.life, listLimit)
			defer cancel()
			items, at, err := storage.List(ctx, prefix)
			if err != nil {
				return err
			}
			m.replace(prefix, items, at)
			revision = at
			return nil
		})
		signal(m.wake)
	}
}

// replace takes a listing of a prefix: what is not in it is gone.
func (m *Manager) replace(prefix string, items []Item, revision int64) {
	events := make([]Event, 0, len(items))
	listed := make(map[string]struct{}, len(items))
	for _, item := range items {
		events = append(events, Event{Item: item})
		listed[item.Key] = struct{}{}
	}
	m.mu.Lock()
	for key, item := range m.items {
		if _, ok := listed[key]; !ok && strings.HasPrefix(key, prefix) && item.Revision <= revision {
			events = append(events, Event{Item: Item{Key: key, Revision: revision}, Deleted: true})
		}
	}
	m.mu.Unlock()
	m.apply(events)
}

func (m *Manager) applyItems(items []Item) {
	events := make([]Event, len(items))
	for i, item := range items {
		events[i] = Event{Item: item}
	}
	m.apply(events)
}

// apply takes changes, each at most once and the newest last, in whatever order they arrive.
func (m *Manager) apply(events []Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	added, changed := false, false
	for _, event := range events {
		known, ok := m.items[event.Key]
		if ok && event.Revision <= known.Revision || !ok && event.Deleted {
			continue
		}
		changed = true
		if event.Deleted {
			delete(m.items, event.Key)
		} else {
			m.items[event.Key] = event.Item
		}
		switch {
		case event.Key == KeyCA:
			m.applyCA(event)
		case event.Key == KeyTickets:
			m.applyTickets(event)
		case strings.HasPrefix(event.Key, KeyInternal):
			m.applyInternal(event)
		case strings.HasPrefix(event.Key, KeyAdded):
			added = true
		}
	}
	if added {
		m.applyAdded()
	}
	if changed {
		signal(m.dirty)
	}
}

func (m *Manager) applyCA(event Event) {
	signal(m.wake)
	if event.Deleted && !m.opened.Load() {
		return // only the cache had it
	}
	if event.Deleted {
		m.log.Warn("the internal authority was deleted: a new one is made, and new certificates by it", "key", KeyCA)
		return
	}
	ca, err := openInternalCA(m.sealer, event.Item)
	if err != nil {
		m.log.Error("the internal authority can not be read: the former one is used on; delete the key to have a new one made", "key", KeyCA, "error", err)
		return
	}
	m.ca.Store(ca)
}

func (m *Manager) applyInternal(event Event) {
	host := strings.TrimPrefix(event.Key, KeyInternal)
	if event.Deleted {
		m.internal.set(host, nil)
		signal(m.wake)
		return
	}
	cert, err := openCertificate(m.sealer, event.Item, host, Internal)
	if err != nil {
		m.log.Error("certificate can not be read: it is made again", "host", host, "error", err)
		m.keepReady(cert, m.internal.get(host))
		signal(m.wake)
	}
	m.internal.set(host, cert)
}

// applyAdded makes the set of added certificates anew from the items.
func (m *Manager) applyAdded() {
	former := make(map[string]*certificate)
	for _, cert := range m.added.Load().byName {
		former[cert.item.Key] = cert
	}
	var certs []*certificate
	for key, item := range m.items {
		name, ok := strings.CutPrefix(key, KeyAdded)
		if !ok {
			continue
		}
		old := former[key]
		if old != nil && old.item.Revision == item.Revision {
			certs = append(certs, old)
			continue
		}
		cert, err := openCertificate(m.sealer, item, name, Added)
		if err == nil {
			_, err = cert.use()
		}
		if err != nil {
			m.log.Error("added certificate can not be read: add it again", "name", name, "error", err)
			cert.info.Error = err.Error()
			m.keepReady(cert, old)
		}
		certs = append(certs, cert)
	}
	m.added.Store(newAddedSet(certs))
	signal(m.wake)
}

// keepReady lets a certificate whose stored value is broken serve on as its last good version.
func (m *Manager) keepReady(broken, old *certificate) {
	if old == nil {
		return
	}
	ready, err := old.use()
	if err != nil {
		return
	}
	broken.describe(ready.Leaf)
	broken.ready.Store(ready)
}

func (m *Manager) has(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.items[key]
	return ok
}

func (m *Manager) item(key string) Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.items[key]
}

// makeCA creates the authority unless somebody else has; seed is one to use again, or empty.
func (m *Manager) makeCA(ctx context.Context, storage Storage, seed Item) error {
	if seed.Value == nil {
		fresh, err := newInternalCA(m.sealer, m.now())
		if err != nil {
			return err
		}
		seed = fresh
	}
	held, err := storage.PutNew(ctx, []Item{{Key: KeyCA, Value: seed.Value}})
	if err != nil {
		return err
	}
	if _, err := openInternalCA(m.sealer, held[0]); err != nil && m.ca.Load() == nil {
		return fmt.Errorf("the stored authority can not be read; delete the key %s to have a new one made: %w", KeyCA, err)
	}
	m.applyItems(held)
	return nil
}
