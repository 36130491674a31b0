//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"

	"tripod/testcluster/bench/outage"
)

// roleServer is a server that fails when it is told to.
const roleServer role = "server"

// failing measures proxies before servers that fail, and prints the table.
func failing(ctx context.Context, args []string, out io.Writer) error {
	claim, address, err := claimBlock()
	if err != nil {
		return err
	}
	defer claim.Close()
	return outage.Run(ctx, args, outage.Stage{
		Address: address,
		Tripod:  func(args ...string) (*exec.Cmd, error) { return roleTripod.command(args...) },
		Server:  func(args ...string) (*exec.Cmd, error) { return roleServer.command(args...) },
	}, out)
}

// playServer is the server's part, in its process.
func playServer(args []string) int {
	err := fmt.Errorf("a server needs an address, has %q", args)
	if len(args) == 1 {
		err = outage.Serve(args[0], os.Stdin, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}
