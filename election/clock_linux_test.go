package election

import (
	"testing"
	"time"
)

// The clock never goes back, and goes on as fast as any other.
func TestSystemClock(t *testing.T) {
	clock := systemClock()
	began, start := time.Now(), clock()
	last := start
	for range 100_000 {
		now := clock()
		if now < last {
			t.Fatalf("went back by %s", last-now)
		}
		last = now
	}
	ran, took := last-start, time.Since(began)
	if ran > took+took/10+time.Millisecond || ran < took-took/10-time.Millisecond {
		t.Errorf("went on by %s in %s", ran, took)
	}
}

func BenchmarkSystemClock(b *testing.B) {
	clock := systemClock()
	for b.Loop() {
		clock()
	}
}
