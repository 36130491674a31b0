package rate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// told is what a journal tells of each bucket, all batches together.
func told(t *testing.T, j *Journal) map[entry]uint64 {
	t.Helper()
	sums := map[entry]uint64{}
	for _, b := range batches(t, j) {
		for _, e := range b.entries {
			sums[entry{limit: e.limit, key: e.key}] += e.used
		}
	}
	return sums
}

// batches are what a journal has, as a reader gets them.
func batches(t *testing.T, j *Journal) []batch {
	t.Helper()
	var all []batch
	data, _, _ := j.after(Position{}, time.Now(), nil)
	for _, d := range data {
		var b batch
		if _, some, err := b.read(bufio.NewReader(bytes.NewReader(d)), nil); err != nil || !some {
			t.Fatalf("a batch of the journal cannot be read: %v, %v", some, err)
		}
		all = append(all, b)
	}
	return all
}

// rest is how many tokens a node's bucket has.
func rest(l *Limit, key uint64, now time.Duration) int64 {
	full := int64(now)
	if l.one != nil {
		full = max(full, l.one.full.Load())
	} else if h := l.many.of(key); h.index != nil {
		if at, ok := h.index[key]; ok {
			full = max(full, h.slots[at].full)
		}
	}
	return (int64(now) + l.span - full) / l.interval
}

// TestLostRepeatedReordered hands batches over in all the ways in which a network may; each is charged once or, if it is lost, never.
func TestLostRepeatedReordered(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "1/h", 1000, whole)
		s := l.set.Source()
		arrive := func(epoch, number, used uint64) int64 {
			s.batch = batch{epoch, number, 0, []entry{{l.id, 0, used}, {l.id + 1, 0, 100}}} // and a limit that this node does not have
			s.merge(time.Hour)
			return rest(l, 0, time.Hour)
		}
		for _, c := range []struct {
			what                string
			epoch, number, used uint64
			want                int64
		}{
			{"the first", 7, 0, 10, 990},
			{"the next", 7, 1, 10, 980},
			{"the same again", 7, 1, 10, 980},
			{"one from before", 7, 0, 10, 980},
			{"one after some that were lost", 7, 5, 10, 970},
			{"one of those, too late", 7, 3, 10, 970},
			{"the first after a restart", 9, 0, 10, 960},
			{"one from before the restart", 7, 6, 10, 960},
			{"the next after the restart", 9, 1, 10, 950},
		} {
			if got := arrive(c.epoch, c.number, c.used); got != c.want {
				t.Errorf("%s: %d tokens are left, want %d", c.what, got, c.want)
			}
		}
		if want := (Position{9, 2}); s.Position() != want {
			t.Errorf("it goes on at %+v, want %+v", s.Position(), want)
		}
	})
}

// A bucket goes below zero by what others have spent, and the debt is paid before anything is let through.
func TestDebtIsPaid(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "10/s", 10, whole)
		s := l.set.Source()
		drain(l, 0, 0)
		s.batch = batch{1, 0, 0, []entry{{l.id, 0, 10}}}
		s.merge(0)
		if wait, ok := l.Take(0, 0); ok || wait != 1100*time.Millisecond {
			t.Errorf("ok %v, wait %s; want to wait for ten tokens that are owed and one", ok, wait)
		}
		if n := drain(l, 0, 1900*time.Millisecond); n != 9 {
			t.Errorf("after 1.9 s there are %d tokens, want 9: 19 have come and 10 were owed", n)
		}
	})
}

// A process that was held up finds in its buffers what others have spent meanwhile. It charges that as of when it was spent, and owes nothing
// that has come back since, also if clocks differ and one is slower.
func TestLateBatches(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "10/s", 10, whole)
		s := l.set.Source()
		number := uint64(0)
		spent := func(at, now time.Duration, used uint64) {
			s.batch = batch{1, number, uint64(at.Milliseconds()), []entry{{l.id, 0, used}}}
			s.merge(now)
			number++
		}
		const ahead = time.Hour // of the writer's clock
		begin := 2 * time.Hour
		for i := range time.Duration(100) { // in time
			spent(ahead+i*100*time.Millisecond, begin+i*100*time.Millisecond, 1)
		}
		if n := rest(l, 0, begin+10*time.Second); n < 9 {
			t.Fatalf("%d tokens are left of a burst of 10 when as many come as are spent", n)
		}
		for i := range time.Duration(100) { // all at once
			spent(ahead+10*time.Second+i*99900*time.Microsecond, begin+20*time.Second, 1)
		}
		if n := rest(l, 0, begin+20*time.Second); n < 8 || n > 10 {
			t.Errorf("%d tokens are left after ten seconds without hearing, want nearly 10", n)
		}
		spent(ahead+20*time.Second, begin+20*time.Second, 10)
		spent(ahead+20*time.Second, begin+20*time.Second, 10)
		if n := rest(l, 0, begin+20*time.Second); n < -12 || n > -8 {
			t.Errorf("%d tokens are left, want a debt of about 10: this was spent just now", n)
		}
	})
}

// What a node says that cannot be does no more harm than its burst and two seconds do.
func TestAbsurdCountsAreBounded(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "10/s", 10, whole)
		s, _ := l.set.Source(), l.set.Source() // two other nodes
		for number, used := range []uint64{1 << 62, ^uint64(0), 1 << 63, 1e9} {
			s.batch = batch{1, uint64(number), 0, []entry{{l.id, 0, used}, {l.id, 0, used}, {l.id, 0, used}}}
			s.merge(0)
		}
		if n := rest(l, 0, 0); n != -60 {
			t.Errorf("%d tokens are left, want a debt of 60: a burst and two seconds of each of two nodes", n)
		}
		if n := drain(l, 0, 6500*time.Millisecond); n != 5 {
			t.Errorf("half a second after the debt is paid there are %d tokens, want 5", n)
		}
	})
}

