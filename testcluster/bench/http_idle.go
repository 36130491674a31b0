//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"tripod/testcluster/bench/client"
	"tripod/testcluster/bench/peer"
)

const (
	// manyIdle connections are what the promise is about.
	manyIdle = 10000
	// settled is how long the proxies have, with all connections idle, to give back what they do not need.
	settled = 5 * time.Second
)

// idle measures the row idle: each proxy alone, and fresh, so that no memory is left from other work.
func (s *stage) idle(ctx context.Context) error {
	if !s.wants("idle") {
		return nil
	}
	s.begin("idle")
	n, err := idleConnections()
	if err != nil {
		return err
	}
	for _, secure := range []bool{false, true} {
		l := line{row: "idle", title: fmt.Sprintf("memory of each of %d, plain", n)}
		promised := 10.0
		if secure {
			l, promised = line{title: "the same over TLS 1.3"}, 28
		}
		for _, name := range append([]string{"tripod"}, s.httpOptions.peers...) {
			err := s.startPeer(ctx, name)
			if errors.As(err, new(*peer.MissingError)) {
				continue
			}
			var bytes float64
			if err == nil {
				bytes, err = s.holdIdle(ctx, s.peers[0], secure, n)
			}
			s.stopPeers()
			if err != nil {
				return fmt.Errorf("row idle, %s: %w", name, err)
			}
			l.proxy, l.figure = name, fmt.Sprintf("%.1f KB", bytes/1024)
			if name == "tripod" {
				l.promised, l.verdict = fmt.Sprintf("≤ %.0f KB", promised), verdict(bytes/1024, promised)
			}
			s.table.lines = append(s.table.lines, l)
			l = line{}
		}
	}
	return nil
}

// idleConnections is how many fit: with tripod they may be 40 % of the files that it may have open, and HAProxy, which
// reckons with pipes too, allows a few less.
func idleConnections() (int, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return 0, fmt.Errorf("limit of open files: %w", err)
	}
	if files.Max < 1024 {
		return 0, fmt.Errorf("a limit of %d open files is too low", files.Max)
	}
	return int(min(files.Max*3/8, manyIdle)), nil
}

// holdIdle is how many bytes of memory each of so many idle connections takes.
func (s *stage) holdIdle(ctx context.Context, p *peer.Peer, secure bool, n int) (float64, error) {
	plan := smallPlan()
	plan.Hosts, plan.Address, plan.For = []string{peer.Host}, p.Plain, time.Second
	if secure {
		plan.Address, plan.Certificate = p.Secure, s.setup.DER
	}
	// What every connection needs once is not theirs.
	if _, err := client.HTTP1(ctx, plan); err != nil {
		return 0, err
	}
	if err := sleep(ctx, settled); err != nil {
		return 0, err
	}
	before, err := p.Resident()
	if err != nil {
		return 0, err
	}
	h, err := startHolder(ctx, holding{Target: plan.Target, Connections: n})
	if err != nil {
		return 0, err
	}
	defer h.end()
	if err := h.expect("open"); err != nil {
		return 0, err
	}
	if err := sleep(ctx, settled); err != nil {
		return 0, err
	}
	after, err := p.Resident()
	if err != nil {
		return 0, err
	}
	if err := h.ask(); err != nil {
		return 0, err
	}
	return float64(after-before) / float64(n), nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
