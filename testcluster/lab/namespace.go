//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace, and a mount namespace, of a host or of the switch. It has no name: a thread
// keeps it, with the processes and sockets in it, so that nothing is left of it when the test binary dies, however
// it does (namespaces(7), "Namespace lifetime").
type namespace struct {
	home, net *os.File // the network namespaces of the test and of the host
	inode     uint64   // of net, by which its processes are found
	jobs      chan func()
	quit      chan struct{} // asks keep to end
	done      chan struct{} // it has
}

func newNamespace() (*namespace, error) {
	n := &namespace{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{})}
	ready := make(chan error)
	go n.keep(ready)
	if err := <-ready; err != nil {
		n.close()
		return nil, fmt.Errorf("make a namespace (needs root with CAP_SYS_ADMIN and CAP_NET_ADMIN): %w", err)
	}
	return n, nil
}

// keep is the thread that lives in the namespaces. It starts the processes, because a child whose parent-death
// signal is set dies with the thread, not with the process, that started it (prctl(2), PR_SET_PDEATHSIG).
func (n *namespace) keep(ready chan<- error) {
	runtime.LockOSThread() // and not unlocked: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() {
		// But the main thread cannot end, and would stay in the namespaces. While it is kept here, another one is
		// found.
		found := make(chan error)
		go n.keep(found)
		err := <-found
		runtime.UnlockOSThread()
		ready <- err
		return
	}
	defer close(n.done)
	ready <- n.enter()
	for {
		select {
		case job := <-n.jobs:
			job()
		case <-n.quit:
			return
		}
	}
}

func (n *namespace) enter() error {
	var err error
	if n.home, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	if n.net, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return err
	}
	info, err := n.net.Stat()
	if err != nil {
		return err
	}
	n.inode = info.Sys().(*syscall.Stat_t).Ino
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return os.NewSyscallError("mount / private", err)
	}
	return mountSys()
}

// mountSys makes /sys/class/net show this namespace's interfaces. The control groups stay in their place, since
// a Go program reads its share of the processors there.
func mountSys() error {
	groups, noGroups := unix.OpenTree(unix.AT_FDCWD, "/sys/fs/cgroup", unix.OPEN_TREE_CLONE|unix.AT_RECURSIVE|unix.OPEN_TREE_CLOEXEC)
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return os.NewSyscallError("mount /sys", err)
	}
	if noGroups != nil {
		return nil
	}
	defer unix.Close(groups)
	if err := unix.MoveMount(groups, "", unix.AT_FDCWD, "/sys/fs/cgroup", unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return os.NewSyscallError("mount /sys/fs/cgroup", err)
	}
	return nil
}

// run runs f on the thread that keeps the namespaces, network and mount. It must not block.
func (n *namespace) run(f func() error) error {
	result := make(chan error, 1)
	select {
	case n.jobs <- func() { result <- f() }:
		return <-result
	case <-n.done:
		return errPoweredOff
	}
}

var errPoweredOff = errors.New("the host is powered off")

// start starts a process in the namespaces that dies with the test binary.
func (n *namespace) start(cmd *exec.Cmd) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return n.run(cmd.Start)
}

// do runs f on a thread in the network namespace, and may block. Sockets that f makes stay in it.
func (n *namespace) do(f func() error) error {
	result := make(chan error, 1)
	go func() {
		err := errors.New("the function ended its goroutine, as Fatal does, instead of returning")
		defer func() { result <- err }()
		runtime.LockOSThread()
		if e := unix.Setns(int(n.net.Fd()), unix.CLONE_NEWNET); e != nil {
			runtime.UnlockOSThread()
			err = fmt.Errorf("enter the host: %w", e)
			return
		}
		err = f()
		if unix.Setns(int(n.home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine, and serves nobody else
		}
	}()
	return <-result
}

// close gives the namespaces up. They are gone when their last process and socket is.
func (n *namespace) close() {
	close(n.quit)
	<-n.done
	if n.net != nil {
		n.net.Close()
	}
	if n.home != nil {
		n.home.Close()
	}
}
