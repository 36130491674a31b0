//go:build linux

package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"tripod/testcluster/bench/peer"
)

// quiet is how much of the processors others may take before the figures are worth a warning.
const quiet = 0.05

// others watches what processes that have nothing to do with a measurement take of the processors: what a request costs
// is worse then, since caches are shared, and how long it takes is worth little.
type others struct {
	at        time.Time
	busy, own time.Duration
	share     []float64 // of each time that was watched
}

// begin begins a time.
func (o *others) begin() error {
	var err error
	if o.busy, err = peer.Busy(); err != nil {
		return err
	}
	o.own, err = peer.Own()
	o.at = time.Now()
	return err
}

// end ends it.
func (o *others) end() error {
	busy, err := peer.Busy()
	if err != nil {
		return err
	}
	own, err := peer.Own()
	if err != nil {
		return err
	}
	took := time.Since(o.at) * time.Duration(runtime.NumCPU())
	o.share = append(o.share, float64((busy-o.busy)-(own-o.own))/float64(took))
	return nil
}

// warning is about the times so far, which are forgotten; empty if others took next to nothing.
func (o *others) warning(row string) string {
	if len(o.share) == 0 {
		return ""
	}
	slices.Sort(o.share)
	median, most := o.share[len(o.share)/2], o.share[len(o.share)-1]
	o.share = nil
	if most <= quiet {
		return ""
	}
	return fmt.Sprintf("row %s: other processes took %.0f %% of the processors meanwhile, at most %.0f %%: try again when they are quiet\n",
		row, max(median, 0)*100, most*100)
}
