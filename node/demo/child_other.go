//go:build !linux

package demo

import "syscall"

// ownGroup keeps the terminal's Ctrl-C from the children.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
