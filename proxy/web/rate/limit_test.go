package rate

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// limitOf makes a set with one limit.
func limitOf(t testing.TB, rate string, burst int64, whole bool) (*Set, *Limit) {
	t.Helper()
	r, err := Parse(rate)
	if err != nil {
		t.Fatal(err)
	}
	if burst == 0 {
		burst = r.Burst()
	}
	s := NewSet([]byte("secret"))
	p := s.Plan()
	l := p.Limit(Spec{Place: Place{Route: "a.test/"}, Rate: r, Burst: burst, By: "client", Whole: whole})
	p.Commit()
	return s, l
}

// kinds runs a test with both kinds of limit.
func kinds(t *testing.T, f func(t *testing.T, whole bool)) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole=%v", whole), func(t *testing.T) { f(t, whole) })
	}
}

// drain takes tokens until there are none, and says how many there were.
func drain(l *Limit, key uint64, now time.Duration) int {
	for n := 0; ; n++ {
		if _, ok := l.Take(key, now); !ok {
			return n
		}
	}
}

func TestBurstThenRate(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "100/s", 20, whole)
		now := time.Hour
		if n := drain(l, 1, now); n != 20 {
			t.Fatalf("a fresh bucket gave %d tokens, want its burst of 20", n)
		}
		wait, ok := l.Take(1, now)
		if ok || wait != 10*time.Millisecond {
			t.Fatalf("empty bucket: ok %v, wait %s; want the interval of 10ms", ok, wait)
		}
		if _, ok := l.Take(1, now+wait-1); ok {
			t.Error("a token was there before its time")
		}
		if _, ok := l.Take(1, now+wait); !ok {
			t.Error("no token was there when it was told to be")
		}
		if n := drain(l, 1, now+60*time.Millisecond); n != 5 {
			t.Errorf("50 ms after a token there are %d, want 5", n)
		}
		if n := drain(l, 1, now+time.Minute); n != 20 {
			t.Errorf("after a long pause there are %d, want the burst of 20", n)
		}
	})
}

// Whatever moments requests come at, no more are let through than came in the time and the burst, and, with demand, no less.
func TestNeverMoreThanRateAndBurst(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "1000/m", 7, whole)
		random := rand.New(rand.NewPCG(1, 2))
		let, asked, now := 0, 0, time.Duration(0)
		for now < 10*time.Minute {
			now += time.Duration(random.Int64N(int64(60 * time.Millisecond))) // twice the rate
			asked++
			if _, ok := l.Take(9, now); ok {
				let++
			}
			if most := 7 + int(now/(60*time.Millisecond)); let > most {
				t.Fatalf("%d of %d were let through in %s, want %d at most", let, asked, now, most)
			}
		}
		if let < 9900 {
			t.Errorf("%d of %d were let through in 10m, want nearly 10000", let, asked)
		}
	})
}

func TestKeysCountApart(t *testing.T) {
	_, l := limitOf(t, "1/h", 3, false)
	for key := range uint64(1000) {
		if n := drain(l, key<<32|key<<54, 0); n != 3 {
			t.Fatalf("key %d has %d tokens, want 3", key, n)
		}
	}
}

func TestReturnedTokenIsThereAgain(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		s, l := limitOf(t, "1/h", 3, whole)
		drain(l, 4, 0)
		l.Return(4)
		if n := drain(l, 4, 0); n != 1 {
			t.Errorf("after one was given back there are %d tokens, want 1", n)
		}
		l.Return(4)
		j := s.Journal()
		j.write(true, time.Now())
		if used := told(t, j)[tellKey(l, 4)]; used != 2 {
			t.Errorf("%d tokens were told, want 2: one of three was given back", used)
		}
	})
}

func tellKey(l *Limit, key uint64) entry {
	if l.one != nil {
		key = 0
	}
	return entry{limit: l.id, key: key}
}

// Many at a time take exactly what there is.
func TestManyAtATime(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		_, l := limitOf(t, "1/h", 5000, whole)
		var let atomic.Int64
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for range 1000 {
					if _, ok := l.Take(77, time.Second); ok {
						let.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if let.Load() != 5000 {
			t.Errorf("%d were let through, want 5000", let.Load())
		}
	})
}

func count(s *shards) (buckets, indexed, listed int) {
	for i := range s {
		s[i].mu.Lock()
		buckets += len(s[i].slots)
		indexed += len(s[i].index)
		listed += len(s[i].dirty) + len(s[i].hasty)
		s[i].mu.Unlock()
	}
	return
}