// The emptier a bucket, the sooner the others hear.
func TestUrgentWord(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "1/h", 800, whole)
		j := l.set.Journal()
		var at []int
		for n := 1; n <= 800; n++ {
			l.Take(3, 0)
			if l.set.haste.Load() {
				<-l.set.wake
				l.set.haste.Store(false)
				j.write(false, time.Now())
				at = append(at, n)
			}
		}
		if len(at) == 0 || at[0] < 80 || at[0] > 100 {
			t.Fatalf("the first word came after %v, want about a ninth of 800", at)
		}
		if len(at) > 60 || at[len(at)-1] != 800 {
			t.Errorf("%d words, at %v; want fewer the fuller the bucket is, and one with the last token", len(at), at)
		}
		if used := told(t, j)[tellKey(l, 3)]; used != 800 {
			t.Errorf("%d tokens were told, want 800", used)
		}
	})
}

// A batch has room for so many; what is urgent comes first, and the rest with the next ones, each once.
func TestBatchesAreBounded(t *testing.T) {
	s, l := limitOf(t, "100/s", 100, false)
	const keys = 3*maxEntries + 100
	for i := range uint64(keys) {
		l.Take(s.Text(fmt.Sprint(i)), 0)
	}
	urgent := s.Text("urgent")
	drain(l, urgent, 0)
	j := s.Journal()
	writes := 0
	for more := true; more; writes++ {
		if more = j.write(true, time.Now()); writes > 10 {
			t.Fatal("there is always more")
		}
	}
	all := batches(t, j)
	if len(all) != 4 {
		t.Errorf("%d batches, want 4", len(all))
	}
	if e := all[0].entries[0]; e.key != urgent || e.used != 100 {
		t.Errorf("the first entry is %+v, want the urgent one", e)
	}
	if n := len(told(t, j)); n != keys+1 {
		t.Errorf("%d buckets were told of, want %d", n, keys+1)
	}
	for _, b := range all {
		if data := b.append(nil); len(b.entries) > maxEntries || len(data) > maxBatch {
			t.Errorf("a batch has %d entries and %d bytes", len(b.entries), len(data))
		}
	}
	if j.write(true, time.Now()); len(batches(t, j)) != 4 {
		t.Error("something is told twice")
	}
	for next, want := range map[uint64]int{0: 4, 3: 1, 4: 0} {
		if data, _, _ := j.after(Position{j.epoch, next}, time.Now(), nil); len(data) != want {
			t.Errorf("from batch %d on there are %d, want %d", next, len(data), want)
		}
	}
}

// Batches are kept for a time, up to a size.
func TestJournalIsBounded(t *testing.T) {
	s, l := limitOf(t, "1000000/s", 0, false)
	j := s.Journal()
	now := time.Now()
	for i := range uint64(300) {
		for k := range uint64(maxEntries) {
			l.Take(k<<53|i, 0)
		}
		j.write(true, now)
	}
	if j.bytes > keepBytes || j.bytes < keepBytes/2 {
		t.Errorf("%d bytes are kept, want nearly %d", j.bytes, keepBytes)
	}
	data, at, _ := j.after(Position{}, now.Add(keepFor+1), nil)
	if len(data) != 0 || j.bytes != 0 || at.Next != j.next {
		t.Errorf("%d batches with %d bytes are there after %s", len(data), j.bytes, keepFor)
	}
}

// TestBrokenStreams reads a journal over connections that break at any byte, while it is written. All is charged once.
func TestBrokenStreams(t *testing.T) {
	here, l := limitOf(t, "1/h", 5000, false)
	there, copied := limitOf(t, "1/h", 5000, false)
	j := here.Journal()
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() { j.Run(ctx) })
	source := there.Source()
	const total = 1000
	work.Go(func() {
		for range total {
			l.Take(8, 0)
			select {
			case <-ctx.Done():
				return
			case <-time.After(200 * time.Microsecond):
			}
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	breaks := 0
	left := func() int64 { return rest(copied, 8, there.Clock(time.Now())) }
	for left() != 5000-total {
		if time.Now().After(deadline) {
			t.Fatalf("%d tokens are left, want %d", left(), 5000-total)
		}
		ours, theirs := net.Pipe()
		streaming, stop := context.WithCancel(ctx)
		var one sync.WaitGroup
		one.Go(func() {
			defer theirs.Close()
			j.Stream(streaming, source.Position(), func(b []byte) error { _, err := theirs.Write(b); return err })
		})
		in := bufio.NewReader(io.LimitReader(ours, int64(20+7*breaks%200)))
		ours.SetReadDeadline(time.Now().Add(3 * time.Second))
		var err error
		for err == nil {
			err = source.Read(in)
		}
		if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			t.Fatal(err)
		}
		breaks++
		ours.Close()
		stop()
		one.Wait()
	}
	if breaks < 10 {
		t.Errorf("the connection broke %d times, want more", breaks)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// A reader hears something also when there is nothing to tell.
func TestSignOfLife(t *testing.T) {
	s, _ := limitOf(t, "1/s", 1, false)
	ours, theirs := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel()
	work.Go(func() {
		defer theirs.Close()
		s.Journal().Stream(ctx, Position{}, func(b []byte) error { _, err := theirs.Write(b); return err })
	})
	in := bufio.NewReader(ours)
	ours.SetReadDeadline(time.Now().Add(30 * time.Second))
	source := s.Source()
	for range 3 {
		if err := source.Read(in); err != nil {
			t.Fatal(err)
		}
	}
	if source.Position() != (Position{}) {
		t.Errorf("signs of life moved the position to %+v", source.Position())
	}
}
