package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	hookTimeout = 10 * time.Second
	hookLinger  = time.Second // for output that somebody else holds open after the command has ended
	hookOutput  = 2048        // bytes that are kept
)

// Results of a hook's run, as the metric shows them.
const (
	hookOK      = "ok"
	hookFailed  = "failed"  // it ended with an exit code other than 0, or by a signal
	hookTimedUp = "timeout" // it was killed
	hookMissing = "missing" // it could not be started
)

// runHook runs a command to its end, or kills it and all of its process group at the end of the time. It
// returns the result and what the command said; the error is nil if all went well.
func runHook(ctx context.Context, limit time.Duration, command, environment []string) (result, output string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var said bounded
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = append(hookEnvironment(os.Environ()), environment...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The group, so that a shell's children do not outlive it. The process is not reaped before Wait
	// has returned, so its number cannot be somebody else's.
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = hookLinger
	if err := cmd.Start(); err != nil {
		return hookMissing, "", err
	}
	err = cmd.Wait()
	switch {
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded) && err != nil && !exited(cmd):
		return hookTimedUp, said.String(), fmt.Errorf("did not end within %s and was killed", limit)
	case ctx.Err() != nil && err != nil && !exited(cmd):
		return hookTimedUp, said.String(), errors.New("was killed, because the node stops")
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // it ended well, and left something running that has its output
	case err != nil:
		return hookFailed, said.String(), err
	}
	return hookOK, said.String(), err
}

// exited tells whether a command ended by itself.
func exited(cmd *exec.Cmd) bool { return cmd.ProcessState != nil && cmd.ProcessState.Exited() }

// hookEnvironment is the node's environment without its own settings, among which may be the cluster's secret.
func hookEnvironment(all []string) []string {
	var kept []string
	for _, v := range all {
		if !strings.HasPrefix(v, "TRIPOD_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// hookVariables tell a hook what happened.
func hookVariables(vip, node, state string, epoch int64) []string {
	return []string{"TRIPOD_VIP=" + vip, "TRIPOD_NODE=" + node, "TRIPOD_STATE=" + state, "TRIPOD_EPOCH=" + strconv.FormatInt(epoch, 10)}
}

// bounded keeps the beginning of what is written to it. One goroutine at a time writes; os/exec sees to that where
// standard output and error are the same writer.
type bounded struct {
	kept bytes.Buffer
	more bool
}

// Write implements io.Writer. It takes everything, so that the command is never held up.
func (b *bounded) Write(text []byte) (int, error) {
	room := hookOutput - b.kept.Len()
	b.more = b.more || len(text) > room
	b.kept.Write(text[:min(room, len(text))])
	return len(text), nil
}

// String is what was kept, on one line.
func (b *bounded) String() string {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(b.kept.String(), "�")), " ")
	if b.more {
		text += " …"
	}
	return text
}
