package tls

import (
	"context"
	"errors"
)

// Keys in the storage.
const (
	KeyCA       = "/tripod/certs/ca"
	KeyInternal = "/tripod/certs/internal/" // + host
	KeyAdded    = "/tripod/certs/added/"    // + name
	KeyTickets  = "/tripod/tickets"

	keyCerts = "/tripod/certs/"
)

// Revisions that Put and Delete take instead of one that they saw.
const (
	MustNotExist int64 = 0  // the key must not exist
	AnyRevision  int64 = -1 // whatever there is
)

// ErrConflict means that the key is not at the revision that the caller expected. Nothing was written.
var ErrConflict = errors.New("changed meanwhile")

// Item is one key of the storage. Revision is that of its last change; it grows with every change of the
// whole storage.
type Item struct {
	Key      string
	Value    []byte
	Revision int64
}

// Event is one change of a key. After a deletion Value is nil and Revision that of the deletion.
type Event struct {
	Item
	Deleted bool
}

// Storage is what all nodes share. Values are small (the largest an added certificate, some 100 KiB), keys may be
// tens of thousands. Methods return when the context ends. Safe for concurrent use. Errors other than ErrConflict
// mean that the storage could not be asked, or did not answer, in which case a change may have happened all the same.
type Storage interface {
	// List returns what is under the prefix as of one revision, which is not older than the call.
	List(ctx context.Context, prefix string) (items []Item, revision int64, err error)
	// Put writes a key if it is at ifRevision, MustNotExist and AnyRevision included, and returns the
	// revision of the change. ErrConflict: it is at another.
	Put(ctx context.Context, key string, value []byte, ifRevision int64) (revision int64, err error)
	// PutNew creates those of the items that do not exist. It returns, in the same order, what the storage holds
	// now: the given values or, where somebody else was first, theirs.
	PutNew(ctx context.Context, items []Item) ([]Item, error)
	// Delete removes a key if it is at ifRevision, or with AnyRevision. ErrConflict: it is at another, or is gone.
	// With AnyRevision a key that does not exist is no error.
	Delete(ctx context.Context, key string, ifRevision int64) error
	// Watch calls fn with all changes under the prefix after the revision, in order and without gaps.
	// It returns when the context ends, or with an error when it can not go on; then the caller lists again.
	Watch(ctx context.Context, prefix string, after int64, fn func([]Event)) error
}
