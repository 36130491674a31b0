package election

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// suspendGrain is the least growth of the time asleep that is believed: reading two clocks one after the
// other makes their difference tremble by less.
const suspendGrain = time.Millisecond

// systemClock is the default Clock: CLOCK_MONOTONIC_RAW plus the time that the machine was suspended.
//
// The raw clock is the only one that is not slewed (clock_gettime(2)): chrony may bend CLOCK_MONOTONIC and
// CLOCK_BOOTTIME by 8.3 % while it corrects the time of day (chrony.conf(5), maxslewrate), more than the margin
// for clock rates. It stands still in a suspended machine, while others' waits run out; CLOCK_BOOTTIME less
// CLOCK_MONOTONIC is just the time asleep. All processes of a machine read the same, within suspendGrain.
func systemClock() func() time.Duration {
	var asleep atomic.Int64
	return func() time.Duration {
		// In this order the trembling makes the difference too small, never too large.
		boot := readClock(unix.CLOCK_BOOTTIME)
		slept := boot - readClock(unix.CLOCK_MONOTONIC)
		if known := asleep.Load(); slept > time.Duration(known)+suspendGrain {
			asleep.CompareAndSwap(known, int64(slept))
		}
		return readClock(unix.CLOCK_MONOTONIC_RAW) + time.Duration(asleep.Load())
	}
}

func readClock(id int32) time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(id, &now); err != nil {
		// Linux has had all three since 2.6.39; without any clock there is no holding safely.
		panic("election: the clock cannot be read: " + err.Error())
	}
	return time.Duration(now.Nano())
}
