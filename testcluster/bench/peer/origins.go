//go:build linux

package peer

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	// originCount servers have a thread each, so that they are no narrower than the proxies.
	originCount = 2
	originLast  = 11
	originPort  = "9000"
)

// StartOrigins starts the servers behind the proxies, which command runs, each with an address to listen on, and puts
// them into the setup.
func StartOrigins(ctx context.Context, s *Setup, command func(address string) (*exec.Cmd, error)) ([]*Peer, error) {
	var all []*Peer
	fail := func(err error) ([]*Peer, error) {
		for _, p := range all {
			p.Stop()
		}
		return nil, fmt.Errorf("start a server: %w", err)
	}
	for i := range originCount {
		address := net.JoinHostPort(s.Address(originLast+i), originPort)
		cmd, err := command(address)
		if err != nil {
			return fail(err)
		}
		process, err := start(cmd, filepath.Join(s.Folder, "origin"+strconv.Itoa(i)), syscall.SIGKILL)
		if err != nil {
			return fail(err)
		}
		p := &Peer{Name: "origin", Plain: address, process: process}
		all, s.Origins = append(all, p), append(s.Origins, address)
		if err := p.until(ctx, func() error { return get("http://" + address + "/") }); err != nil {
			return fail(fmt.Errorf("%w; it said:\n%s", err, process.tail()))
		}
	}
	return all, nil
}
