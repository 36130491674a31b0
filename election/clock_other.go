//go:build !linux

package election

import "time"

// systemClock is the default Clock: Go's monotonic time, counted from this call.
func systemClock() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
