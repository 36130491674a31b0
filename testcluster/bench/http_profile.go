//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"

	"tripod/testcluster/bench/peer"
)

// profileVariable is the file for the processor profile of a tripod: SIGUSR1 starts it, SIGUSR2 ends it.
const profileVariable = "BENCH_PROFILE"

// beginProfile starts the profile, if one is wanted and this is tripod. A second time changes nothing.
func (s *stage) beginProfile(p *peer.Peer) error {
	if s.profile == "" || p.Name != "tripod" {
		return nil
	}
	return p.Signal(syscall.SIGUSR1)
}

// endProfile ends the profile, if there is one, and returns when its file is complete.
func (s *stage) endProfile(ctx context.Context) error {
	if s.profile == "" {
		return nil
	}
	if err := s.peers[0].Signal(syscall.SIGUSR2); err != nil {
		return err
	}
	for range 100 {
		if _, err := os.Stat(s.profile); err == nil {
			fmt.Fprintf(s.out, "go tool pprof %s\n", s.profile)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.New("tripod wrote no profile")
}

// writeProfile is tripod's part of it, in its process. The file has its name when it is complete.
func writeProfile(file string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	if err := profileBetween(signals, file); err != nil {
		fmt.Fprintln(os.Stderr, "bench: profile:", err)
	}
}

func profileBetween(signals <-chan os.Signal, file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.Create(file + ".part")
	if err != nil {
		return err
	}
	defer f.Close()
	for running := false; ; {
		switch s := <-signals; {
		case s == syscall.SIGUSR1 && !running:
			if err := pprof.StartCPUProfile(f); err != nil {
				return err
			}
			running = true
		case s == syscall.SIGUSR2 && running:
			pprof.StopCPUProfile()
			if err := f.Close(); err != nil {
				return err
			}
			return os.Rename(f.Name(), file)
		}
	}
}
