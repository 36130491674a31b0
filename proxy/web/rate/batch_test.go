package rate

import (
	"bufio"
	"bytes"
	"testing"
)

// The largest batch that can be is read.
func TestLargestBatch(t *testing.T) {
	b := batch{epoch: ^uint64(0), number: ^uint64(0), at: latest}
	for i := range uint64(maxEntries) {
		b.entries = append(b.entries, entry{i, ^i, ^uint64(0)})
	}
	var got batch
	if _, some, err := got.read(bufio.NewReader(bytes.NewReader(b.append(nil))), nil); err != nil || !some || len(got.entries) != maxEntries {
		t.Fatalf("%d entries, %v", len(got.entries), err)
	}
	b.entries = append(b.entries, entry{1, 1, 1})
	if _, _, err := got.read(bufio.NewReader(bytes.NewReader(b.append(nil))), nil); err == nil {
		t.Error("one more is taken too")
	}
}

func FuzzBatch(f *testing.F) {
	b := batch{7, 300, 1000, []entry{{1, 2, 3}, {1, 4, 1 << 40}, {9, 2, 1}}}
	f.Add(b.append(nil))
	f.Add(append(b.append(nil), b.append(nil)...))
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{255, 255, 255, 255, 1})
	f.Add([]byte{2, 0, 0, 0, 9, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		_, l := limitOf(t, "10/s", 10, false)
		s := l.set.Source()
		in := bufio.NewReader(bytes.NewReader(data))
		for {
			memory, some, err := s.batch.read(in, s.memory)
			if s.memory = memory; err != nil {
				break
			}
			if len(s.batch.entries) > maxEntries || cap(memory) > maxBatch {
				t.Fatalf("%d entries, %d bytes", len(s.batch.entries), cap(memory))
			}
			if !some {
				continue
			}
			var again batch
			if err := again.parse(s.batch.append(nil)[prefix:]); err != nil || len(again.entries) != len(s.batch.entries) ||
				again.epoch != s.batch.epoch || again.number != s.batch.number || again.at != s.batch.at {
				t.Fatalf("%+v is read as %+v, %v", s.batch, again, err)
			}
			for i := range s.batch.entries {
				s.batch.entries[i].limit = l.id
			}
			s.merge(0)
			for i := range l.many {
				for _, b := range l.many[i].slots {
					if b.full > l.span+l.span+int64(keepFor) {
						t.Fatalf("a bucket is full only at %d", b.full)
					}
				}
			}
		}
	})
}
