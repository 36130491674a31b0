//go:build !linux

package testcluster

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
