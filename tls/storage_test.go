package tls_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tripod/tls"
)

// TestStorage is the contract of tls.Storage.
func TestStorage(t *testing.T) {
	t.Run("compare and swap", func(t *testing.T) {
		s, _ := store(t)
		first, err := s.Put(t.Context(), "/t/a", []byte("1"), tls.MustNotExist)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Put(t.Context(), "/t/a", []byte("2"), tls.MustNotExist); !errors.Is(err, tls.ErrConflict) {
			t.Errorf("created twice: %v", err)
		}
		second, err := s.Put(t.Context(), "/t/a", []byte("2"), first)
		if err != nil || second <= first {
			t.Errorf("revision %d after %d: %v", second, first, err)
		}
		if _, err := s.Put(t.Context(), "/t/a", []byte("3"), first); !errors.Is(err, tls.ErrConflict) {
			t.Errorf("put at an old revision: %v", err)
		}
		if err := s.Delete(t.Context(), "/t/a", first); !errors.Is(err, tls.ErrConflict) {
			t.Errorf("deleted at an old revision: %v", err)
		}
		if _, err := s.Put(t.Context(), "/t/a", []byte("4"), tls.AnyRevision); err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := s.Delete(t.Context(), "/t/a", tls.AnyRevision); err != nil {
				t.Error(err)
			}
		}
		if err := s.Delete(t.Context(), "/t/a", second); !errors.Is(err, tls.ErrConflict) {
			t.Errorf("deleted what is gone: %v", err)
		}
	})
	t.Run("list in pages", func(t *testing.T) {
		s, _ := store(t)
		items := make([]tls.Item, 1203)
		for i := range items {
			items[i] = tls.Item{Key: fmt.Sprintf("/t/%04d", i), Value: []byte{byte(i)}}
		}
		if _, err := s.PutNew(t.Context(), items); err != nil {
			t.Fatal(err)
		}
		last, err := s.Put(t.Context(), "/t2", nil, tls.AnyRevision) // beside the prefix
		if err != nil {
			t.Fatal(err)
		}
		got, revision, err := s.List(t.Context(), "/t/")
		if err != nil || len(got) != len(items) || revision != last {
			t.Fatalf("%d items at %d, want %d at %d: %v", len(got), revision, len(items), last, err)
		}
		for i, item := range got {
			if item.Key != items[i].Key || item.Value[0] != byte(i) || item.Revision <= 0 {
				t.Fatalf("item %d is %+v", i, item)
			}
		}
		if got, _, err := s.List(t.Context(), "/none/"); err != nil || len(got) != 0 {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("create those that do not exist", func(t *testing.T) {
		s, _ := store(t)
		old, err := s.Put(t.Context(), "/t/070", []byte("theirs"), tls.MustNotExist)
		if err != nil {
			t.Fatal(err)
		}
		var items []tls.Item
		for i := range 150 {
			items = append(items, tls.Item{Key: fmt.Sprintf("/t/%03d", i), Value: []byte("ours")})
		}
		held, err := s.PutNew(t.Context(), items)
		if err != nil || len(held) != len(items) {
			t.Fatalf("%d, %v", len(held), err)
		}
		listed, _, err := s.List(t.Context(), "/t/")
		if err != nil {
			t.Fatal(err)
		}
		for i, item := range held {
			want := "ours"
			if i == 70 {
				want = "theirs"
				if item.Revision != old {
					t.Errorf("revision %d, want %d", item.Revision, old)
				}
			}
			if item.Key != items[i].Key || string(item.Value) != want || item.Revision != listed[i].Revision || string(listed[i].Value) != want {
				t.Errorf("item %d: told %+v, stored %+v", i, item, listed[i])
			}
		}
	})
	t.Run("watch without gaps", func(t *testing.T) {
		s, client := store(t)
		first, err := s.Put(t.Context(), "/t/a", []byte("1"), tls.MustNotExist)
		if err != nil {
			t.Fatal(err)
		}
		s.Put(t.Context(), "/t/b", []byte("2"), tls.MustNotExist)
		s.Put(t.Context(), "/other", nil, tls.AnyRevision)
		s.Delete(t.Context(), "/t/a", tls.AnyRevision)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var seen []tls.Event
		err = s.Watch(ctx, "/t/", first, func(events []tls.Event) {
			seen = append(seen, events...)
			switch len(seen) {
			case 2:
				if _, err := s.Put(ctx, "/t/c", []byte("3"), tls.MustNotExist); err != nil {
					t.Error(err)
				}
			case 3:
				cancel()
			}
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if len(seen) != 3 || seen[0].Key != "/t/b" || seen[0].Deleted || string(seen[0].Value) != "2" ||
			seen[1].Key != "/t/a" || !seen[1].Deleted || seen[1].Revision <= seen[0].Revision || seen[2].Key != "/t/c" {
			t.Errorf("saw %+v", seen)
		}
		// What was compacted can not be watched: the caller must list again.
		if _, err := client.Compact(t.Context(), seen[2].Revision); err != nil {
			t.Fatal(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.Watch(ctx, "/t/", first, func([]tls.Event) { t.Error("an event from nowhere") }); err == nil || ctx.Err() != nil {
			t.Errorf("watching what is compacted: %v", err)
		}
	})
}
