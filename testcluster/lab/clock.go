//go:build linux

package lab

import (
	"fmt"
	"time"
)

// Moment is a time on the clock that tripod's own events use (election.Clock): since the machine started, the same
// for all processes, never set.
type Moment time.Duration

// Sub is the time from other to m.
func (m Moment) Sub(other Moment) time.Duration { return time.Duration(m - other) }

// Add is the moment that much later.
func (m Moment) Add(d time.Duration) Moment { return m + Moment(d) }

// String gives seconds.
func (m Moment) String() string { return fmt.Sprintf("%.4f", time.Duration(m).Seconds()) }
