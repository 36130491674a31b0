//go:build linux

package main

import (
	"context"
	"errors"
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
	// against are the peers whose best tripod is compared with, and promised is the largest ratio to it.
	against  []string
	promised float64
	// figure is what is compared.
	figure func(sample) time.Duration
}

// sample is what one proxy did in one round.
type sample struct {
	rate     float64 // requests a second
	cpu      time.Duration
	p50, p99 time.Duration
}

func (s sample) work() time.Duration { return s.cpu }
func (s sample) tail() time.Duration { return s.p99 }

var theBetter = []string{"haproxy", "nginx"}

func smallPlan() client.Plan {
	return client.Plan{Target: client.Target{Path: "/small", Body: origin.Small()}, Connections: 64}
}

// loadRows are the rows that load one proxy as much as it can bear.
func loadRows() []row {
	streams, handshakes := smallPlan(), smallPlan()
	streams.Connections, streams.Streams = 20, 20
	handshakes.Connections = 16
	large := client.Plan{Target: client.Target{Path: "/1m", Body: origin.Large()}, Connections: 16}
	rows := []row{
		{name: "h1", title: "HTTP/1.1, 100 bytes, 64 connections", drive: client.HTTP1, plan: smallPlan(), against: theBetter, promised: 1},
		{name: "tls", title: "the same over TLS 1.3", drive: client.HTTP1, plan: smallPlan(), secure: true, against: theBetter, promised: 0.95},
		{name: "h2", title: "HTTP/2 over TLS, 20 × 20 streams", drive: client.HTTP2, plan: streams, secure: true, against: []string{"haproxy"}, promised: 1.5},
		{name: "1m", title: "HTTP/1.1, 1 MB, 16 connections", drive: client.HTTP1, plan: large, against: theBetter, promised: 1.1},
		{name: "1mtls", title: "the same over TLS 1.3", drive: client.HTTP1, plan: large, secure: true, against: theBetter, promised: 1.1},
		{name: "handshake", title: "TLS 1.3 handshake and a request", drive: client.Handshakes, plan: handshakes, secure: true, against: []string{"haproxy"}, promised: 0.8},
	}
	for i := range rows {
		rows[i].figure = sample.work
	}
	return rows
}

// loads measures those rows.
func (s *stage) loads(ctx context.Context) error {
	for _, r := range loadRows() {
		if !s.wants(r.name) {
			continue
		}
		if err := s.startPeers(ctx); err != nil {
			return err
		}
		medians, err := s.inTurn(ctx, &r, s.peers)
		if err != nil {
			return err
		}
		s.table.compare(&r, s.peers, medians)
		if i := slices.IndexFunc(s.peers, isHAProxy); i >= 0 && r.name == "h1" {
			s.peak = medians[i].rate
		}
	}
	return nil
}

func isHAProxy(p *peer.Peer) bool { return p.Name == "haproxy" }

// inTurn measures all proxies, round after round, and returns the medians of each.
func (s *stage) inTurn(ctx context.Context, r *row, peers []*peer.Peer) ([]sample, error) {
	s.begin(r.name)
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
	fmt.Fprint(s.out, s.others.warning(r.name))
	return medians, s.endProfile(ctx)
}

// measure measures a proxy once.
func (s *stage) measure(ctx context.Context, r *row, p *peer.Peer) (sample, error) {
	plan := r.plan
	plan.Address = p.Plain
	if r.secure {
		plan.Address, plan.Certificate = p.Secure, s.setup.DER
	}
	if plan.Hosts == nil {
		plan.Hosts = []string{peer.Host}
	}
	plan.For, plan.Warm = s.length, min(s.length/4, time.Second)
	var spent []time.Duration
	var failed error
	plan.Mark = func() {
		var watched, profiled error
		if len(spent) == 0 {
			watched, profiled = s.others.begin(), s.beginProfile(p)
		} else {
			watched = s.others.end()
		}
		cpu, err := p.CPU()
		failed = errors.Join(failed, watched, profiled, err)
		spent = append(spent, cpu)
	}
	result, err := r.drive(ctx, plan)
	if ctx.Err() != nil {
		return sample{}, context.Cause(ctx)
	}
	if err == nil {
		err = failed
	}
	if err == nil && result.Requests == 0 {
		err = client.ErrSilent
	}
	if ended := p.Running(); ended != nil {
		err = ended
	}
	if err != nil {
		return sample{}, fmt.Errorf("row %s, %s: %w", r.name, p.Name, err)
	}
	return sample{
		rate: float64(result.Requests) / result.Took.Seconds(),
		cpu:  (spent[1] - spent[0]) / time.Duration(result.Requests),
		p50:  result.Latency.Quantile(0.5),
		p99:  result.Latency.Quantile(0.99),
	}, nil
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
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}
