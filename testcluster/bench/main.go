//go:build linux

// Command bench measures what tripod promises, on real processes, and prints tables that anybody can make again:
//
//	go run ./testcluster/bench failover [-rounds 20] [-case killed]
//
// Failover needs root, for the network namespaces of package lab. Where keepalived is installed, it is measured
// beside tripod in the same lab, with the same faults.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tripod/node/cli"
	"tripod/testcluster"
)

func main() {
	// The lab runs this binary as the nodes' program.
	if testcluster.IsProgram() {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 || os.Args[1] != "failover" {
		fmt.Fprintln(os.Stderr, "usage: bench failover [-rounds N] [-case NAME]")
		os.Exit(2)
	}
	if err := failover(ctx, os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
