package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tripod/election/lock"
)

// Exit codes of tripod lock, beside those of the command that it runs. They are among those of sysexits.h that commands seldom use.
const (
	exitNotAcquired = 75 // EX_TEMPFAIL: the lock was not free in time
	exitLost        = 76 // EX_PROTOCOL: the lock was lost, and the command was stopped
)

const (
	// tryTimeout bounds how long --try waits for the store to say whether the lock is free.
	tryTimeout = 10 * time.Second
	// releaseTimeout bounds how long the release may take once the command has ended.
	releaseTimeout = 3 * time.Second
	// killMargin is how long before the end of the right the command is killed.
	killMargin = 100 * time.Millisecond
)

type lockCmd struct {
	Name    string        `arg:"" help:"Name of the lock: letters, digits and . _ - / between words."`
	Command []string      `arg:"" help:"After --: the command to run while the lock is held, with TRIPOD_LOCK and TRIPOD_FENCING_TOKEN in its environment."`
	Shared  bool          `help:"Let others hold the lock too who share it."`
	Permits int           `help:"Let so many hold the lock together; all who use it must say the same number." placeholder:"N"`
	Wait    time.Duration `help:"How long to wait for the lock, before giving up with exit code 75 (default: for ever)." placeholder:"30s"`
	Try     bool          `help:"Do not wait: exit with 75 if the lock is not free."`
	TTL     time.Duration `name:"ttl" help:"How long the lock stays held at most when this machine has died, 1s to 1h. Without the cluster the command is stopped after half of it." default:"5s"`
	access
}

// Run runs a command while it holds a lock, and exits as that does.
func (c *lockCmd) Run(ctx context.Context, t *terminal) error {
	opts := lock.Options{Shared: c.Shared, Permits: c.Permits, TTL: c.TTL, Try: c.Try, Command: strings.Join(c.Command, " ")}
	if err := c.check(opts); err != nil {
		return &exitError{code: exitUsage, message: strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	// Who would not find the command need not wait for the lock first.
	if _, err := exec.LookPath(c.Command[0]); err != nil {
		return notStarted(c.Command[0], err)
	}
	// Signals go to the command, which ends this one.
	ctx = context.WithoutCancel(ctx)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	locks, closeLocks, err := c.locks(ctx)
	if err != nil {
		return err
	}
	defer closeLocks()
	guard, err := startGuard()
	if err != nil {
		return err
	}
	defer guard.close()
	held, err := c.acquire(ctx, locks, opts, signals, t)
	if err != nil {
		return err
	}
	if held.TTL() > c.TTL+time.Second/2 {
		fmt.Fprintf(t.err, "tripod: lock %s: --ttl %s is less than the store can keep; it is %s\n", c.Name, c.TTL, held.TTL().Round(time.Millisecond))
	}
	h := &holding{lock: held, guard: guard, signals: signals, command: c.Command, terminal: t}
	err = h.run()
	guard.close()
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if failure := held.Release(ctx); failure != nil {
		fmt.Fprintln(t.err, "tripod:", failure)
	}
	return err
}

// check finds what cannot be meant.
func (c *lockCmd) check(opts lock.Options) error {
	faults := []error{lock.CheckName(c.Name), opts.Validate()}
	if c.Wait < 0 {
		faults = append(faults, fmt.Errorf("--wait is a time from 0s on, not %s", c.Wait))
	}
	if c.Wait > 0 && c.Try {
		faults = append(faults, errors.New("--try does not wait: give either that or --wait"))
	}
	return errors.Join(faults...)
}

// acquire waits for the lock. A signal that ends programs ends the waiting.
func (c *lockCmd) acquire(ctx context.Context, locks *lock.Manager, opts lock.Options, signals <-chan os.Signal, t *terminal) (*lock.Lock, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := c.Wait
	if c.Try {
		limit = tryTimeout
	}
	if limit > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, limit)
		defer stop()
	}
	var reason string // not to be read before done
	opts.Waiting = func(text string) {
		reason = text
		fmt.Fprintf(t.err, "tripod: waiting for lock %s: %s\n", c.Name, text)
	}
	type result struct {
		lock *lock.Lock
		err  error
	}
	done := make(chan result, 1)
	go func() {
		l, err := locks.Acquire(ctx, c.Name, opts)
		done <- result{l, err}
	}()
	var ended syscall.Signal
	for {
		select {
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok && number != syscall.SIGUSR1 && number != syscall.SIGUSR2 {
				ended = number
				cancel()
			}
		case r := <-done:
			if ended != 0 { // if it was granted as well, closing the locks releases it
				return nil, &exitError{code: exitSignalled + int(ended), message: fmt.Sprintf("lock %s: not acquired: %v", c.Name, ended)}
			}
			return r.lock, c.refused(r.err, limit, reason)
		}
	}
}

// refused is the error, with its exit code, of a lock that was not acquired; nil if it was.
func (c *lockCmd) refused(err error, limit time.Duration, reason string) error {
	switch {
	case errors.Is(err, lock.ErrHeld), errors.Is(err, lock.ErrFull):
		return &exitError{code: exitNotAcquired, message: err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		if reason == "" {
			reason = "the store does not answer"
		}
		return &exitError{code: exitNotAcquired, message: fmt.Sprintf("lock %s: not acquired within %s: %s", c.Name, limit, reason)}
	case errors.Is(err, lock.ErrKind):
		return &exitError{code: exitUsage, message: err.Error()}
	}
	return err
}

// lockEnvironment is what the command is told.
func lockEnvironment(l *lock.Lock) []string {
	return []string{"TRIPOD_LOCK=" + l.Name(), "TRIPOD_FENCING_TOKEN=" + strconv.FormatInt(l.Token(), 10)}
}
