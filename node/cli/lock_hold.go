package cli

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"tripod/election"
	"tripod/election/lock"
)

// holding is a command that runs while a lock is held.
type holding struct {
	lock     *lock.Lock
	guard    *guard
	signals  <-chan os.Signal
	command  []string
	terminal *terminal
}

// tellGuard is how often the guard is told for how long the right lasts now.
const tellGuard = 50 * time.Millisecond

// run starts the command and returns when it has ended, or has been killed because the lock is lost.
func (h *holding) run() error {
	c, err := startChild(h.command[0], h.command, h.terminal, func(cmd *exec.Cmd) {
		cmd.Env = append(cmd.Env, lockEnvironment(h.lock)...)
		killWithParent(cmd.SysProcAttr)
	})
	if err != nil {
		return err
	}
	h.guard.watch(c.cmd.Process.Pid, h.lock.Until())
	ticker := time.NewTicker(tellGuard)
	defer ticker.Stop()
	for {
		select {
		case <-c.ended:
			// A guard whose time had come has killed it, while this process was stopped.
			if !h.lock.Held() {
				return h.lost(c)
			}
			return c.result()
		case s := <-h.signals:
			h.signal(c, s)
		case <-ticker.C:
			h.guard.extend(h.lock.Until())
		case <-h.lock.Lost():
			return h.stop(c)
		}
	}
}

// signal passes a signal on to the command and what it has started, as a terminal does.
func (h *holding) signal(c *child, s os.Signal) {
	if number, ok := s.(syscall.Signal); ok {
		_ = syscall.Kill(-c.cmd.Process.Pid, number) // it may just have ended
	}
}

// stop ends the command before the right to hold ends: it may end by itself until shortly before that.
func (h *holding) stop(c *child) error {
	fmt.Fprintf(h.terminal.err, "tripod: lock %s: %v; stopping %s\n", h.lock.Name(), h.lock.Err(), h.command[0])
	h.signal(c, syscall.SIGTERM)
	clock := election.Clock()
	for {
		left := h.lock.Until() - killMargin - clock()
		if left <= 0 {
			break
		}
		select {
		case <-c.ended:
			return h.lost(c)
		case s := <-h.signals:
			h.signal(c, s)
		case <-time.After(min(left, tellGuard)):
		}
	}
	h.signal(c, syscall.SIGKILL)
	<-c.ended
	return h.lost(c)
}

func (h *holding) lost(c *child) error {
	// What the command has started may have outlived it, and has to end as well.
	h.signal(c, syscall.SIGKILL)
	reason := h.lock.Err()
	if reason == nil {
		reason = fmt.Errorf("%w: it could not be renewed in time", lock.ErrLost)
	}
	return &exitError{code: exitLost, message: fmt.Sprintf("lock %s: %v; %s was stopped", h.lock.Name(), reason, h.command[0])}
}
