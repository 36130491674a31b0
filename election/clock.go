package election

import "time"

// Clock is the clock that a Holder uses by default: the time since the machine started, the same for all its
// processes, counting the time that it sleeps and never slewed, where there is such a clock.
func Clock() func() time.Duration { return systemClock() }
