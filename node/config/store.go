package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// Key holds the document, as it was written.
	Key = "/tripod/config"
	// HistoryPrefix and a revision of Key hold the document that was put there: a Version as JSON.
	HistoryPrefix = "/tripod/history/"
	// ChangeKey holds who made the latest change through Store.Put, when and why, as JSON. It is written in the same
	// transaction as Key: a revision of Key that it does not share was written by other means.
	ChangeKey = "/tripod/change"
)

// directWrite is the author of a change that says nothing of its author.
const directWrite = "unknown (direct write)"

// ErrNone means that the cluster has no document.
var ErrNone = errors.New("the cluster has no document")

// Version is the document at one revision.
type Version struct {
	// Revision of etcd at which Key was put, or deleted.
	Revision int64  `json:"revision"`
	Author   string `json:"author"`
	// Time of the change by the author's clock; for a direct write, when a node first saw it. Zero if unknown.
	Time    time.Time `json:"time"`
	Message string    `json:"message"`
	// Deleted is set, by Watch only, when the key was deleted. An empty document is not a deleted one.
	Deleted bool   `json:"deleted,omitempty"`
	Text    string `json:"text"`
}

// Change says who changes the document, why, and what it has to be based on.
type Change struct {
	Author, Message string
	// IfRevision is the revision that must be the current one; 0 if there must be no document, -1 if any will do.
	IfRevision int64
}

// StaleError means that the document is not at the revision that a change was based on. Nothing was written.
type StaleError struct {
	// Want is Change.IfRevision.
	Want int64
	// Current is the document as it is; its Revision is 0 if there is none.
	Current Version
}

// Error says who changed the document and when, and what to do.
func (e *StaleError) Error() string {
	c := e.Current
	if c.Revision == 0 {
		return fmt.Sprintf("the document was deleted; you based yours on revision %d: apply yours as a new one with revision 0, or roll back", e.Want)
	}
	by := c.Author
	if by == "" {
		by = "unknown"
	}
	if !c.Time.IsZero() {
		by += ", " + ago(time.Since(c.Time))
	}
	if c.Message != "" {
		by += fmt.Sprintf(" (%q)", c.Message)
	}
	if e.Want == 0 {
		return fmt.Sprintf("there is a document already: revision %d by %s; get it and apply your change to that", c.Revision, by)
	}
	return fmt.Sprintf("the document changed: revision %d by %s; you based yours on %d: get it again and apply your change to that",
		c.Revision, by, e.Want)
}

// ago is a time span for a person.
func ago(d time.Duration) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, unit)
	}
	switch {
	case d < 2*time.Second:
		return "just now"
	case d < 2*time.Minute:
		return count(int(d/time.Second), "second")
	case d < 2*time.Hour:
		return count(int(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour")
	}
	return count(int(d/(24*time.Hour)), "day")
}

// Store is the document in etcd. Its methods are safe for use from several goroutines, and end with their context.
type Store struct {
	client *clientv3.Client
	log    *slog.Logger
}

// NewStore returns a store over a client, which stays the caller's. A nil log discards.
func NewStore(client *clientv3.Client, log *slog.Logger) *Store {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Store{client: client, log: log}
}

// Get is the current document, read linearizably, or ErrNone. The error is another if etcd has no quorum.
func (s *Store) Get(ctx context.Context) (Version, error) {
	if err := ctx.Err(); err != nil {
		return Version{}, fmt.Errorf("read document: %w", err) // an in-process client may answer all the same
	}
	v, _, err := s.get(ctx)
	return v, err
}

// get also returns the revision of the store at which it was read.
func (s *Store) get(ctx context.Context) (Version, int64, error) {
	r, err := s.client.Txn(ctx).Then(clientv3.OpGet(Key), clientv3.OpGet(ChangeKey)).Commit()
	if err != nil {
		return Version{}, 0, fmt.Errorf("read document: %w", err)
	}
	document, change := r.Responses[0].GetResponseRange().Kvs, r.Responses[1].GetResponseRange().Kvs
	if len(document) == 0 {
		return Version{}, r.Header.Revision, ErrNone
	}
	v := Version{Revision: document[0].ModRevision, Text: string(document[0].Value)}
	if len(change) > 0 && change[0].ModRevision == v.Revision {
		v.change(change[0].Value)
		return v, r.Header.Revision, nil
	}
	v.Author = directWrite
	if h, err := s.kept(ctx, v.Revision); err == nil && h != nil {
		v.Author, v.Time, v.Message = h.Author, h.Time, h.Message
	}
	return v, r.Header.Revision, nil
}

// change fills in what a value of ChangeKey says.
func (v *Version) change(value []byte) {
	var c Version
	if json.Unmarshal(value, &c) == nil {
		v.Author, v.Time, v.Message = c.Author, c.Time, c.Message
	}
	if v.Author == "" {
		v.Author = directWrite
	}
}

// Put writes the document, in one transaction with who did it and why, and returns its revision; then it records it. It does
// not check the text. The error is a *StaleError if the document is not the one the change is based on. When the context
// ends first, the write may still happen: read again to know.
func (s *Store) Put(ctx context.Context, text []byte, c Change) (int64, error) {
	if len(text) > MaxSize {
		return 0, errors.New(tooLarge(len(text)))
	}
	about, err := marshal(struct {
		Author  string    `json:"author"`
		Time    time.Time `json:"time"`
		Message string    `json:"message"`
	}{c.Author, time.Now().UTC(), c.Message})
	if err != nil {
		return 0, fmt.Errorf("write document: %w", err)
	}
	txn := s.client.Txn(ctx)
	switch {
	case c.IfRevision == 0:
		txn = txn.If(clientv3.Compare(clientv3.CreateRevision(Key), "=", 0))
	case c.IfRevision > 0:
		txn = txn.If(clientv3.Compare(clientv3.ModRevision(Key), "=", c.IfRevision))
	}
	r, err := txn.Then(clientv3.OpPut(Key, string(text)), clientv3.OpPut(ChangeKey, string(about))).Commit()
	if err != nil {
		return 0, fmt.Errorf("write document: %w", err)
	}
	if !r.Succeeded {
		current, err := s.Get(ctx)
		if err != nil && !errors.Is(err, ErrNone) {
			return 0, fmt.Errorf("the document changed since revision %d; %w", c.IfRevision, err)
		}
		return 0, &StaleError{Want: c.IfRevision, Current: current}
	}
	revision := r.Header.Revision
	// The document is in force whether this works or not, and every node that sees it records it too.
	if err := s.Record(ctx, revision, text); err != nil {
		s.log.Warn("cannot record document", "revision", revision, "error", err)
	}
	return revision, nil
}
