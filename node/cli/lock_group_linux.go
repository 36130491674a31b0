package cli

import "syscall"

// killWithParent ends the command with SIGKILL when this process is killed, since the lock is lost then. See ownGroup.
func killWithParent(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
