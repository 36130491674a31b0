//go:build linux

package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tripod/testcluster/bench/client"
	"tripod/testcluster/bench/origin"
	"tripod/testcluster/bench/peer"
)

// row is a kind of work that each proxy does in turn.
type row struct {
	name, title string
	drive       func(context.Context, client.Plan) (client.Result, error)
	plan        client.Plan
	secure      bool
	// against are the peers whose best is what tripod's share is reckoned from, and promised the largest that it may be.
	against  []string
	promised float64
}

var theBetter = []string{"haproxy", "nginx"}

// loads are the rows that load one proxy as much as it can bear.
func loads() []row {
	small := client.Plan{Target: client.Target{Path: "/small", Body: origin.Small()}, Connections: 64}
	streams := small
	streams.Connections, streams.Streams = 20, 20
	large := client.Plan{Target: client.Target{Path: "/1m", Body: origin.Large()}, Connections: 16}
	handshakes := small
	handshakes.Connections = 16
	return []row{
		{name: "h1", title: "HTTP/1.1, 100 bytes, 64 connections", drive: client.HTTP1, plan: small, against: theBetter, promised: 1},
		{name: "tls", title: "the same over TLS 1.3", drive: client.HTTP1, plan: small, secure: true, against: theBetter, promised: 0.95},
		{name: "h2", title: "HTTP/2 over TLS, 20 connections of 20 streams", drive: client.HTTP2, plan: streams, secure: true, against: []string{"haproxy"}, promised: 1.5},
		{name: "1m", title: "1 MB answers, 16 connections", drive: client.HTTP1, plan: large, against: theBetter, promised: 1.1},
		{name: "1mtls", title: "the same over TLS 1.3", drive: client.HTTP1, plan: large, secure: true, against: theBetter, promised: 1.1},
		{name: "handshake", title: "TLS 1.3 handshake and one request", drive: client.Handshakes, plan: handshakes, secure: true, against: []string{"haproxy"}, promised: 0.8},
	}
}

// sample is what one proxy did in one round.
type sample struct {
	rate     float64 // requests a second
	cpu      time.Duration
	p50, p99 time.Duration
}

// measure measures a proxy once.
func (s *stage) measure(ctx context.Context, r *row, p *peer.Peer) (sample, error) {
	plan := r.plan
	plan.Address, plan.Certificate = p.Plain, nil
	if r.secure {
		plan.Address, plan.Certificate = p.Secure, s.setup.DER
	}
	if plan.Hosts == nil {
		plan.Hosts = []string{peer.Host}
	}
	plan.For, plan.Warm = s.length, min(s.length/4, time.Second)
	var marks []time.Duration
	var failed error
	plan.Mark = func() {
		spent, err := p.CPU()
		if err != nil {
			failed = err
		}
		marks = append(marks, spent)
	}
	result, err := r.drive(ctx, plan)
	if ctx.Err() != nil {
		return sample{}, context.Cause(ctx)
	}
	if err == nil {
		err = failed
	}
	if ended := p.Running(); ended != nil {
		err = ended
	}
	if err == nil && result.Requests == 0 {
		err = client.ErrSilent
	}
	if err != nil {
		return sample{}, fmt.Errorf("row %s, %s: %w", r.name, p.Name, err)
	}
	return sample{
		rate: float64(result.Requests) / result.Took.Seconds(), cpu: (marks[1] - marks[0]) / time.Duration(result.Requests),
		p50: result.Latency.Quantile(0.5), p99: result.Latency.Quantile(0.99),
	}, nil
}

// inTurn measures all proxies, round after round, and returns the medians of each.
func (s *stage) inTurn(ctx context.Context, r *row, peers []*peer.Peer) ([]sample, error) {
	rounds := make([][]sample, len(peers))
	for range s.rounds {
		for i, p := range peers {
			one, err := s.measure(ctx, r, p)
			if err != nil {
				return nil, err
			}
			rounds[i] = append(rounds[i], one)
		}
	}
	var medians []sample
	for _, of := range rounds {
		medians = append(medians, middle(of))
	}
	return medians, nil
}

// middle is the median of each figure.
func middle(of []sample) sample {
	return sample{
		rate: median(of, func(s sample) float64 { return s.rate }),
		cpu:  median(of, func(s sample) time.Duration { return s.cpu }),
		p50:  median(of, func(s sample) time.Duration { return s.p50 }),
		p99:  median(of, func(s sample) time.Duration { return s.p99 }),
	}
}

func median[N float64 | time.Duration](of []sample, figure func(sample) N) N {
	var all []N
	for _, s := range of {
		all = append(all, figure(s))
	}
	slices.Sort(all)
	if n := len(all); n%2 == 0 {
		return (all[n/2-1] + all[n/2]) / 2
	}
	return all[len(all)/2]
}

// play measures the rows that are wanted, and prints the table.
func (s *stage) play(ctx context.Context) error {
	if err := s.startPeers(ctx); err != nil {
		return err
	}
	for _, r := range loads() {
		if !slices.Contains(s.rows, r.name) {
			continue
		}
		medians, err := s.inTurn(ctx, &r, s.peers)
		if err != nil {
			return err
		}
		s.table.add(&r, s.peers, medians)
	}
	return s.table.write(s.out)
}
