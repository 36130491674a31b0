package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tripod/node/etcd"
)

// claim is what makes a process the node that it is: the node API's port on the node's address, and the lock
// on its folder. Both are let go by the kernel when the process ends, however it ends.
type claim struct {
	self     etcd.Voter
	listener net.Listener // node API
	folder   string
	lock     *os.File
}

// newClaim finds out which of the voters this process is, and takes its place.
func newClaim(cfg Config, voters []etcd.Voter) (*claim, error) {
	candidates, err := candidates(cfg.Self, voters)
	if err != nil {
		return nil, err
	}
	var taken []string
	for _, v := range candidates {
		listener, err := net.Listen("tcp", v.HostPort(etcd.APIPort))
		switch {
		case errors.Is(err, syscall.EADDRINUSE):
			taken = append(taken, v.HostPort(etcd.APIPort))
			continue
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			return nil, fmt.Errorf("%s is not an address of this machine: --self names the node that runs here", v.Addr)
		case err != nil:
			return nil, fmt.Errorf("listen for the node API: %w: the address comes from --nodes and --self", err)
		}
		c := &claim{self: v, listener: listener, folder: filepath.Join(cfg.Data, v.Name)}
		if err := c.lockFolder(); err != nil {
			listener.Close()
			return nil, err
		}
		return c, nil
	}
	return nil, fmt.Errorf("the node API's port is taken on %s: this node is already running (see tripod status), or another program listens there; the addresses come from --nodes and --self",
		strings.Join(taken, " and "))
}

// candidates are the voters that this process could be, in the order of --nodes.
func candidates(self string, voters []etcd.Voter) ([]etcd.Voter, error) {
	if self != "" {
		for _, v := range voters {
			if v.Name == self || v.Addr.String() == self {
				return []etcd.Voter{v}, nil
			}
		}
		return nil, fmt.Errorf("--self %s is not in --nodes %s", self, etcd.FormatVoters(voters))
	}
	local, err := localAddresses()
	if err != nil {
		return nil, err
	}
	var mine []etcd.Voter
	for _, v := range voters {
		// Linux answers on all of 127.0.0.0/8; elsewhere only what an interface has is local.
		if local[v.Addr] || v.Addr.Is4() && v.Addr.IsLoopback() && runtime.GOOS == "linux" {
			mine = append(mine, v)
		}
	}
	if len(mine) == 0 {
		var have []string
		for _, a := range slices.SortedFunc(maps.Keys(local), netip.Addr.Compare) {
			if !a.IsLinkLocalUnicast() { // of no use in --nodes: it needs a zone, which only this machine knows
				have = append(have, a.String())
			}
		}
		return nil, fmt.Errorf("no address in --nodes %s is mine: this machine has %s; name one of these in --nodes, on all nodes alike",
			etcd.FormatVoters(voters), strings.Join(have, ", "))
	}
	return mine, nil
}

func localAddresses() (map[netip.Addr]bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this machine's addresses: %w", err)
	}
	local := make(map[netip.Addr]bool, len(addrs))
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				local[addr.Unmap()] = true
			}
		}
	}
	return local, nil
}

// lockFolder makes the node's folder and locks it against a second process.
func (c *claim) lockFolder() error {
	if err := os.MkdirAll(c.folder, 0o700); err != nil {
		return folderError(c.folder, err)
	}
	lock, err := os.OpenFile(filepath.Join(c.folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return folderError(c.folder, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("data folder %s is in use by another process: stop it, or give this node another --data", c.folder)
	}
	c.lock = lock
	return nil
}

func folderError(folder string, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("data folder %s is not writable for this user: %w: choose another with --data", folder, err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("data folder %s is not writable: %w: choose another with --data", folder, err)
	}
	return fmt.Errorf("open data folder: %w: choose another with --data", err)
}

// socketPath is the unix socket of a node in its folder.
func socketPath(folder string) string { return filepath.Join(folder, SocketName) }

// SocketName is the unix socket in a node's folder, for commands on the same machine.
const SocketName = "tripod.sock"

// listenSocket opens the unix socket. One left by a killed process is in the way; the folder's lock says that
// it is nobody's.
func (c *claim) listenSocket() (net.Listener, error) {
	path := socketPath(c.folder)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of the socket %s is longer than %d bytes, more than the system takes: choose a shorter --data", path, maxSocketPath)
	}
	// Nobody can connect before the mode is set: the folder is closed to others.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("close socket to others: %w", err)
	}
	return l, nil
}

// maxSocketPath is what sun_path holds less its final zero, on the smallest system (unix(7)).
const maxSocketPath = 103

func (c *claim) release() {
	c.listener.Close()
	c.lock.Close()
}
