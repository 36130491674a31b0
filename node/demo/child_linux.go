package demo

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from the children, and ends them when the demo dies, however it does.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
