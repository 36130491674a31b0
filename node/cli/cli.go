// Package cli is the command line of tripod: its grammar, and one file per command. A command's Run is short;
// the package that it calls does the work.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailed  = 1 // it did not work, or status found a problem
	exitUsage   = 2 // the command line is wrong
	exitPartial = 3 // config apply: stored, but some live node does not serve it
)

// grammar is the table of contents.
type grammar struct {
	Run        runCmd        `cmd:"" help:"Run a node. The same command on every machine, at every start."`
	Demo       demoCmd       `cmd:"" help:"Show a cluster of three on this machine, and what it does when nodes and servers die."`
	DemoServer demoServerCmd `cmd:"" hidden:""`
	Status     statusCmd     `cmd:"" help:"Show the cluster on one screen, problems first. Exits with 1 when there is one."`
	Config     configCmd     `cmd:"" help:"Check, apply and look up the document that all nodes serve."`
	Node       nodeCmd       `cmd:"" help:"List nodes, and drain one before work on it."`
	Server     serverCmd     `cmd:"" help:"List servers, drain one before work on it, and change its weight."`
	Register   registerCmd   `cmd:"" help:"Keep a server registered with a service, and run it: tripod register --service web --address 10.0.1.7:8080 -- ./myserver."`
	Lock       lockCmd       `cmd:"" help:"Run a command while holding a lock of the cluster: tripod lock nightly-report -- ./report."`
	LockGuard  lockGuardCmd  `cmd:"" hidden:""`
	VIP        vipCmd        `cmd:"" name:"vip" help:"List virtual IP addresses, and move one."`
	Cert       certCmd       `cmd:"" help:"List, add and remove certificates."`
	Secret     secretCmd     `cmd:"" help:"Make a cluster secret."`
	Env        envCmd        `cmd:"" help:"Print the environment for etcdctl: eval \"$(tripod env)\"."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// terminal is what a command reads and writes.
type terminal struct {
	in       io.Reader
	out, err io.Writer
}

// exitError ends a command with a code of its own. Its message may be empty: all has been said.
type exitError struct {
	code    int
	message string
}

func (e *exitError) Error() string { return e.message }

// Main runs the command line and returns the exit code.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	var g grammar
	parser, err := kong.New(&g,
		kong.Name("tripod"),
		kong.Description("A highly available load balancer in one binary: virtual IPs, TLS and proxying on every node,\nconfiguration shared through an embedded etcd. Every flag has an environment variable, TRIPOD_…"),
		kong.DefaultEnvars("TRIPOD"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 110}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
	)
	if err != nil {
		fmt.Fprintln(stderr, "tripod:", err)
		return exitFailed
	}
	// --help exits in the middle of parsing.
	defer func() {
		if r := recover(); r != nil {
			exit, ok := r.(exitCode)
			if !ok {
				panic(r)
			}
			code = int(exit)
		}
	}()
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "tripod: %v; see tripod --help\n", err)
		return exitUsage
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed.BindTo(ctx, (*context.Context)(nil))
	parsed.Bind(&terminal{in: stdin, out: stdout, err: stderr})
	return report(stderr, parsed.Run())
}

// exitCode carries kong's wish to exit up to Main.
type exitCode int

// report prints an error, one line each where it has several, and chooses the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return exitOK
	}
	var exit *exitError
	if errors.As(err, &exit) {
		if exit.message != "" {
			fmt.Fprintln(stderr, "tripod:", exit.message)
		}
		return exit.code
	}
	fmt.Fprintln(stderr, "tripod:", err)
	return exitFailed
}
