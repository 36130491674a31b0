//go:build linux

package lab

import (
	"testing"
	"time"
)

// A pool's connections live while nothing happens, and each way of ending is told apart.
func TestPool(t *testing.T) {
	l := startFakes(t, 3)
	var pools []*Pool
	for i, protocol := range []Protocol{HTTP, TCP, HTTP} {
		pools = append(pools, l.Pool(l.Node(i).IP4.String(), 100, 200*time.Millisecond, protocol))
	}
	ticked := func(p *Pool, name string) error {
		if tally := p.Tally(); tally.Open != 100 || tally.By[name] < 300 {
			return errNotYet
		}
		return nil
	}
	l.Wait("ticks", func() error { return ticked(pools[0], "n1") })
	l.Wait("ticks", func() error { return ticked(pools[1], "n2") })

	l.Node(0).Kill() // its kernel resets, or ends, what the process had open
	l.Wait("the end of a dead node's connections", func() error {
		if tally := pools[0].Tally(); tally.Open != 0 || tally.Reset+tally.Closed != 100 {
			return errNotYet
		}
		return nil
	})
	l.Node(1).Kill()
	l.Node(1).Restart()
	for i, p := range pools {
		tally := p.Close()
		if sum := tally.Open + tally.Reset + tally.Closed + tally.Silent; sum != 100 || i == 2 && tally.Open != 100 {
			t.Errorf("pool %d: %s", i, tally)
		}
	}
}
