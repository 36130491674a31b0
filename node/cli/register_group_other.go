//go:build !linux

package cli

import "syscall"

// ownGroup makes a server leader of a process group. If this process is killed, the server goes on, and its registration ends.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
