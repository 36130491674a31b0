//go:build !race

package rate

import (
	"testing"
	"time"
)

// The race detector allocates.

// A request of a key that is known costs the heap nothing, whether it is let through or not.
func TestTakeDoesNotAllocate(t *testing.T) {
	kinds(t, func(t *testing.T, whole bool) {
		s, l := limitOf(t, "100/s", 100, whole)
		key, now := s.Text("known"), time.Duration(0)
		l.Take(key, now)
		let, refused := 0, 0
		if n := testing.AllocsPerRun(1000, func() {
			now += time.Millisecond
			if _, ok := l.Take(s.Text("known"), now); ok {
				let++
			} else {
				refused++
			}
		}); n > 0 {
			t.Errorf("%v allocations for each request", n)
		}
		if let == 0 || refused == 0 {
			t.Errorf("%d were let through and %d refused, want both", let, refused)
		}
	})
}
