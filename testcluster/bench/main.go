//go:build linux

// Command bench measures what tripod promises, on real processes, and prints tables that anybody can make again:
//
//	go run ./testcluster/bench failover [-rounds 20] [-case killed] [-connections 1000] [-peers=false]
//	go run ./testcluster/bench calm [-for 10m]
//	go run ./testcluster/bench balance [-rounds 51]
//	go run ./testcluster/bench http [-rounds 5] [-for 5s] [-row h1,tls] [-peers haproxy,nginx,caddy] [-profile FILE]
//	go run ./testcluster/bench faults [-rounds 3] [-for 3s] [-faults crash,hang]
//
// Failover and calm need root, for the network namespaces of package lab. Failover does every fault and every planned move
// to the holder of a VIP, again and again; where keepalived is installed, it is measured beside tripod, in the same lab and
// with the same faults. Calm does nothing but load the proxies, and counts failovers that had no cause.
//
// Balance measures what it costs to choose one of many servers, in this process.
//
// Http measures the proxy beside HAProxy, nginx and Caddy, as far as they are installed, on loopback addresses and without
// root: what a request costs them, and how long it takes.
//
// Faults puts tripod and HAProxy, if it is installed, before servers that fail in all sorts of ways, and counts what clients see of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
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
	// Http and faults run it in the roles of all their children.
	if r := role(os.Getenv(roleVariable)); r == roleServer {
		os.Exit(playServer(os.Args[1:]))
	} else if r != "" {
		os.Exit(r.play(os.Args[1:]))
	}
	// As root it may have more connections than the machine's default; otherwise the lab will say so.
	most := syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}
	_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &most)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	measure := map[string]func(context.Context, []string, io.Writer) error{"failover": failover, "calm": calm, "http": proxies, "balance": picking, "faults": failing}
	if len(os.Args) < 2 || measure[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: bench failover|calm|http|balance|faults [-help]")
		os.Exit(2)
	}
	if err := measure[os.Args[1]](ctx, os.Args[2:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
