package config

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// recheck is how often Watch reads the key although no event came, in case the events are lost.
	recheck = 5 * time.Second
	// readTimeout bounds one such read, so that a cluster without quorum does not stop the events after it returns.
	readTimeout = 2 * time.Second
	// retryFirst and retryLast bound the pause after an error, which doubles.
	retryFirst, retryLast = 50 * time.Millisecond, time.Second
)

// watcher is one call of Store.Watch.
type watcher struct {
	store *Store
	fn    func(Version)
	// revision is the newest that fn has seen, of a document or of its deletion.
	revision int64
	// present is whether that was a document.
	present bool
}

// Watch calls fn with the current document and then with every change of it, in order, from this goroutine, and never twice
// for a revision; revisions that the watch could not see (it was cut off, and etcd was compacted meanwhile) are skipped,
// the newest never is. With no document there is no first call. A deletion is a Version with Deleted set and no text; its
// revision is that of the deletion, or one after it if the deletion itself was missed.
//
// It goes on through every error, and returns only when the context ends, with the context's error.
func (s *Store) Watch(ctx context.Context, fn func(Version)) error {
	w := &watcher{store: s, fn: fn}
	pause := retryFirst
	for ctx.Err() == nil {
		from, err := w.read(ctx)
		if err == nil {
			pause = retryFirst
			err = w.follow(ctx, from+1)
		}
		if ctx.Err() != nil {
			break
		}
		level := slog.LevelWarn
		if pause > retryFirst {
			level = slog.LevelDebug // the same outage
		}
		s.log.Log(ctx, level, "document watch interrupted; it goes on", "error", err, "in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, retryLast)
	}
	return ctx.Err()
}

// read gets the document and delivers it if it is new. It returns the revision of the store at that moment.
func (w *watcher) read(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	v, revision, err := w.store.get(ctx)
	switch {
	case errors.Is(err, ErrNone):
		if w.present {
			w.deliver(Version{Revision: revision, Deleted: true})
		}
		return revision, nil
	case err != nil:
		return 0, err
	}
	w.deliver(v)
	return revision, nil
}

// check is read for the tick: it reads the text only if its revision is not the one delivered.
func (w *watcher) check(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r, err := w.store.client.Get(short, Key, clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	if present := len(r.Kvs) > 0; present == w.present && (!present || r.Kvs[0].ModRevision <= w.revision) {
		return nil
	}
	_, err = w.read(ctx)
	return err
}

// deliver calls fn unless it has seen the revision.
func (w *watcher) deliver(v Version) {
	if v.Revision <= w.revision {
		return
	}
	w.revision, w.present = v.Revision, !v.Deleted
	w.fn(v)
}

// errWatchEnded means that etcd closed a watch and gave no reason.
var errWatchEnded = errors.New("the watch ended")

// follow delivers the changes from a revision on until the watch breaks.
func (w *watcher) follow(ctx context.Context, from int64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// The range from ChangeKey to Key brings a change and who made it in one event, at no extra read. Without a leader
	// there are no events, so a server that has lost it should say so.
	events := w.store.client.Watch(clientv3.WithRequireLeader(ctx), ChangeKey,
		clientv3.WithRange(Key+"\x00"), clientv3.WithRev(from))
	tick := time.NewTicker(recheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r, ok := <-events:
			if !ok {
				return errWatchEnded
			}
			if err := r.Err(); err != nil {
				return err
			}
			w.events(r.Events)
		case <-tick.C:
			// An error here needs nothing: the watch tells when it is broken, and the next tick comes.
			if err := w.check(ctx); err != nil {
				w.store.log.Debug("cannot recheck document", "error", err)
			}
		}
	}
}

// events delivers the changes of a batch. Those of one transaction are in one batch.
func (w *watcher) events(events []*clientv3.Event) {
	changes := map[int64][]byte{}
	for _, e := range events {
		if string(e.Kv.Key) == ChangeKey && e.Type == mvccpb.PUT {
			changes[e.Kv.ModRevision] = e.Kv.Value
		}
	}
	for _, e := range events {
		if string(e.Kv.Key) != Key {
			continue
		}
		v := Version{Revision: e.Kv.ModRevision, Author: directWrite, Text: string(e.Kv.Value)}
		if e.Type == mvccpb.DELETE {
			w.deliver(Version{Revision: e.Kv.ModRevision, Deleted: true})
			continue
		}
		if change := changes[v.Revision]; change != nil {
			v.change(change)
		}
		w.deliver(v)
	}
}
