//go:build linux

package outage

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	pulseEvery = 5 * time.Millisecond
	// mostLate is by how much this process may be late in a round: half of the time that a check may take. A machine that stands still
	// for longer lets checks and requests fail at servers that are well.
	mostLate = 250 * time.Millisecond
	// mostDisturbed is how often a round is played for that.
	mostDisturbed = 5
)

// pulse notices when the machine stands still for this process.
type pulse struct{ late atomic.Int64 }

// run beats until ctx ends.
func (p *pulse) run(ctx context.Context) {
	every := time.NewTicker(pulseEvery)
	defer every.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		now := time.Now()
		p.late.Store(max(p.late.Load(), int64(now.Sub(last)-pulseEvery)))
		last = now
	}
}

// latest is by how much it was late at most.
func (p *pulse) latest() time.Duration { return time.Duration(p.late.Load()) }
