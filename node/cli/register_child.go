package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// Exit codes of a command that could not be run, as shells have them (POSIX Shell Command Language, 2.8.2).
const (
	exitNotExecutable = 126
	exitNotFound      = 127
	exitSignalled     = 128 // and the signal's number
)

// childLinger is for output that somebody else holds open after the server has ended.
const childLinger = time.Second

// child is the server, or other command, that a command of ours runs. One that runs none never ends by itself.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// startChild starts a command in a process group of its own, so that a terminal's Ctrl-C reaches it by way of this process, which drains it first. The
// command does not get the cluster's secret. What it is called goes into errors; change may prepare it further.
func startChild(what string, command []string, t *terminal, change func(*exec.Cmd)) (*child, error) {
	c := &child{ended: make(chan struct{})}
	if len(command) == 0 {
		return c, nil
	}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = t.in, t.out, t.err
	c.cmd.Env = withoutSecret(os.Environ())
	c.cmd.SysProcAttr = ownGroup()
	c.cmd.WaitDelay = childLinger
	if change != nil {
		change(c.cmd)
	}
	if err := c.cmd.Start(); err != nil {
		return nil, notStarted(what, err)
	}
	go c.wait()
	return c, nil
}

// notStarted is the error of a command that cannot be run.
func notStarted(what string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return &exitError{code: code, message: fmt.Sprintf("start %s: %v", what, err)}
}

func withoutSecret(all []string) []string {
	var kept []string
	for _, v := range all {
		if !strings.HasPrefix(v, "TRIPOD_SECRET=") {
			kept = append(kept, v)
		}
	}
	return kept
}

// wait reaps the process; how it ended is in its state.
func (c *child) wait() {
	_ = c.cmd.Wait()
	close(c.ended)
}

// signal passes a signal on.
func (c *child) signal(s os.Signal) {
	if c.cmd != nil {
		_ = c.cmd.Process.Signal(s) // it may just have ended
	}
}

// end gives the server the signal that is to end it, nil if it has ended already, waits for it, passing signals on, and returns its exit code.
func (c *child) end(stop os.Signal, signals <-chan os.Signal) error {
	if c.cmd == nil {
		return nil
	}
	if stop != nil {
		c.signal(stop)
	}
	for {
		select {
		case s := <-signals:
			c.signal(s)
			continue
		case <-c.ended:
		}
		break
	}
	return c.result()
}

// result is the exit code of a command that has ended.
func (c *child) result() error {
	code := c.cmd.ProcessState.ExitCode()
	if status, ok := c.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = exitSignalled + int(status.Signal())
	}
	if code == exitOK {
		return nil
	}
	return &exitError{code: code}
}
