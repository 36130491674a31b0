//go:build linux

package peer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is a child that ends with this one, and whose words are kept in a file.
type process struct {
	cmd    *exec.Cmd
	said   string // the file
	exited chan struct{}
}

// grace is how long a child may take to end when it is told to.
const grace = 5 * time.Second

// start starts a child. If this process dies, the child gets the signal: one that has children of its own needs one
// that it can catch.
func start(cmd *exec.Cmd, said string, orphan syscall.Signal) (*process, error) {
	f, err := os.OpenFile(said, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stderr = f
	if cmd.Stdout == nil {
		cmd.Stdout = f
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: orphan}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, said: said, exited: make(chan struct{})}
	go p.wait()
	return p, nil
}

func (p *process) wait() {
	_ = p.cmd.Wait() // the state is in ProcessState
	close(p.exited)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ended is an error if the process has ended.
func (p *process) ended() error {
	select {
	case <-p.exited:
		return fmt.Errorf("%s has ended: %s", p.cmd.Path, p.cmd.ProcessState)
	default:
		return nil
	}
}

// stop ends the process, and returns when it has ended.
func (p *process) stop() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = p.cmd.Process.Kill()
	}
	select {
	case <-p.exited:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// tail is the end of what the process has said.
func (p *process) tail() string {
	text, err := os.ReadFile(p.said)
	if err != nil {
		return err.Error()
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-20):], nil))
}
