package testcluster

import "syscall"

// dieWithParent ends a node when the test binary dies, however it does.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
