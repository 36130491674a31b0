package lock

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// Options are how a lock is wanted. The zero value waits for an exclusive lock.
type Options struct {
	// Shared lets others hold too who share.
	Shared bool
	// Permits makes the lock a semaphore: so many may hold it together, MaxPermits at most. All users of one name must give the same
	// number. 0 means none.
	Permits int
	// TTL is for how long at most a lock stays held after its holder has died, but for the half second that etcd takes to notice; from
	// MinTTL to MaxTTL, 0 means DefaultTTL. A shorter one than the store can keep is raised: see Lock.TTL.
	TTL time.Duration
	// Grace is how long before its right ends a holder is told by Lock.Lost that it is about to lose it; 0 means a quarter of the right. It
	// must be less than half of that.
	Grace time.Duration
	// Try gives up at once if the lock is not free, with ErrHeld.
	Try bool
	// Command is what the lock is for, told to those who wait.
	Command string
	// Waiting is told why the lock is waited for, whenever the reason changes, from the goroutine that called Acquire; nil is allowed.
	Waiting func(reason string)
}

// Bounds of Options.TTL.
const (
	DefaultTTL = 5 * time.Second
	MinTTL     = time.Second
	MaxTTL     = time.Hour
)

// Validate says all that is wrong.
func (o Options) Validate() error {
	var faults []error
	if o.TTL != 0 && (o.TTL < MinTTL || o.TTL > MaxTTL) {
		faults = append(faults, fmt.Errorf("ttl %s is not a time from %s to %s", o.TTL, MinTTL, MaxTTL))
	}
	if o.Permits < 0 || o.Permits > MaxPermits {
		faults = append(faults, fmt.Errorf("permits %d is not between 1 and %d", o.Permits, MaxPermits))
	}
	if o.Permits > 0 && o.Shared {
		faults = append(faults, errors.New("a lock is shared or has permits, not both: permits say how many may share it"))
	}
	if _, hold := split(cmp.Or(o.TTL, DefaultTTL), 0); o.Grace < 0 || o.Grace >= hold/2 {
		faults = append(faults, fmt.Errorf("grace %s is not less than %s, half of the time that a right lasts", o.Grace, hold/2))
	}
	return errors.Join(faults...)
}

// rateMargin: 1/20 is 5 %, as between the clocks of nodes that hold addresses; see package election.
const rateMargin = 20

// wait is how long others wait, by their own clocks, for a right that lasts so long by its holder's.
func wait(hold time.Duration) time.Duration { return hold + hold/rateMargin }

// shortestHold lets one missed renewal or two be no loss.
const shortestHold = 900 * time.Millisecond

// split divides a time between the lease, in seconds, after which a holder counts as dead, and the right of a holder, which the others then
// wait out. The store may have given a longer lease than was asked for; 0 means none yet.
func split(ttl time.Duration, given int64) (lease int64, hold time.Duration) {
	lease = max(int64(ttl*2/5/time.Second), 1, given)
	hold = (ttl - time.Duration(lease)*time.Second) * rateMargin / (rateMargin + 1)
	return lease, max(hold, shortestHold).Truncate(time.Millisecond)
}

func (o Options) mode() Mode {
	if o.Shared || o.Permits > 0 {
		return Shared
	}
	return Exclusive
}
