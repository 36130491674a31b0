//go:build linux

package outage

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	serverCount = 3
	serverPort  = "9000"
	// firstServer and perKind number the servers' addresses.
	firstServer, perKind = 101, 10
	// pollEvery is how often a proxy is asked for the bad server's state.
	pollEvery = 10 * time.Millisecond
	// before is the time of the load without a fault, and after that which is watched when the server is back.
	before, after = time.Second, time.Second
	// patience is how long the server may take to get requests again.
	patience = 20 * time.Second
)

// trial is a proxy in a round.
type trial struct {
	kind    *kind
	fault   *fault
	length  time.Duration
	servers []*backend
	bad     *backend
	proxy   proxy
	load    *load
	// waiting are the round's trials whose servers are not back, and all is closed when there are none.
	waiting *atomic.Int32
	all     chan struct{}

	// begun and broken are before and after the fault was done, mended after the server was made well.
	begun, broken, mended time.Time
	out                   time.Duration // until the proxy took the server out; never if it did not
}

// open starts the servers and the proxy. What it has started close ends, whether it fails or not.
func (t *trial) open(ctx context.Context, stage Stage, folder string) error {
	var addresses []string
	for i := range serverCount {
		b := newBackend(net.JoinHostPort(stage.Address(firstServer+perKind*t.kind.last+i), serverPort), stage.Server)
		t.servers, addresses = append(t.servers, b), append(addresses, b.address)
		if err := b.start(); err != nil {
			return err
		}
	}
	t.bad = t.servers[serverCount-1]
	var err error
	if t.proxy, err = t.kind.start(ctx, stage, t.kind, addresses, folder); err != nil {
		return err
	}
	t.load = newLoad(t.proxy.address(), t.fault.large)
	return t.until(ctx, startTime, "all servers are up", func() (bool, error) {
		for _, a := range addresses {
			if up, err := t.proxy.up(ctx, a); err != nil || !up {
				return false, err
			}
		}
		return true, nil
	})
}

func (t *trial) close() {
	if t.proxy != nil {
		t.proxy.stop()
	}
	for _, b := range t.servers {
		_ = b.kill()
	}
}

// run lets the server fail and come back, under load.
func (t *trial) run(ctx context.Context) error {
	loading, end := context.WithCancel(ctx)
	var work sync.WaitGroup
	defer work.Wait()
	defer end()
	work.Go(func() { t.load.run(loading) })
	if err := pause(ctx, before); err != nil {
		return err
	}
	if t.bad.count() == 0 {
		return fmt.Errorf("the bad server got nothing in %s of load", before)
	}
	t.begun = time.Now()
	if err := t.fault.begin(t.bad); err != nil {
		return err
	}
	t.broken = time.Now()
	if err := t.watch(ctx); err != nil {
		return err
	}
	if err := t.fault.end(t.bad); err != nil {
		return err
	}
	t.mended = time.Now()
	err := t.until(ctx, patience, "", func() (bool, error) { return t.back() != never, nil })
	if err != nil {
		return err
	}
	// The load of all goes on until the last is done, so that the same number of requests counts.
	if t.waiting.Add(-1) == 0 {
		close(t.all)
	}
	select {
	case <-t.all:
		return pause(ctx, after)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// watch waits until the fault has lasted as long as it is to, and notes when the proxy took the server out.
func (t *trial) watch(ctx context.Context) error {
	t.out = never
	for time.Since(t.begun) < t.length {
		up, err := t.proxy.up(ctx, t.bad.address)
		if err != nil {
			return err
		}
		if !up && t.out == never {
			t.out = time.Since(t.begun)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
	return nil
}

// back is how long it took until the server saw a request that was sent after it was made well, or never: one that was stopped sees those first
// that had been sent to it meanwhile.
func (t *trial) back() time.Duration {
	first := never
	for _, r := range t.load.over() {
		if r.asked.Before(t.mended) {
			continue
		}
		for _, at := range t.bad.times(r.number) {
			first = min(first, at.Sub(t.mended))
		}
	}
	return first
}

// until polls a condition. With nothing to say of it, it is no error that it does not come.
func (t *trial) until(ctx context.Context, most time.Duration, what string, met func() (bool, error)) error {
	for began := time.Now(); ; {
		if ok, err := met(); err != nil || ok {
			return err
		}
		if time.Since(began) > most {
			if what == "" {
				return nil
			}
			return fmt.Errorf("not within %s: %s", most, what)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
