package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/tls"
)

const (
	// storagePage bounds one answer of a listing, and storageBatch one transaction, of which etcd takes 128
	// operations by default, nested ones counted on top of those around them.
	storagePage  = 500
	storageBatch = 64
)

// Storage keeps certificates in etcd. It does not own the client.
type Storage struct {
	client *clientv3.Client
}

var _ tls.Storage = (*Storage)(nil)

// NewStorage returns a storage over a client, remote or in process.
func NewStorage(client *clientv3.Client) *Storage {
	return &Storage{client: client}
}

// List reads page by page. The first page is a linearizable read, the others are of the same revision.
func (s *Storage) List(ctx context.Context, prefix string) ([]tls.Item, int64, error) {
	for {
		items, revision, err := s.list(ctx, prefix)
		// A compaction between two pages took the revision away.
		if errors.Is(err, rpctypes.ErrCompacted) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("list %s: %w", prefix, err)
		}
		return items, revision, nil
	}
}

func (s *Storage) list(ctx context.Context, prefix string) ([]tls.Item, int64, error) {
	var items []tls.Item
	var revision int64
	key, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		page, err := s.client.Get(ctx, key, clientv3.WithRange(end), clientv3.WithLimit(storagePage), clientv3.WithRev(revision))
		if err != nil {
			return nil, 0, err
		}
		if revision == 0 {
			revision = page.Header.Revision
			items = make([]tls.Item, 0, page.Count)
		}
		for _, kv := range page.Kvs {
			items = append(items, tls.Item{Key: string(kv.Key), Value: kv.Value, Revision: kv.ModRevision})
		}
		if !page.More || len(page.Kvs) == 0 {
			return items, revision, nil
		}
		key = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

// Put is one transaction.
func (s *Storage) Put(ctx context.Context, key string, value []byte, ifRevision int64) (int64, error) {
	answer, err := s.client.Txn(ctx).If(atRevision(key, ifRevision)...).Then(clientv3.OpPut(key, string(value))).Commit()
	if err != nil {
		return 0, fmt.Errorf("put %s: %w", key, err)
	}
	if !answer.Succeeded {
		return 0, fmt.Errorf("put %s: %w", key, tls.ErrConflict)
	}
	return answer.Header.Revision, nil
}

// PutNew nests one small transaction per item in a larger one, so that one that exists does not hold up others.
func (s *Storage) PutNew(ctx context.Context, items []tls.Item) ([]tls.Item, error) {
	held := make([]tls.Item, 0, len(items))
	for len(items) > 0 {
		batch := items[:min(len(items), storageBatch)]
		items = items[len(batch):]
		ops := make([]clientv3.Op, len(batch))
		for i, item := range batch {
			ops[i] = clientv3.OpTxn(atRevision(item.Key, tls.MustNotExist),
				[]clientv3.Op{clientv3.OpPut(item.Key, string(item.Value))},
				[]clientv3.Op{clientv3.OpGet(item.Key)})
		}
		answer, err := s.client.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return held, fmt.Errorf("put %s and %d more: %w", batch[0].Key, len(batch)-1, err)
		}
		for i, item := range batch {
			inner := answer.Responses[i].GetResponseTxn()
			if inner.Succeeded {
				item.Revision = answer.Header.Revision
			} else if kvs := inner.Responses[0].GetResponseRange().Kvs; len(kvs) > 0 {
				item.Value, item.Revision = kvs[0].Value, kvs[0].ModRevision
			}
			held = append(held, item)
		}
	}
	return held, nil
}

// Delete is one transaction.
func (s *Storage) Delete(ctx context.Context, key string, ifRevision int64) error {
	answer, err := s.client.Txn(ctx).If(atRevision(key, ifRevision)...).Then(clientv3.OpDelete(key)).Commit()
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	if !answer.Succeeded {
		return fmt.Errorf("delete %s: %w", key, tls.ErrConflict)
	}
	return nil
}

// Watch ends with an error when the member that it watches has no leader: it would see nothing new, and the caller's
// listing finds out whether there is a quorum.
func (s *Storage) Watch(ctx context.Context, prefix string, after int64, fn func([]tls.Event)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := s.client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1))
	for change := range changes {
		if err := change.Err(); err != nil {
			return fmt.Errorf("watch %s: %w", prefix, err)
		}
		if len(change.Events) == 0 {
			continue // created, or a progress report
		}
		events := make([]tls.Event, len(change.Events))
		for i, event := range change.Events {
			events[i] = tls.Event{
				Item:    tls.Item{Key: string(event.Kv.Key), Value: event.Kv.Value, Revision: event.Kv.ModRevision},
				Deleted: event.Type == clientv3.EventTypeDelete,
			}
		}
		fn(events)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("watch %s: %w", prefix, err)
	}
	return fmt.Errorf("watch %s: the client was closed", prefix)
}

// atRevision is the condition for a revision that a caller expects.
func atRevision(key string, revision int64) []clientv3.Cmp {
	switch revision {
	case tls.AnyRevision:
		return nil
	case tls.MustNotExist:
		return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
	default:
		return []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", revision)}
	}
}
