package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"tripod/node/demo"
)

type demoCmd struct {
	For  time.Duration `help:"End by itself after this time; the VIP's holder is killed and started again on the way." placeholder:"20s"`
	Kill bool          `help:"With --for: kill the holder on the way." default:"true" negatable:""`
}

// Run shows the demo: on a screen with keys if there is a terminal, else as lines.
func (c *demoCmd) Run(ctx context.Context, t *terminal) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	called := os.Args[0]
	if strings.Contains(program, "go-build") {
		called = "go run ."
	}
	// Closing the terminal's window ends the demo, which tidies up, unless the user has said otherwise (nohup(1)).
	if !signal.Ignored(syscall.SIGHUP) {
		var stop context.CancelFunc
		ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
		defer stop()
	}
	cfg := demo.Config{Program: program, Called: called, Out: t.out, For: c.For, Kill: c.Kill}
	in, inOK := t.in.(*os.File)
	out, outOK := t.out.(*os.File)
	if inOK && outOK && term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) {
		state, err := term.MakeRaw(int(in.Fd()))
		if err != nil {
			return fmt.Errorf("set up the terminal: %w", err)
		}
		defer term.Restore(int(in.Fd()), state) // nothing to be done if it fails
		keys := make(chan byte)
		go readKeys(ctx, in, keys)
		cfg.Screen, cfg.Keys = true, keys
		cfg.Size = func() (rows, columns int) {
			columns, rows, err := term.GetSize(int(out.Fd()))
			if err != nil {
				return 0, 0
			}
			return rows, columns
		}
	}
	return demo.Run(ctx, cfg)
}

// readKeys passes keys on until the program ends: a read of a terminal cannot be interrupted.
func readKeys(ctx context.Context, in io.Reader, keys chan<- byte) {
	var key [1]byte
	for {
		if _, err := in.Read(key[:]); err != nil {
			return
		}
		select {
		case keys <- key[0]:
		case <-ctx.Done():
			return
		}
	}
}

// demoServerCmd is a sample web server of the demo.
type demoServerCmd struct {
	Name   string `required:""`
	Listen string `required:""`
}

// Run serves until told to stop.
func (c *demoServerCmd) Run(ctx context.Context) error { return demo.Serve(ctx, c.Name, c.Listen) }
