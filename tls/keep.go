package tls

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	keepTime  = time.Minute // between two looks, when nothing calls for one
	keepAgain = 3 * time.Second
	keepBatch = 64
	keepLimit = 5 * time.Second // for one request to the storage
	// localLead is how long before its end a certificate that can not be renewed in the storage is replaced by
	// one of this node's own.
	localLead = 24 * time.Hour
)

// keep makes and renews what the cluster lacks until Close: when the hosts change, when something went
// missing, and every minute.
func (m *Manager) keep(storage Storage) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-m.life.Done():
			return
		case <-m.wake:
		case <-timer.C:
		}
		err := m.keepAll(m.life, storage)
		switch {
		case m.life.Err() != nil:
			return
		case err != nil && !failing:
			m.log.Warn("certificates can not be kept up in the cluster, trying again", "error", err)
		case err == nil && failing:
			m.log.Info("certificates are kept up in the cluster again")
		}
		failing = err != nil
		if failing {
			timer.Reset(keepAgain)
		} else {
			timer.Reset(keepTime)
		}
	}
}

func (m *Manager) keepAll(ctx context.Context, storage Storage) error {
	m.useTickets()
	if !m.has(KeyCA) {
		if err := bounded(ctx, func(ctx context.Context) error { return m.makeCA(ctx, storage, Item{}) }); err != nil {
			m.keepLocally()
			return err
		}
	}
	err := bounded(ctx, func(ctx context.Context) error { return m.keepTickets(ctx, storage) })
	if err == nil {
		err = m.keepHosts(ctx, storage)
	}
	if err == nil {
		err = m.sweep(ctx, storage)
	}
	if err != nil {
		m.keepLocally()
	}
	return err
}

// keepHosts makes what is missing, in batches, and renews what is due, one by one.
func (m *Manager) keepHosts(ctx context.Context, storage Storage) error {
	var batch []Item
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		err := bounded(ctx, func(ctx context.Context) error {
			held, err := storage.PutNew(ctx, batch)
			m.applyItems(held)
			return err
		})
		batch = batch[:0]
		return err
	}
	wanted := m.wanted.Load()
	for _, host := range wanted.order {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if m.wanted.Load() != wanted {
			signal(m.wake)
			break
		}
		ca := m.ca.Load()
		known := m.internal.get(host)
		switch {
		case ca == nil || known == nil && m.added.Load().covers(host):
		case known == nil:
			cert, err := ca.issue(m.sealer, host, m.now())
			if err != nil {
				return err
			}
			batch = append(batch, cert.item)
		case known.item.Revision == 0:
			batch = append(batch, known.item)
		case m.due(known, ca):
			if err := m.renew(ctx, storage, ca, known); err != nil {
				return err
			}
		}
		if len(batch) == keepBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

func (m *Manager) due(cert *certificate, ca *internalCA) bool {
	return cert.info.Error != "" || !m.now().Before(cert.renew) || cert.authority != string(ca.cert.SubjectKeyId)
}

func (m *Manager) renew(ctx context.Context, storage Storage, ca *internalCA, known *certificate) error {
	fresh, err := ca.issue(m.sealer, known.info.Name, m.now())
	if err != nil {
		return err
	}
	item := fresh.item
	err = bounded(ctx, func(ctx context.Context) (err error) {
		item.Revision, err = storage.Put(ctx, item.Key, item.Value, known.item.Revision)
		return err
	})
	if errors.Is(err, ErrConflict) {
		return nil // another node was first; its change is on the way
	}
	if err != nil {
		return err
	}
	m.applyItems([]Item{item})
	m.log.Info("certificate renewed", "host", known.info.Name, "expires", fresh.info.NotAfter)
	return nil
}

// keepLocally replaces, on this node alone, certificates that are about to end and can not be renewed.
func (m *Manager) keepLocally() {
	ca := m.ca.Load()
	if ca == nil {
		return
	}
	now := m.now()
	for _, host := range m.wanted.Load().order {
		known := m.internal.get(host)
		if known == nil || now.Before(known.info.NotAfter.Add(-localLead)) {
			continue
		}
		fresh, err := ca.issue(m.sealer, host, now)
		if err != nil {
			m.log.Error("certificate not made", "host", host, "error", err)
			return
		}
		m.mu.Lock()
		if m.internal.get(host) == known {
			m.standIn(fresh)
		}
		m.mu.Unlock()
	}
}

// sweep deletes expired certificates of hosts that are no longer wanted.
func (m *Manager) sweep(ctx context.Context, storage Storage) error {
	now, wanted := m.now(), m.wanted.Load()
	var old []Item
	m.mu.Lock()
	for key, item := range m.items {
		host, ok := strings.CutPrefix(key, KeyInternal)
		if !ok || wanted.has(host) {
			continue
		}
		if cert := m.internal.get(host); cert != nil && cert.info.Error == "" && now.After(cert.info.NotAfter) {
			old = append(old, item)
		}
	}
	m.mu.Unlock()
	for _, item := range old {
		err := bounded(ctx, func(ctx context.Context) error { return storage.Delete(ctx, item.Key, item.Revision) })
		if err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// keepTickets makes the ticket keys, or their successor.
func (m *Manager) keepTickets(ctx context.Context, storage Storage) error {
	item := m.item(KeyTickets)
	m.mu.Lock()
	current := m.tickets
	m.mu.Unlock()
	_, err := openTickets(m.sealer, item)
	if err == nil && !current.due(m.now()) {
		return nil
	}
	if item.Value == nil && len(current.Keys) > 0 {
		// Deleted, or lost with the storage: sessions under the old keys must not open any more.
		current = tickets{}
	}
	next, err := current.next(m.sealer, m.now())
	if err != nil {
		return err
	}
	next.Revision, err = storage.Put(ctx, next.Key, next.Value, item.Revision)
	if errors.Is(err, ErrConflict) {
		items, _, err := storage.List(ctx, KeyTickets)
		if err == nil {
			m.applyItems(items)
		}
		return err
	}
	if err == nil {
		m.applyItems([]Item{next})
	}
	return err
}

func (m *Manager) applyTickets(event Event) {
	if event.Deleted {
		signal(m.wake)
		return
	}
	opened, err := openTickets(m.sealer, event.Item)
	if err != nil {
		m.log.Error("the session ticket keys can not be read: they are made again", "key", KeyTickets, "error", err)
		signal(m.wake)
		return
	}
	m.tickets = opened
	m.orderTickets()
}

// useTickets lets a new key be used when its time has come.
func (m *Manager) useTickets() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orderTickets()
}

func (m *Manager) orderTickets() {
	if len(m.tickets.Keys) == 0 {
		return
	}
	if order := m.tickets.order(m.now()); !slices.Equal(order, m.order) {
		m.order = order
		m.config.SetSessionTicketKeys(order)
	}
}

// bounded gives one request to the storage its time.
func bounded(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	return fn(ctx)
}
