//go:build linux

package peer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// cpu is the processor time that a process has taken, with all its threads, also those that have ended, to the
// nanosecond. /proc/PID/stat has it in ticks of 10 ms only, and /proc/PID/schedstat only that of one thread.
func cpu(pid int) (time.Duration, error) {
	// clock_getcpuclockid(3): the number of a process, inverted, above CPUCLOCK_SCHED, which is 2.
	clock := int32(^pid)<<3 | 2
	var t unix.Timespec
	if err := unix.ClockGettime(clock, &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// Own is the processor time that this process has taken, with all that descend from it.
func Own() (time.Duration, error) { return sum(os.Getpid(), cpu) }

// Busy is the processor time that all processes of the machine have taken, and what the machine's host has withheld,
// to the tick of 10 ms.
func Busy() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseBusy(stat)
}

// parseBusy reads the first line of proc_stat(5). Interrupts are left out: they are nobody's.
func parseBusy(stat []byte) (time.Duration, error) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	fields := bytes.Fields(line)
	if len(fields) < 9 || string(fields[0]) != "cpu" {
		return 0, fmt.Errorf("not what proc_stat(5) says: %q", line)
	}
	var ticks int64
	for _, f := range [][]byte{fields[1], fields[2], fields[3], fields[8]} { // user, nice, system, steal
		n, err := strconv.ParseInt(string(f), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// resident is the memory of a process that is in RAM.
func resident(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseResident(status)
}

func parseResident(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			if f := bytes.Fields(rest); len(f) == 2 && string(f[1]) == "kB" {
				kilobytes, err := strconv.ParseInt(string(f[0]), 10, 64)
				return kilobytes << 10, err
			}
		}
	}
	return 0, fmt.Errorf("no VmRSS in %q", status)
}

// family is a process and all that descend from it.
func family(pid int) ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := map[int][]int{}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		child, parent, err := parseParent(stat)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		children[parent] = append(children[parent], child)
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i]]...)
	}
	return all, nil
}

// parseParent reads the number of a process and that of its parent. Between them is its name, in parentheses, in which
// anything may be (proc_pid_stat(5)).
func parseParent(stat []byte) (pid, parent int, err error) {
	number, _, opened := bytes.Cut(stat, []byte(" ("))
	end := bytes.LastIndexByte(stat, ')')
	fields := bytes.Fields(stat[end+1:])
	if !opened || end < 0 || len(fields) < 2 {
		return 0, 0, fmt.Errorf("not what proc_pid_stat(5) says: %q", stat)
	}
	if pid, err = strconv.Atoi(string(number)); err != nil {
		return 0, 0, err
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return pid, parent, err
}
