package config

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// watched collects what a Watch delivers.
type watched struct {
	t        *testing.T
	versions chan Version
	last     int64
	cancel   context.CancelFunc
	done     chan error
}

func watch(t *testing.T, s *Store, fn func(Version)) *watched {
	ctx, cancel := context.WithCancel(t.Context())
	w := &watched{t: t, versions: make(chan Version, 1000), cancel: cancel, done: make(chan error, 1)}
	go func() {
		w.done <- s.Watch(ctx, func(v Version) {
			if fn != nil {
				fn(v)
			}
			w.versions <- v
		})
	}()
	return w
}

// next is the next version, which must be newer than all before.
func (w *watched) next() Version {
	w.t.Helper()
	select {
	case v := <-w.versions:
		if v.Revision <= w.last {
			w.t.Fatalf("revision %d after %d", v.Revision, w.last)
		}
		w.last = v.Revision
		return v
	case <-time.After(20 * time.Second):
		w.t.Fatal("no version within 20s")
		return Version{}
	}
}

// stop ends the watch; nothing more may have been delivered.
func (w *watched) stop() {
	w.t.Helper()
	w.cancel()
	select {
	case err := <-w.done:
		if !errors.Is(err, context.Canceled) {
			w.t.Errorf("watch ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		w.t.Fatal("watch does not end")
	}
	select {
	case v := <-w.versions:
		w.t.Errorf("unexpected %+v", v)
	default:
	}
}

func TestWatchDeliversEveryChangeOnceAndInOrder(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		first := put(t, s, "# 0\n", Change{Author: "ann", Message: "zero", IfRevision: -1})
		w := watch(t, s, nil)
		if v := w.next(); v.Revision != first || v.Author != "ann" || v.Message != "zero" || v.Text != "# 0\n" {
			t.Fatalf("got %+v", v)
		}
		for i := range 20 {
			text, author := fmt.Sprintf("# %d\n", i), "unknown (direct write)"
			if i%2 == 0 {
				direct(t, s, text)
			} else {
				author = "bob"
				put(t, s, text, Change{Author: author, IfRevision: -1})
			}
			// Other keys are not the document.
			if _, err := s.client.Put(t.Context(), "/tripod/clock", text); err != nil {
				t.Fatal(err)
			}
			if v := w.next(); v.Text != text || v.Author != author || v.Deleted {
				t.Fatalf("change %d: got %+v", i, v)
			}
		}
		direct(t, s, "")
		if v := w.next(); v.Text != "" || v.Deleted {
			t.Errorf("got %+v", v)
		}
		r, err := s.client.Delete(t.Context(), Key)
		if err != nil {
			t.Fatal(err)
		}
		if v := w.next(); !v.Deleted || v.Text != "" || v.Revision != r.Header.Revision {
			t.Errorf("got %+v", v)
		}
		again := direct(t, s, "# again\n")
		if v := w.next(); v.Deleted || v.Revision != again {
			t.Errorf("got %+v", v)
		}
		w.stop()
	})
}

func TestWatchWithoutADocumentWaits(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		w := watch(t, s, nil)
		// Whether the watch runs already or not, this is its first version.
		revision := put(t, s, "# 1\n", Change{IfRevision: 0})
		if v := w.next(); v.Revision != revision {
			t.Errorf("got %+v", v)
		}
		w.stop()
	})
}

// compactBehind makes the watch slow, changes the document many times, and compacts what the watch has not seen.
func compactBehind(t *testing.T, s *Store, w *watcher, from int64) {
	t.Helper()
	if _, err := s.client.Compact(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	err := w.follow(t.Context(), from-1)
	if err == nil {
		t.Fatal("a watch from a compacted revision did not end")
	}
}

func TestWatchGoesOnAfterCompaction(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		old := put(t, s, "# 0\n", Change{IfRevision: -1})
		var got []Version
		w := &watcher{store: s, fn: func(v Version) { got = append(got, v) }}
		if _, err := w.read(t.Context()); err != nil {
			t.Fatal(err)
		}
		direct(t, s, "# 1\n")
		newest := direct(t, s, "# 2\n")
		compactBehind(t, s, w, newest)
		// What Watch does next.
		if _, err := w.read(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(got) != 2 || got[0].Revision != old || got[1].Revision != newest {
			t.Errorf("got %+v", got)
		}
		// And when the compacted change was the deletion.
		if _, err := s.client.Delete(t.Context(), Key); err != nil {
			t.Fatal(err)
		}
		r, err := s.client.Put(t.Context(), "/tripod/other", "")
		if err != nil {
			t.Fatal(err)
		}
		compactBehind(t, s, w, r.Header.Revision)
		for range 2 {
			if _, err := w.read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(got) != 3 || !got[2].Deleted || got[2].Revision < newest {
			t.Errorf("got %+v", got)
		}
	})
}

// TestRecheckFindsWhatNoEventTold calls what the tick calls, with no watch running.
func TestRecheckFindsWhatNoEventTold(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		var got []Version
		w := &watcher{store: s, fn: func(v Version) { got = append(got, v) }}
		check := func(want int) {
			t.Helper()
			for range 2 {
				if err := w.check(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) != want {
				t.Fatalf("%d versions, want %d: %+v", len(got), want, got)
			}
		}
		check(0)
		revision := direct(t, s, "# 1\n")
		check(1)
		if _, err := s.client.Delete(t.Context(), Key); err != nil {
			t.Fatal(err)
		}
		check(2)
		direct(t, s, "# 2\n")
		check(3)
		if got[0].Revision != revision || !got[1].Deleted || got[2].Text != "# 2\n" {
			t.Errorf("got %+v", got)
		}
	})
}

// TestWatchSurvivesALostServer takes the server away from under the watch's client for a while.
func TestWatchSurvivesALostServer(t *testing.T) {
	client := remote(t)
	wipe(t, client)
	s := NewStore(client, nil)
	put(t, s, "# 1\n", Change{IfRevision: -1})
	w := watch(t, s, nil)
	w.next()
	endpoints := client.Endpoints()
	client.SetEndpoints("http://" + testAddress + ":1")
	writer := NewStore(remote(t), nil)
	direct(t, writer, "# 2\n")
	client.SetEndpoints(endpoints...)
	for w.next().Text != "# 2\n" {
	}
	w.stop()
}

// TestWatchDoesNotSkipWhileItIsBusy blocks fn over many changes.
func TestWatchDoesNotSkipWhileItIsBusy(t *testing.T) {
	stores(t, func(t *testing.T, s *Store) {
		direct(t, s, "# 0\n")
		entered, release := make(chan struct{}), make(chan struct{})
		first := true
		w := watch(t, s, func(Version) {
			if first {
				first = false
				close(entered)
				<-release
			}
		})
		<-entered
		var revisions []int64
		for i := range 50 {
			revisions = append(revisions, direct(t, s, fmt.Sprintf("# %d\n", i)))
		}
		close(release)
		w.next()
		for _, revision := range revisions {
			if v := w.next(); v.Revision != revision {
				t.Fatalf("got %d, want %d", v.Revision, revision)
			}
		}
		w.stop()
	})
}
