package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command runs a command of tripod on the cluster's machine: its --data is the cluster's folder. It returns what
// the command said, and its exit code.
func (c *Cluster) Command(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	return c.run(c.Program(args...))
}

// CommandInput is Command with a text on standard input.
func (c *Cluster) CommandInput(input string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	p := c.Program(args...)
	p.Stdin = strings.NewReader(input)
	return c.run(p)
}

// CommandEnv is Command with more variables, as NAME=value.
func (c *Cluster) CommandEnv(variables []string, args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	p := c.Program(args...)
	p.Env = append(p.Env, variables...)
	return c.run(p)
}

// Shell runs a script with sh, in which tripod is the program under test and etcdctl the real one, as a person has
// them in a terminal.
func (c *Cluster) Shell(script string) (stdout, stderr string, code int) {
	c.t.Helper()
	p := exec.Command("sh", "-c", script)
	p.Env = append(c.Environment(), "PATH="+c.tools()+":"+os.Getenv("PATH"))
	p.SysProcAttr = dieWithParent()
	return c.run(p)
}

// Program is a command of tripod that has not been started. Its environment is the test's, without what would
// change the command, and with the cluster's data folder.
func (c *Cluster) Program(args ...string) *exec.Cmd {
	c.t.Helper()
	p := exec.Command(c.executable(), args...)
	p.Env = c.Environment()
	p.SysProcAttr = dieWithParent()
	return p
}

func (c *Cluster) executable() string {
	c.t.Helper()
	if c.options.program != "" {
		return c.options.program
	}
	self, err := os.Executable()
	if err != nil {
		c.t.Fatal(err)
	}
	return self
}

// Environment is what the cluster's programs and commands run with.
func (c *Cluster) Environment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "TRIPOD_") && !strings.HasPrefix(name, "ETCDCTL_") && name != "EDITOR" && name != "VISUAL" {
			env = append(env, v)
		}
	}
	// With the race detector on, a program sleeps a second before it exits, for reports of goroutines that still
	// run (https://go.dev/doc/articles/race_detector, atexit_sleep_ms). A test runs many commands.
	env = append(env, "GORACE="+strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0"))
	env = append(env, programVariable+"=1", "TRIPOD_DATA="+c.dir)
	return append(env, c.options.env...)
}

// run runs a command to its end. One that takes longer than Patience is killed, and fails the test.
func (c *Cluster) run(p *exec.Cmd) (stdout, stderr string, code int) {
	c.t.Helper()
	var out, errs bytes.Buffer
	p.Stdout, p.Stderr = &out, &errs
	if err := p.Start(); err != nil {
		c.t.Fatalf("start %s: %v", strings.Join(p.Args, " "), err)
	}
	late := time.AfterFunc(Patience, func() { p.Process.Kill() })
	err := p.Wait()
	if !late.Stop() {
		c.t.Errorf("tripod %s still ran after %s", strings.Join(p.Args[1:], " "), Patience)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatalf("run %s: %v", strings.Join(p.Args, " "), err)
	}
	return out.String(), errs.String(), p.ProcessState.ExitCode()
}

// tools is a folder with tripod and etcdctl in it, for PATH. The go command builds etcdctl, which is a tool of
// this module, once, and keeps it in its cache.
func (c *Cluster) tools() string {
	c.t.Helper()
	folder := filepath.Join(c.dir, ".tools")
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	path, err := exec.CommandContext(ctx, "go", "tool", "-n", "etcdctl").Output()
	if err == nil {
		err = os.Mkdir(folder, 0o700)
	}
	if err == nil {
		err = os.Symlink(strings.TrimSpace(string(path)), filepath.Join(folder, "etcdctl"))
	}
	if err == nil {
		err = os.Symlink(c.executable(), filepath.Join(folder, "tripod"))
	}
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		c.t.Fatalf("build etcdctl: %v", err)
	}
	return folder
}

// Process is a command that runs beside the test.
type Process struct {
	cluster  *Cluster
	cmd      *exec.Cmd
	exited   chan struct{}
	out, err shared
}

// Spawn starts a command of tripod. It is killed at the end of the test if it still runs.
func (c *Cluster) Spawn(args ...string) *Process {
	c.t.Helper()
	return c.SpawnProgram(c.Program(args...))
}

// SpawnProgram is Spawn for a prepared command. What it says is read with Out and Err, unless it goes elsewhere already.
func (c *Cluster) SpawnProgram(cmd *exec.Cmd) *Process {
	c.t.Helper()
	p := &Process{cluster: c, cmd: cmd, exited: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.err
	}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // the state is in ProcessState
		close(p.exited)
	}()
	c.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has ended by itself, mostly
		<-p.exited
		if c.t.Failed() {
			c.t.Logf("%s\n%s%s", strings.Join(cmd.Args[1:], " "), tailOf(p.Out(), 60), tailOf(p.Err(), 60))
		}
	})
	return p
}

// Out is what the process has written to standard output so far.
func (p *Process) Out() string { return p.out.String() }

// Err is what the process has written to standard error so far.
func (p *Process) Err() string { return p.err.String() }

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	p.cluster.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.cluster.t.Fatalf("%s: %v", s, err)
	}
}

// Running says whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Wait waits until the process has ended, and returns its exit code.
func (p *Process) Wait() int {
	p.cluster.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(Patience):
		p.cluster.t.Fatalf("%s still runs after %s", strings.Join(p.cmd.Args[1:], " "), Patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// shared is a buffer that is written and read at once.
type shared struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *shared) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(text)
}

// String is what was written so far.
func (s *shared) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func tailOf(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}
