package etcd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap"
)

// maxChecked is the size of a store up to which all its pages are checked: a second's work. What is larger is
// opened, and its first pages are checked.
const maxChecked = 256 << 20

// preflight tells whether etcd's data can be opened, before etcd tries: where data is damaged, etcd ends the
// process, partly from goroutines of its own. It changes nothing. Its errors are about the data and nothing
// else; what the machine lacks is for etcd to say.
//
// A log that is shorter than what the store has applied has lost entries that this member had acknowledged.
// Such a member must not vote again under its old identity, as it might elect a leader that misses them too.
func preflight(data string) (err error) {
	// Damage in a mapped file shows as a fault in the middle of a read.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errBroken, r)
		}
	}()
	last, committed, err := readLog(filepath.Join(data, "member", "wal"))
	if err != nil {
		return err
	}
	if last < committed {
		return fmt.Errorf("%w: the log ends at entry %d, and %d were committed", errBroken, last, committed)
	}
	applied, err := checkStore(filepath.Join(data, "member", "snap", "db"))
	if err != nil {
		return err
	}
	if last < applied {
		return fmt.Errorf("%w: the log ends at entry %d, and the store has applied %d", errBroken, last, applied)
	}
	return nil
}

// readLog reads the write-ahead log and returns its last entry, and the last that it knows to be committed. A
// last record that is torn was never acknowledged, and is no damage.
func readLog(folder string) (last, committed uint64, err error) {
	log := zap.NewNop()
	snapshots, err := wal.ValidSnapshotEntries(log, folder)
	if errors.Is(err, fs.ErrPermission) {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	if err != nil || len(snapshots) == 0 {
		return 0, 0, fmt.Errorf("%w: the log has no beginning: %w", errBroken, err)
	}
	from := snapshots[len(snapshots)-1]
	w, err := wal.OpenForRead(log, folder, from)
	if errors.Is(err, fs.ErrPermission) {
		return 0, 0, fmt.Errorf("read log: %w", err)
	}
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer w.Close()
	_, state, entries, err := w.ReadAll()
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %w", errBroken, err)
	}
	last = from.GetIndex()
	if len(entries) > 0 {
		last = entries[len(entries)-1].GetIndex()
	}
	return last, state.GetCommit(), nil
}

// checkStore checks the store's pages and returns the last entry that it has applied. A store that is not there
// yet has applied nothing.
func checkStore(file string) (applied uint64, err error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%w: %s is missing", errBroken, file)
	}
	if err != nil {
		return 0, fmt.Errorf("read store: %w", err)
	}
	db, err := bolt.Open(file, 0o400, &bolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, fs.ErrPermission) {
		return 0, fmt.Errorf("read store: %w", err)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errBroken, err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		if info.Size() <= maxChecked {
			// Not tx.Check, which panics in a goroutine of its own where no one can recover.
			if err := tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b) }); err != nil {
				return err
			}
		}
		meta := tx.Bucket(schema.Meta.Name())
		if meta == nil {
			return nil
		}
		if value := meta.Get(schema.MetaConsistentIndexKeyName); len(value) == 8 {
			applied = binary.BigEndian.Uint64(value)
		}
		return nil
	})
	return applied, err
}

// walk reads every key and value of a bucket; a page that is damaged makes it fail, or panic.
func walk(b *bolt.Bucket) error {
	var before []byte
	return b.ForEach(func(k, v []byte) error {
		if v == nil && b.Bucket(k) != nil {
			return walk(b.Bucket(k))
		}
		if before != nil && bytes.Compare(before, k) >= 0 {
			return fmt.Errorf("%w: the store's keys are out of order", errBroken)
		}
		before = k
		return nil
	})
}
