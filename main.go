// Command tripod is a highly available load balancer in one binary: start it on three machines with the
// same flags, and they form a cluster that proxies traffic, terminates TLS and moves virtual IP addresses.
package main

import (
	"os"

	"tripod/node/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
