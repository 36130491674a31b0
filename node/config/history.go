package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// historyLength is how many documents are kept.
	historyLength = 100
	// maxRecord bounds a history value, in bytes. Text of control characters takes six times its size in JSON, and
	// nodes take requests of up to 8 MiB.
	maxRecord = 6 << 20
	// historyPage is how many documents are read at a time, so that a reader never holds a hundred large ones.
	historyPage = 8
)

// ErrNotKept means that the history has no document of a revision.
var ErrNotKept = errors.New("no such revision in the history")

func historyKey(revision int64) string {
	return HistoryPrefix + strconv.FormatInt(revision, 10)
}

// marshal encodes JSON for people with etcdctl: without escaped < and >.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// kept is the history's document of a revision, or nil.
func (s *Store) kept(ctx context.Context, revision int64) (*Version, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	r, err := s.client.Get(ctx, historyKey(revision))
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if len(r.Kvs) == 0 {
		return nil, nil
	}
	var v Version
	if err := json.Unmarshal(r.Kvs[0].Value, &v); err != nil {
		return nil, fmt.Errorf("read history: %s: %w", historyKey(revision), err)
	}
	v.Revision = revision
	return &v, nil
}

// revisions are those in the history, oldest first. Keys that are no revision are somebody else's.
func (s *Store) revisions(ctx context.Context) ([]int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	r, err := s.client.Get(ctx, HistoryPrefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	var revisions []int64
	for _, kv := range r.Kvs {
		digits := strings.TrimPrefix(string(kv.Key), HistoryPrefix)
		n, err := strconv.ParseInt(digits, 10, 64)
		if err == nil && n > 0 && strconv.FormatInt(n, 10) == digits {
			revisions = append(revisions, n)
		}
	}
	slices.Sort(revisions)
	return revisions, nil
}

// History lists the documents that are kept, newest first, without their texts, which At has: a hundred of them may
// be 200 MB.
func (s *Store) History(ctx context.Context) ([]Version, error) {
	revisions, err := s.revisions(ctx)
	if err != nil {
		return nil, err
	}
	slices.Reverse(revisions)
	versions := make([]Version, 0, len(revisions))
	for page := range slices.Chunk(revisions, historyPage) {
		ops := make([]clientv3.Op, 0, historyPage)
		for _, revision := range page {
			ops = append(ops, clientv3.OpGet(historyKey(revision)))
		}
		r, err := s.client.Txn(ctx).Then(ops...).Commit()
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		for i, response := range r.Responses {
			kvs := response.GetResponseRange().Kvs
			if len(kvs) == 0 {
				continue // pruned in between
			}
			var v Version
			if err := json.Unmarshal(kvs[0].Value, &v); err != nil {
				v = Version{Author: "unknown", Message: "(damaged: " + err.Error() + ")"}
			}
			v.Revision, v.Text = page[i], ""
			versions = append(versions, v)
		}
	}
	return versions, nil
}

// At is the document at a revision of the history, or the current one. The error wraps ErrNotKept, and names the revisions
// nearby.
func (s *Store) At(ctx context.Context, revision int64) (Version, error) {
	v, err := s.kept(ctx, revision)
	if err != nil {
		return Version{}, err
	}
	if v != nil {
		return *v, nil
	}
	// It may be too young for the history.
	current, err := s.Get(ctx)
	switch {
	case err == nil && current.Revision == revision:
		return current, nil
	case err != nil && !errors.Is(err, ErrNone):
		return Version{}, err
	}
	revisions, err := s.revisions(ctx)
	if err != nil {
		return Version{}, err
	}
	return Version{}, fmt.Errorf("%w: %d; %s", ErrNotKept, revision, nearby(revision, revisions))
}

// nearby describes the revisions around one that is not there.
func nearby(revision int64, revisions []int64) string {
	if len(revisions) == 0 {
		return "the history is empty"
	}
	i, _ := slices.BinarySearch(revisions, revision)
	var near []string
	for _, r := range revisions[max(i-2, 0):min(i+2, len(revisions))] {
		near = append(near, strconv.FormatInt(r, 10))
	}
	return fmt.Sprintf("nearest are %s (it has %d, from %d to %d)",
		strings.Join(near, ", "), len(revisions), revisions[0], revisions[len(revisions)-1])
}

// Record keeps the document that was put at a revision, unless it is kept already, and forgets all but the newest 100. Any
// number of nodes may record the same revision at once.
func (s *Store) Record(ctx context.Context, revision int64, text []byte) error {
	v := Version{Revision: revision, Author: directWrite, Time: time.Now().UTC(), Text: string(text)}
	change, err := s.changeAt(ctx, revision)
	if err != nil {
		return err
	}
	if change != nil {
		v.change(change)
	}
	record, err := marshal(v)
	if err != nil {
		return fmt.Errorf("record document: %w", err)
	}
	if len(text) > MaxSize || len(record) > maxRecord {
		v.Text, v.Message = "", strings.TrimSpace(v.Message+" (text not kept: "+mebibytes(len(text))+")")
		if record, err = marshal(v); err != nil {
			return fmt.Errorf("record document: %w", err)
		}
	}
	key := historyKey(revision)
	// Every node records, and a document may be large: most find that another was faster.
	if r, err := s.client.Get(ctx, key, clientv3.WithCountOnly()); err == nil && r.Count > 0 {
		return nil
	}
	_, err = s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(record))).Commit()
	if err != nil {
		return fmt.Errorf("record document: %w", err)
	}
	return s.prune(ctx)
}

// changeAt is the value of ChangeKey if it was written at the revision.
func (s *Store) changeAt(ctx context.Context, revision int64) ([]byte, error) {
	r, err := s.client.Get(ctx, ChangeKey, clientv3.WithRev(revision))
	if errors.Is(err, rpctypes.ErrCompacted) {
		// Then it is known only if nobody changed the document since.
		r, err = s.client.Get(ctx, ChangeKey)
	}
	if err != nil {
		return nil, fmt.Errorf("read change: %w", err)
	}
	if len(r.Kvs) == 0 || r.Kvs[0].ModRevision != revision {
		return nil, nil
	}
	return r.Kvs[0].Value, nil
}

// prune deletes the oldest records.
func (s *Store) prune(ctx context.Context) error {
	revisions, err := s.revisions(ctx)
	if err != nil || len(revisions) <= historyLength {
		return err
	}
	// etcd takes at most 128 operations in a transaction.
	for chunk := range slices.Chunk(revisions[:len(revisions)-historyLength], 100) {
		var ops []clientv3.Op
		for _, revision := range chunk {
			ops = append(ops, clientv3.OpDelete(historyKey(revision)))
		}
		if _, err := s.client.Txn(ctx).Then(ops...).Commit(); err != nil {
			return fmt.Errorf("prune history: %w", err)
		}
	}
	return nil
}
