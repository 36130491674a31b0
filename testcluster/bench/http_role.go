//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/node/cli"
	"tripod/testcluster/bench/origin"
)

// roleVariable makes this binary one of the children of bench http.
const roleVariable = "BENCH_ROLE"

// role is what a child does, with its arguments.
type role string

const (
	roleTripod role = "tripod"
	roleOrigin role = "origin"
	roleHolder role = "holder"
)

// command is a child in this role, not started. It gets none of the settings that this process may have for tripod.
func (r role) command(args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "TRIPOD_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, roleVariable+"="+string(r))
	return cmd, nil
}

// play plays the role to its end, and returns the exit code.
func (r role) play(args []string) int {
	var err error
	switch r {
	case roleTripod:
		if file := os.Getenv(profileVariable); file != "" {
			go writeProfile(file)
		}
		prometheus.MustRegister(pauses{})
		return cli.Main(args, os.Stdin, os.Stdout, os.Stderr)
	case roleOrigin:
		err = playOrigin(args)
	case roleHolder:
		err = playHolder(os.Stdin, os.Stdout)
	default:
		err = fmt.Errorf("no role %q", r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

// playOrigin is a web server on the address in args. One thread is enough for it, and leaves more to the others.
func playOrigin(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("an origin needs an address, has %q", args)
	}
	runtime.GOMAXPROCS(1)
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	return origin.Serve(l)
}
