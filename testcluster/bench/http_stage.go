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
	"strings"

	"tripod/testcluster/bench/peer"
)

// stage is where the proxies are measured: their addresses, files and servers.
type stage struct {
	*httpOptions
	out     io.Writer
	claim   net.Listener // keeps the block of addresses
	setup   *peer.Setup
	origins []*peer.Peer
	peers   []*peer.Peer // those that run now, tripod first
	table   table
	others  others
	peak    float64 // of HAProxy in the row h1, requests a second; zero until it is known
}

func openStage(ctx context.Context, o *httpOptions, out io.Writer) (_ *stage, err error) {
	s := &stage{httpOptions: o, out: out}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
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
	s.stopPeers()
	for _, p := range s.origins {
		p.Stop()
	}
	if s.claim != nil {
		s.claim.Close()
	}
	if s.setup != nil {
		os.RemoveAll(s.setup.Folder)
	}
}

// play measures the rows that are wanted.
func (s *stage) play(ctx context.Context) error {
	for _, name := range s.httpOptions.peers {
		if err := peer.Installed(name); errors.As(err, new(*peer.MissingError)) {
			fmt.Fprintln(s.out, err)
		} else if err != nil {
			return err
		}
	}
	for _, rows := range []func(context.Context) error{s.loads, s.latency, s.idle, s.routes, s.collector} {
		err := rows(ctx)
		s.stopPeers()
		if err != nil {
			return err
		}
	}
	return nil
}

// begin tells who waits what is being measured.
func (s *stage) begin(row string) {
	fmt.Fprintf(os.Stderr, "measuring %s\n", row)
}

// startPeers starts all proxies that are wanted and installed, unless they run.
func (s *stage) startPeers(ctx context.Context) error {
	if len(s.peers) > 0 {
		return nil
	}
	for _, name := range append([]string{"tripod"}, s.httpOptions.peers...) {
		if err := s.startPeer(ctx, name); err != nil && !errors.As(err, new(*peer.MissingError)) {
			return err
		}
	}
	return nil
}

// startPeer starts one more.
func (s *stage) startPeer(ctx context.Context, name string) error {
	if name != "tripod" {
		p, err := peer.Start(ctx, s.setup, name)
		if err == nil {
			s.peers = append(s.peers, p)
		}
		return err
	}
	return s.startTripod(ctx, peer.Tripod{})
}

// startTripod starts a cluster of tripods.
func (s *stage) startTripod(ctx context.Context, t peer.Tripod) error {
	t.Role = func(args ...string) (*exec.Cmd, error) {
		cmd, err := roleTripod.command(args...)
		if err == nil && s.profile != "" {
			cmd.Env = append(cmd.Env, profileVariable+"="+s.profile)
		}
		return cmd, err
	}
	nodes, err := peer.StartTripod(ctx, s.setup, t)
	s.peers = append(s.peers, nodes...)
	return err
}

func (s *stage) stopPeers() {
	for _, p := range s.peers {
		p.Stop()
	}
	s.peers = nil
}

// servers are the origins as a document has them.
func (s *stage) servers() string { return strings.Join(s.setup.Origins, ", ") }
