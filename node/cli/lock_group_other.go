//go:build !linux

package cli

import "syscall"

// killWithParent does nothing: the guard kills the command.
func killWithParent(*syscall.SysProcAttr) {}
