//go:build unix

package health

import (
	"context"
	"os/exec"
	"syscall"
)

// run runs a command to its end, or kills it and all of its process group when ctx ends. What it leaves behind in its group is killed as well where the
// system allows to see the end before the number of the group is free for others, which is on Linux: checks come every few seconds, and so
// would what they leave. The error is that it could not be started.
func (e *ended) run(ctx context.Context, command, environment []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = environment
	cmd.Stdout, cmd.Stderr = &e.said, &e.wrong
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = linger
	if err := cmd.Start(); err != nil {
		return err
	}
	kill := func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	killed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { kill(); close(killed) })
	settle := func() {
		if !stop() {
			<-killed
			e.killed = true
		}
	}
	var err error
	if awaitExit(cmd.Process.Pid) {
		settle()
		kill()
		err = cmd.Wait()
	} else {
		err = cmd.Wait()
		settle()
	}
	if state := cmd.ProcessState; state != nil {
		e.code, e.how = state.ExitCode(), state.String()
	} else {
		e.code, e.how = -1, err.Error()
	}
	e.killed = e.killed && e.code < 0
	return nil
}
