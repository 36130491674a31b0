//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// killAll kills every process in a network namespace, those too that others started there, and returns when there
// is none left.
func killAll(inode uint64) error {
	deadline := time.Now().Add(Patience)
	for {
		pids, err := processesIn(inode)
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v survive SIGKILL", pids)
		}
		for _, pid := range pids {
			if err := killIn(pid, inode); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
}

func processesIn(inode uint64) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscanf(e.Name(), "%d", &pid); err != nil || pid == os.Getpid() {
			continue // the test itself is nobody's, though one of its threads may be inside now
		}
		if isIn(pid, inode) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func isIn(pid int, inode uint64) bool {
	var stat unix.Stat_t
	// A process that has ended has no namespace.
	return unix.Stat(fmt.Sprintf("/proc/%d/ns/net", pid), &stat) == nil && stat.Ino == inode
}

// killIn kills a process if it is in the namespace: the descriptor makes sure that it is the one looked at.
func killIn(pid int, inode uint64) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return os.NewSyscallError("pidfd_open", err)
	}
	defer unix.Close(fd)
	if !isIn(pid, inode) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return os.NewSyscallError("pidfd_send_signal", err)
	}
	return nil
}
