//go:build linux

package lab

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// lanSwitch is a bridge in a namespace of its own. Each host's cable is a veth pair: eth0 in the host, and a port
// with the host's name here.
type lanSwitch struct {
	ns     *namespace
	link   *netlink.Handle
	bridge *netlink.Bridge
	filter *filter
	stamps *os.File // keeps the kernel noting when packets arrive
}

func newSwitch() (*lanSwitch, error) {
	ns, err := newNamespace()
	if err != nil {
		return nil, err
	}
	s := &lanSwitch{ns: ns}
	if err := s.open(); err != nil {
		s.close()
		return nil, fmt.Errorf("make the switch: %w", err)
	}
	return s, nil
}

func (s *lanSwitch) open() error {
	// The switch has no address and no firewall for what it forwards: bridged packets bypass the tables of IP.
	err := s.ns.run(func() error {
		for name, value := range map[string]string{
			"ipv6/conf/all/disable_ipv6": "1", "ipv6/conf/default/disable_ipv6": "1",
			"bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0", "bridge/bridge-nf-call-arptables": "0",
		} {
			err := os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
			if err != nil && !(os.IsNotExist(err) && strings.HasPrefix(name, "bridge/")) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if s.link, err = netlink.NewHandleAt(netns.NsHandle(s.ns.net.Fd())); err != nil {
		return err
	}
	// Without a querier, snooping would have to guess where multicast, and so neighbour solicitations, go.
	snooping := false
	s.bridge = &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &snooping}
	s.bridge.Name = "lan"
	if err := s.link.LinkAdd(s.bridge); err != nil {
		return fmt.Errorf("add a bridge: %w", err)
	}
	if err := s.link.LinkSetUp(s.bridge); err != nil {
		return err
	}
	if err := s.stamp(); err != nil {
		return err
	}
	s.filter, err = newFilter(s.ns)
	return err
}

// plug connects a host's namespace, in which the interface eth0 appears.
func (s *lanSwitch) plug(port string, mac net.HardwareAddr, host *namespace) error {
	cable := netlink.NewVeth(netlink.NewLinkAttrs())
	cable.Name, cable.MasterIndex = port, s.bridge.Index
	cable.PeerName, cable.PeerHardwareAddr = "eth0", mac
	cable.PeerNamespace = netlink.NsFd(host.net.Fd())
	if err := s.link.LinkAdd(cable); err != nil {
		return fmt.Errorf("plug %s in: %w", port, err)
	}
	return s.set(port, true)
}

// stamp has the kernel note when packets arrive, from now on. It begins to a moment after it is first asked, so a tap
// that asked for itself would get its first packets with the time at which they were read.
func (s *lanSwitch) stamp() error {
	return s.ns.do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		s.stamps = os.NewFile(uintptr(fd), "stamps")
		return os.NewSyscallError("setsockopt SO_TIMESTAMPNS", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	})
}

// set takes a port up or down. The host at the other end gets or loses its carrier.
func (s *lanSwitch) set(port string, up bool) error {
	link, err := s.link.LinkByName(port)
	if err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	if !up {
		return s.link.LinkSetDown(link)
	}
	return s.link.LinkSetUp(link)
}

// waitState waits until the kernel has done all that follows from a change of carrier, which it does a little later:
// before that a port does not forward, and an interface loses what it is given.
func waitState(handle *netlink.Handle, name string, up bool) error {
	deadline := time.Now().Add(Patience)
	for {
		link, err := handle.LinkByName(name)
		if err != nil {
			return fmt.Errorf("interface %s: %w", name, err)
		}
		state := link.Attrs().OperState
		if (state == netlink.OperUp) == up {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("interface %s is still %s after %s", name, state, Patience)
		}
		time.Sleep(time.Millisecond)
	}
}

// unplug removes the cable, both ends.
func (s *lanSwitch) unplug(port string) error {
	link, err := s.link.LinkByName(port)
	if err != nil {
		return fmt.Errorf("port %s: %w", port, err)
	}
	return s.link.LinkDel(link)
}

// ports are the names of the ports, by interface number.
func (s *lanSwitch) ports() (map[int]string, error) {
	links, err := s.link.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list ports: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		if l.Attrs().MasterIndex == s.bridge.Index {
			names[l.Attrs().Index] = l.Attrs().Name
		}
	}
	return names, nil
}

func (s *lanSwitch) close() {
	if s.filter != nil {
		s.filter.close()
	}
	if s.stamps != nil {
		s.stamps.Close()
	}
	if s.link != nil {
		s.link.Close()
	}
	s.ns.close()
}
