package cli

import "syscall"

// ownGroup makes a server leader of a process group, and ends it with SIGTERM when this process is killed: it would go on without a registration. The signal comes
// when the thread ends that started the server (prctl(2)); threads of Go's end with the process, but for those of goroutines that are locked to theirs.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
