//go:build linux

package outage

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// orderTime is how long a server may take to do what it is told.
const orderTime = 20 * time.Second

// backend is a server's process, as this one sees it.
type backend struct {
	address string
	command func(args ...string) (*exec.Cmd, error)

	cmd  *exec.Cmd // nil while there is none
	in   io.WriteCloser
	said chan string   // modes
	done chan struct{} // closed when all that the process said is noted
	errs strings.Builder

	mu   sync.Mutex
	seen map[string][]time.Time // when each request was seen, by its number
}

func newBackend(address string, command func(args ...string) (*exec.Cmd, error)) *backend {
	return &backend{address: address, command: command, seen: map[string][]time.Time{}}
}

// start starts the process, and returns when it listens.
func (b *backend) start() error {
	cmd, err := b.command(b.address)
	if err != nil {
		return err
	}
	b.errs.Reset()
	cmd.Stderr, cmd.SysProcAttr = &b.errs, &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if b.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start a server: %w", err)
	}
	b.cmd, b.said, b.done = cmd, make(chan string, 1), make(chan struct{})
	go b.listen(out, b.said, b.done)
	return b.turn(well)
}

// listen notes what the process says, to its end.
func (b *backend) listen(out io.Reader, said chan<- string, done chan<- struct{}) {
	defer close(done)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		parts := strings.Fields(lines.Text())
		if len(parts) != 3 {
			said <- lines.Text()
			continue
		}
		if at, err := strconv.ParseInt(parts[0], 10, 64); err == nil {
			b.mu.Lock()
			b.seen[parts[2]] = append(b.seen[parts[2]], time.Unix(0, at))
			b.mu.Unlock()
		}
	}
}

// turn changes what the server does.
func (b *backend) turn(m mode) error {
	if _, err := fmt.Fprintln(b.in, m); err != nil {
		return fmt.Errorf("server %s: %w", b.address, err)
	}
	select {
	case got := <-b.said:
		if got != string(m) {
			return fmt.Errorf("server %s says %q, and was told %q", b.address, got, m)
		}
		return nil
	case <-b.done:
		err := b.kill()
		return errors.Join(fmt.Errorf("server %s has ended: %s", b.address, strings.TrimSpace(b.errs.String())), err)
	case <-time.After(orderTime):
		return fmt.Errorf("server %s does not do what it is told", b.address)
	}
}

func (b *backend) signal(s syscall.Signal) error {
	if err := b.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("server %s: %w", b.address, err)
	}
	return nil
}

// kill kills the process, if there is one, and returns when it has ended and what it has seen is noted.
func (b *backend) kill() error {
	if b.cmd == nil {
		return nil
	}
	_ = b.cmd.Process.Kill() // it may have ended
	<-b.done
	_ = b.cmd.Wait() // it was killed
	b.in.Close()
	b.cmd = nil
	return nil
}

// times are when the server saw a request.
func (b *backend) times(number string) []time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[number]
}

// count is how many requests it has seen.
func (b *backend) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.seen)
}
