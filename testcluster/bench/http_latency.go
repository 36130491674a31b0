//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"

	"tripod/testcluster/bench/client"
)

// latency measures the row p99.
func (s *stage) latency(ctx context.Context) error {
	if !s.wants("p99") {
		return nil
	}
	if err := s.startPeers(ctx); err != nil {
		return err
	}
	if err := s.findPeak(ctx); err != nil || s.peak == 0 {
		return err
	}
	r := row{name: "p99", drive: client.HTTP1, plan: smallPlan(), against: []string{"haproxy"}, promised: 1.2, figure: sample.tail}
	r.plan.Rate = s.peak / 2
	r.title = fmt.Sprintf("%.0f requests a second", r.plan.Rate)
	medians, err := s.inTurn(ctx, &r, s.peers)
	if err != nil {
		return err
	}
	s.table.compare(&r, s.peers, medians)
	for i, m := range medians {
		if m.rate < 0.99*r.plan.Rate {
			fmt.Fprintf(s.out, "row p99: %s answered %.0f of %.0f requests a second\n", s.peers[i].Name, m.rate, r.plan.Rate)
		}
	}
	return nil
}

// findPeak finds out how many requests a second HAProxy answers, unless that is known from the row h1.
func (s *stage) findPeak(ctx context.Context) error {
	i := slices.IndexFunc(s.peers, isHAProxy)
	if i < 0 {
		fmt.Fprintln(s.out, "row p99 is left out: its rate is half of HAProxy's, which is not here")
		return nil
	}
	if s.peak > 0 {
		return nil
	}
	h1 := loadRows()[0]
	one, err := s.measure(ctx, &h1, s.peers[i])
	s.peak = one.rate
	s.others.share = nil // of another row
	return err
}
