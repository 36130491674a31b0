//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Host is a machine on the LAN: a network namespace with the interfaces lo and eth0, and a mount namespace in
// which /sys is its own. Everything else it shares with the machine that runs the test.
type Host struct {
	Name     string
	IP4, IP6 netip.Addr // on eth0, which also has a link-local address
	MAC      net.HardwareAddr

	lab  *Lab
	mu   sync.Mutex
	ns   *namespace // nil while powered off
	link *netlink.Handle
}

// Both networks of the LAN. A host has the same last number in both, as it is written.
const (
	bits4 = 24
	bits6 = 64
)

func address4(number int) netip.Addr { return netip.AddrFrom4([4]byte{10, 77, 0, byte(number)}) }
func address6(number int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("fd77::%d", number)) }

func newHost(l *Lab, name string, number int) *Host {
	return &Host{
		lab: l, Name: name, IP4: address4(number), IP6: address6(number),
		MAC: net.HardwareAddr{0x02, 0x77, 0, 0, 0, byte(number)},
	}
}

// boot makes the namespaces and plugs the cable in.
func (h *Host) boot() error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	link, err := netlink.NewHandleAt(netns.NsHandle(ns.net.Fd()))
	if err != nil {
		ns.close()
		return fmt.Errorf("%s: open netlink: %w", h.Name, err)
	}
	h.mu.Lock()
	h.ns, h.link = ns, link
	h.mu.Unlock()
	if err := h.lab.lan.plug(h.Name, h.MAC, ns); err != nil {
		return err
	}
	for _, name := range []string{"lo", "eth0"} {
		l, err := link.LinkByName(name)
		if err == nil {
			err = link.LinkSetUp(l)
		}
		if err != nil {
			return fmt.Errorf("%s: interface %s: %w", h.Name, name, err)
		}
	}
	if err := h.waitCarrier(true); err != nil {
		return err
	}
	for _, prefix := range []netip.Prefix{netip.PrefixFrom(h.IP4, bits4), netip.PrefixFrom(h.IP6, bits6)} {
		if err := h.addAddress(prefix); err != nil {
			return err
		}
	}
	return nil
}

// waitCarrier waits until both ends of the cable know.
func (h *Host) waitCarrier(on bool) error {
	if err := waitState(h.lab.lan.link, h.Name, on); err != nil {
		return fmt.Errorf("the switch's port of %s: %w", h.Name, err)
	}
	if err := waitState(h.netlink(), "eth0", on); err != nil {
		return fmt.Errorf("%s: %w", h.Name, err)
	}
	return nil
}

// halt takes the host off the LAN first, so that nothing that its end causes is seen there, ends all its processes, and
// lets its kernel's state go.
func (h *Host) halt() error {
	ns, link := h.namespace(), h.netlink()
	if ns == nil {
		return nil
	}
	err := errors.Join(h.lab.lan.set(h.Name, false), killAll(ns.inode), h.lab.lan.unplug(h.Name))
	h.mu.Lock()
	h.ns, h.link = nil, nil
	h.mu.Unlock()
	link.Close()
	ns.close()
	return err
}

func (h *Host) namespace() *namespace {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ns
}

func (h *Host) netlink() *netlink.Handle {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.link
}

// Do runs f on a thread in the host's network namespace, and returns what f returns. Sockets that f makes stay
// the host's. f must not call Fatal, and what it starts in other goroutines is not in the host.
func (h *Host) Do(f func() error) error {
	ns := h.namespace()
	if ns == nil {
		return fmt.Errorf("%s: %w", h.Name, errPoweredOff)
	}
	return ns.do(f)
}

// Dial connects from the host to an address given in numbers; there is no DNS on the LAN.
func (h *Host) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dialFrom(ctx, nil, network, address)
}

// dialFrom is Dial from one of the host's addresses; nil: whichever the kernel takes.
func (h *Host) dialFrom(ctx context.Context, from net.Addr, network, address string) (net.Conn, error) {
	var conn net.Conn
	err := h.Do(func() (err error) {
		conn, err = (&net.Dialer{LocalAddr: from}).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens on the host.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	var listener net.Listener
	err := h.Do(func() (err error) {
		listener, err = net.Listen(network, address)
		return err
	})
	return listener, err
}

// Spawn starts a process on the host. It ends with the host at the latest.
func (h *Host) Spawn(cmd *exec.Cmd) error {
	ns := h.namespace()
	if ns == nil {
		return fmt.Errorf("start %s on %s: %w", cmd.Path, h.Name, errPoweredOff)
	}
	if err := ns.start(cmd); err != nil {
		return fmt.Errorf("start %s on %s: %w", cmd.Path, h.Name, err)
	}
	return nil
}

// Run runs a command on the host to its end, within Patience, and returns what it said on standard output.
func (h *Host) Run(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := h.Spawn(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s on %s: %w: %s", strings.Join(cmd.Args, " "), h.Name, err, errs.String())
	}
	return out.String(), nil
}

// eth0 returns the interface and a way to change it.
func (h *Host) eth0() (*netlink.Handle, netlink.Link, error) {
	handle := h.netlink()
	if handle == nil {
		return nil, nil, fmt.Errorf("%s: %w", h.Name, errPoweredOff)
	}
	link, err := handle.LinkByName("eth0")
	if err != nil {
		return nil, nil, fmt.Errorf("%s: eth0: %w", h.Name, err)
	}
	return handle, link, nil
}

// addAddress gives eth0 one more address, which can be used at once: IPv6 is told not to look for duplicates.
func (h *Host) addAddress(prefix netip.Prefix) error {
	handle, link, err := h.eth0()
	if err != nil {
		return err
	}
	ip := &net.IPNet{IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen())}
	address := &netlink.Addr{IPNet: ip}
	if prefix.Addr().Is6() {
		address.Flags = unix.IFA_F_NODAD
	}
	if err := handle.AddrAdd(link, address); err != nil {
		return fmt.Errorf("%s: add %s: %w", h.Name, prefix, err)
	}
	return nil
}

func (h *Host) removeAddress(ip netip.Addr) error {
	handle, link, err := h.eth0()
	if err != nil {
		return err
	}
	list, err := handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("%s: list addresses: %w", h.Name, err)
	}
	for _, a := range list {
		if one, ok := netip.AddrFromSlice(a.IP); ok && one.Unmap() == ip {
			if err := handle.AddrDel(link, &a); err != nil {
				return fmt.Errorf("%s: remove %s: %w", h.Name, ip, err)
			}
			return nil
		}
	}
	return fmt.Errorf("%s: remove %s: eth0 does not have it", h.Name, ip)
}

// Addresses are the addresses of eth0 now.
func (h *Host) Addresses() ([]netip.Addr, error) {
	handle, link, err := h.eth0()
	if err != nil {
		return nil, err
	}
	list, err := handle.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("%s: list addresses: %w", h.Name, err)
	}
	var addresses []netip.Addr
	for _, a := range list {
		if one, ok := netip.AddrFromSlice(a.IP); ok {
			addresses = append(addresses, one.Unmap())
		}
	}
	return addresses, nil
}

// Has says whether eth0 has the address now.
func (h *Host) Has(ip netip.Addr) bool {
	addresses, err := h.Addresses()
	return err == nil && slices.Contains(addresses, ip)
}

// Carrier says whether eth0 has a signal.
func (h *Host) Carrier() bool {
	_, link, err := h.eth0()
	return err == nil && link.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
}
