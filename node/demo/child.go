package demo

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// maxWords bounds what is read of a log, in bytes.
const maxWords = 4 << 10

// child is a process of the demo. Its output goes to a file beside its data.
type child struct {
	name, log, program string
	args               []string

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

func newChild(name, dir, program string, args ...string) *child {
	return &child{name: name, log: filepath.Join(dir, name+".log"), program: program, args: args}
}

func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	defer log.Close() // the child has its own
	cmd := exec.Command(c.program, c.args...)
	cmd.Stdout, cmd.Stderr = log, log
	// What a person has set for nodes of their own, such as TRIPOD_ADMIN, is not meant for these.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TRIPOD_") })
	cmd.SysProcAttr = ownGroup()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", c.name, err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, mostly
		close(exited)
	}()
	c.cmd, c.exited = cmd, exited
	return nil
}

// running says whether the process is there.
func (c *child) running() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// ended is closed when the process has ended. It was started.
func (c *child) ended() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exited
}

// lastWords is the last line that the process wrote.
func (c *child) lastWords() string {
	f, err := os.Open(c.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxWords {
		_, _ = f.Seek(-maxWords, io.SeekEnd) // failing that, the first words
	}
	text, err := io.ReadAll(io.LimitReader(f, maxWords))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return 0
	}
	return c.cmd.Process.Pid
}

// kill ends the process with SIGKILL and waits until it is gone.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Kill() // it may have ended already
	<-c.exited
	c.cmd = nil
}
