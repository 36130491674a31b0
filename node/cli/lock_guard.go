package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"tripod/election"
)

// guard is a process that kills the command when the right to hold the lock has ended, and when the process that holds it is gone. That one cannot
// promise it: it may be stopped, or be killed with SIGKILL while the command has children of its own.
type guard struct {
	cmd   *exec.Cmd
	words io.WriteCloser
}

// startGuard starts the guard, which waits for what to watch. A guard is in a process group of its own, which no terminal's signal reaches.
func startGuard() (*guard, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, to guard the command: %w", err)
	}
	g := &guard{cmd: exec.Command(self, "lock-guard")}
	g.cmd.Env = withoutSecret(os.Environ())
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if g.words, err = g.cmd.StdinPipe(); err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the guard of the command: %w", err)
	}
	return g, nil
}

// watch names the process group, and until when it may run.
func (g *guard) watch(group int, until time.Duration) { g.say(guardWord{group, until}) }

// extend moves the end.
func (g *guard) extend(until time.Duration) { g.say(guardWord{0, until}) }

// say passes a word to the guard. If that has been killed, this process does its part alone.
func (g *guard) say(w guardWord) { _, _ = fmt.Fprintf(g.words, "%d %d\n", w.group, w.until) }

// close ends the guard: there is nothing to watch any more. Only the first call does anything.
func (g *guard) close() {
	if g.cmd.ProcessState != nil {
		return
	}
	_ = g.cmd.Process.Kill() // before it could take the end of its words for ours
	_ = g.cmd.Wait()
}

// guardWord is one line for a guard: the process group, 0 if it is the same as before; and the end of its time, on election.Clock.
type guardWord struct {
	group int
	until time.Duration
}

type lockGuardCmd struct{}

// Run kills a process group when its time is over.
func (c *lockGuardCmd) Run(_ context.Context, t *terminal) error {
	signal.Ignore(os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	words := make(chan guardWord)
	go readGuardWords(t.in, words)
	var watched guardWord
	clock := election.Clock()
	timer := time.NewTicker(tellGuard / 2) // a longer timer does not count the time that a machine is suspended
	defer timer.Stop()
	for {
		select {
		case w, open := <-words:
			if !open {
				killGroup(watched.group)
				return nil
			}
			if w.group == 0 {
				w.group = watched.group
			}
			watched = w
		case <-timer.C:
			if watched.group != 0 && clock() >= watched.until {
				killGroup(watched.group)
				return nil
			}
		}
	}
}

// readGuardWords reads until the other side is gone. What it does not understand is as if it were.
func readGuardWords(from io.Reader, into chan<- guardWord) {
	defer close(into)
	for lines := bufio.NewScanner(from); lines.Scan(); {
		var w guardWord
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w.group, &w.until); err != nil || w.group < 0 || w.group == 1 {
			return
		}
		into <- w
	}
}

// killGroup kills all processes of a group. There may be none any more.
func killGroup(group int) {
	if group > 1 {
		_ = syscall.Kill(-group, syscall.SIGKILL)
	}
}
