package web

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// readFD and writeFD read and write a descriptor that never blocks, without telling the Go scheduler. What telling it is for, that another
// goroutine may run meanwhile, is not worth its price here: the calls take a few microseconds, and under load the runtime's
// monitor thread would look for those that take longer fifty thousand times a second.

func readFD(fd int, p []byte) (int, error) { return raw(unix.SYS_READ, fd, p) }

func writeFD(fd int, p []byte) (int, error) { return raw(unix.SYS_WRITE, fd, p) }

func raw(call uintptr, fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		n, _, err := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		if err == 0 {
			return int(n), nil
		}
		if err != unix.EINTR {
			return 0, err
		}
	}
}
