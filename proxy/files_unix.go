//go:build unix

package proxy

import (
	"math"
	"syscall"
)

// openFileLimit is how many files the process may have open.
func openFileLimit() int64 {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return defaultFiles
	}
	return int64(min(uint64(l.Cur), math.MaxInt32)) // no limit is a large one
}
