//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"

	"tripod/testcluster/bench/client"
)

// holding is what a holder is told on its standard input.
type holding struct {
	Target      client.Target
	Connections int
}

// holder is a process that holds idle connections: it needs as many files as the proxy does.
type holder struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err strings.Builder
}

func startHolder(ctx context.Context, what holding) (*holder, error) {
	cmd, err := roleHolder.command()
	if err != nil {
		return nil, err
	}
	h := &holder{cmd: exec.CommandContext(ctx, cmd.Path)}
	h.cmd.Env, h.cmd.Stderr, h.cmd.SysProcAttr = cmd.Env, &h.err, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	h.out = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(h.in).Encode(what); err != nil {
		h.end()
		return nil, err
	}
	return h, nil
}

// expect waits for a word of the holder.
func (h *holder) expect(word string) error {
	if got, err := h.out.ReadString('\n'); err != nil || got != word+"\n" {
		h.end()
		return fmt.Errorf("client: %s", strings.TrimSpace(h.err.String()))
	}
	return nil
}

// ask lets the holder ask once more on each connection.
func (h *holder) ask() error {
	if _, err := io.WriteString(h.in, "\"ask\"\n"); err != nil {
		return err
	}
	return h.expect("asked")
}

// end lets the holder close its connections, and returns when it has ended.
func (h *holder) end() {
	h.in.Close()
	_ = h.cmd.Wait() // whatever was wrong has been said before
}

// playHolder is the holder's part, in its process.
func playHolder(in io.Reader, out io.Writer) error {
	ctx := context.Background()
	told := json.NewDecoder(in)
	var what holding
	if err := told.Decode(&what); err != nil {
		return err
	}
	h, err := client.Hold(ctx, what.Target, what.Connections)
	if err != nil {
		return err
	}
	defer h.Close()
	fmt.Fprintln(out, "open")
	var word string
	for told.Decode(&word) == nil {
		if err := h.Ask(); err != nil {
			return err
		}
		fmt.Fprintln(out, "asked")
	}
	return nil
}