// A flood of keys takes a bounded memory, and does not wash away the bucket of who is over the limit.
func TestFloodOfKeys(t *testing.T) {
	s, l := limitOf(t, "1/s", 50, false)
	heavy := make([]uint64, 20)
	for i := range heavy {
		heavy[i] = s.Text(fmt.Sprint("heavy", i))
		drain(l, heavy[i], 0)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range uint64(5 * maxKeys) {
		l.Take(s.Client(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})), time.Duration(i))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	buckets, indexed, listed := count(l.many)
	if buckets > maxKeys || buckets < maxKeys*9/10 || indexed != buckets || listed > 2*buckets {
		t.Errorf("%d buckets, %d of them indexed, %d listed; want nearly %d", buckets, indexed, listed, maxKeys)
	}
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(buckets); each > 100 {
		t.Errorf("a bucket takes %d bytes, want 100 at most", each)
	}
	for i, key := range heavy {
		if n := drain(l, key, 500*time.Millisecond); n != 0 {
			t.Errorf("heavy client %d has %d tokens again after the flood", i, n)
		}
	}
	runtime.KeepAlive(l)
}

// What is full again is forgotten, and its memory given back; what is not full, or not told yet, stays.
func TestFullBucketsAreForgotten(t *testing.T) {
	s, l := limitOf(t, "10/s", 10, false)
	j := s.Journal()
	for i := range uint64(20_000) {
		l.Take(s.Text(fmt.Sprint(i)), 0)
	}
	sweep := func(now time.Duration) int {
		for part := range l.many {
			l.many[part].sweep(int64(now))
		}
		buckets, indexed, _ := count(l.many)
		if buckets != indexed {
			t.Fatalf("%d buckets, %d of them indexed", buckets, indexed)
		}
		return buckets
	}
	if n := sweep(time.Hour); n != 20_000 {
		t.Errorf("%d buckets are left, want all: nothing of them was told", n)
	}
	total := uint64(0)
	for more := true; more; {
		more = j.write(true, time.Now())
	}
	for _, used := range told(t, j) {
		total += used
	}
	if total != 20_000 {
		t.Errorf("%d tokens were told, want 20000", total)
	}
	if n := sweep(50 * time.Millisecond); n != 20_000 {
		t.Errorf("%d buckets are left, want all: they are not full yet", n)
	}
	keep := s.Text("keep")
	drain(l, keep, 150*time.Millisecond)
	if n := sweep(150 * time.Millisecond); n > fewKeys*len(l.many) {
		t.Errorf("%d buckets are left, want hardly any", n)
	}
	if n := drain(l, keep, 150*time.Millisecond); n != 0 {
		t.Errorf("the bucket that was empty has %d tokens", n)
	}
}

// A limit that the next document has too goes on; another rate is another limit.
func TestPlansKeepBuckets(t *testing.T) {
	s := NewSet(nil)
	spec := Spec{Place: Place{Service: "web"}, Rate: Rate{1, time.Hour}, Burst: 5, By: "client"}
	p := s.Plan()
	first := p.Limit(spec)
	if p.Limit(spec) != first {
		t.Error("one spec has two limits in one document")
	}
	p.Commit()
	drain(first, 1, 0)
	first.Refuse()

	s.Plan().Limit(Spec{Rate: Rate{1, time.Hour}, Burst: 5}) // a document that is refused
	if s.table.Load().byID[first.id] != first {
		t.Error("a plan that was not committed has an effect")
	}
	p = s.Plan()
	other := spec
	other.Rate.Count = 2
	second, changed := p.Limit(spec), p.Limit(other)
	p.Commit()
	if second != first || drain(second, 1, 0) != 0 {
		t.Error("the limit has not gone on")
	}
	if changed == first || drain(changed, 1, 0) != 5 {
		t.Error("another rate is not another limit")
	}
	if n := s.table.Load().places[spec.Place].Load(); n != 1 {
		t.Errorf("%d refused requests are counted, want 1 as before", n)
	}
}

func TestClientKeys(t *testing.T) {
	h := NewHasher([]byte("secret"))
	key := func(a string) uint64 { return h.Client(netip.MustParseAddr(a)) }
	if key("2001:db8::1") != key("2001:db8::ffff:2") || key("2001:db8:0:1::1") == key("2001:db8::1") {
		t.Error("IPv6 clients do not count by their /64")
	}
	if key("::ffff:10.0.0.1") != key("10.0.0.1") || key("10.0.0.1") == key("10.0.0.2") {
		t.Error("IPv4 clients do not count by their address")
	}
	if h.Client(netip.Addr{}) == 0 || NewHasher([]byte("other")).Client(netip.MustParseAddr("10.0.0.1")) == key("10.0.0.1") {
		t.Error("keys do not depend on the secret")
	}
}

func BenchmarkTake(b *testing.B) {
	for _, c := range []struct {
		name  string
		whole bool
		keys  uint64
	}{{"route", true, 1}, {"one client", false, 1}, {"10000 clients", false, 10_000}} {
		b.Run(c.name, func(b *testing.B) {
			s, l := limitOf(b, "1000000/s", 1_000_000, c.whole)
			keys := make([]uint64, c.keys)
			for i := range keys {
				keys[i] = s.Text(fmt.Sprint(i))
			}
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := rand.Uint64N(c.keys); pb.Next(); i++ {
					l.Take(keys[i%c.keys], time.Duration(i))
				}
			})
		})
	}
}
