//go:build linux

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// disk is a tmpfs of limited size. It is mounted in the switch's mount namespace, which outlives the hosts' power, and
// on the node; the test reaches it through a descriptor. The machine's own mounts do not change.
type disk struct {
	keeper *namespace
	folder string // where it is mounted, here and there
	root   *os.File
}

func newDisk(keeper *namespace, folder string, bytes int64) (*disk, error) {
	d := &disk{keeper: keeper, folder: folder}
	return d, keeper.run(func() error {
		if err := unix.Mount("tmpfs", folder, "tmpfs", 0, "mode=700,size="+strconv.FormatInt(bytes, 10)); err != nil {
			return os.NewSyscallError("mount tmpfs", err)
		}
		var err error
		d.root, err = os.Open(folder)
		return err
	})
}

// path is the disk's folder, for this process.
func (d *disk) path() string { return fmt.Sprintf("/proc/self/fd/%d", d.root.Fd()) }

// mount puts the disk into a host's mount namespace.
func (d *disk) mount(host *namespace) error {
	var tree int
	err := d.keeper.run(func() (err error) {
		tree, err = unix.OpenTree(unix.AT_FDCWD, d.folder, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		return os.NewSyscallError("open_tree", err)
	})
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	return host.run(func() error {
		return os.NewSyscallError("move_mount", unix.MoveMount(tree, "", unix.AT_FDCWD, d.folder, unix.MOVE_MOUNT_F_EMPTY_PATH))
	})
}

func (d *disk) filler() string { return filepath.Join(d.path(), "filler") }

// fill takes all space that is left.
func (d *disk) fill() error {
	file, err := os.OpenFile(d.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer file.Close()
	for size := 1 << 20; size >= 1; {
		_, err := file.Write(make([]byte, size))
		switch {
		case errors.Is(err, unix.ENOSPC):
			size /= 2
		case err != nil:
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return nil
}

func (d *disk) free() error {
	if err := os.Remove(d.filler()); err != nil {
		return fmt.Errorf("free the disk: %w", err)
	}
	return nil
}

func (d *disk) close() {
	if d.root != nil {
		d.root.Close()
	}
}
