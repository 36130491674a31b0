//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"tripod/testcluster/bench/peer"
)

// stage is where the proxies are measured: their addresses, files and servers.
type stage struct {
	*versus
	out     io.Writer
	claim   net.Listener // keeps the block of addresses
	setup   *peer.Setup
	origins []*peer.Peer
	peers   []*peer.Peer // those of the rows that load one at a time
	table   table
}

func openStage(ctx context.Context, v *versus, out io.Writer) (_ *stage, err error) {
	s := &stage{versus: v, out: out}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if v.profile, err = absolute(v.profile); err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	s.setup = &peer.Setup{Folder: folder}
	if s.setup.Certificate, err = peer.NewCertificate(folder); err != nil {
		return nil, err
	}
	if s.claim, s.setup.Address, err = claimBlock(); err != nil {
		return nil, err
	}
	s.origins, err = peer.StartOrigins(ctx, s.setup, func(address string) (*exec.Cmd, error) { return roleOrigin.command(address) })
	return s, err
}

func absolute(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	return filepath.Abs(file)
}

// claimBlock finds 256 loopback addresses that no other bench uses; the listener keeps them.
func claimBlock() (net.Listener, func(int) string, error) {
	for third := 81; third < 100; third++ {
		address := func(last int) string { return fmt.Sprintf("127.0.%d.%d", third, last) }
		if l, err := net.Listen("tcp", net.JoinHostPort(address(254), "2381")); err == nil {
			return l, address, nil
		}
	}
	return nil, nil, errors.New("no free block of loopback addresses")
}

// close ends all that was started.
func (s *stage) close() {
	for _, p := range append(s.peers, s.origins...) {
		p.Stop()
	}
	if s.claim != nil {
		s.claim.Close()
	}
	if s.setup != nil {
		os.RemoveAll(s.setup.Folder)
	}
}

// startTripod starts a tripod, with a profile if one is wanted.
func (s *stage) startTripod(ctx context.Context, t peer.Tripod) ([]*peer.Peer, error) {
	t.Role = func(args ...string) (*exec.Cmd, error) {
		cmd, err := roleTripod.command(args...)
		if err == nil && s.profile != "" {
			cmd.Env = append(cmd.Env, profileVariable+"="+s.profile)
		}
		return cmd, err
	}
	return peer.StartTripod(ctx, s.setup, t)
}
