package vip

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// link is a network interface.
type link struct {
	index   int
	name    string
	mac     net.HardwareAddr
	up      bool // by the administrator
	carrier bool
	v6      bool // IPv6 is not switched off
}

// view is what the kernel says about interfaces and addresses at one time.
type view struct {
	links     []*link
	addresses []assigned
}

// look asks the kernel.
func look() (*view, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	v := &view{}
	for _, each := range links {
		attributes := each.Attrs()
		v.links = append(v.links, &link{
			index:   attributes.Index,
			name:    attributes.Name,
			mac:     attributes.HardwareAddr,
			up:      attributes.RawFlags&unix.IFF_UP != 0,
			carrier: attributes.RawFlags&unix.IFF_RUNNING != 0,
			v6:      hasIPv6(attributes.Name),
		})
	}
	slices.SortFunc(v.links, func(a, b *link) int { return strings.Compare(a.name, b.name) })
	v.addresses, err = addresses()
	return v, err
}

func hasIPv6(name string) bool {
	setting, err := os.ReadFile("/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6")
	return err == nil && strings.TrimSpace(string(setting)) == "0"
}

// names lists the interfaces, for people.
func (v *view) names() string {
	names := make([]string, 0, len(v.links))
	for _, each := range v.links {
		names = append(names, each.name)
	}
	return strings.Join(names, ", ")
}

func (v *view) link(name string) *link {
	for _, each := range v.links {
		if each.name == name {
			return each
		}
	}
	return nil
}

// find says where the VIP belongs, and why it cannot be held there now. covered: the interface has a lasting address
// in a network that holds the VIP, so that the route to it is there already. former is where it belonged before, or nil:
// an interface that goes down loses its IPv6 addresses, and with them its networks.
func (v *view) find(vip VIP, former *link, ours func(assigned) bool) (on *link, covered bool, err error) {
	address := vip.Prefix.Addr()
	best := -1
	for _, each := range v.addresses {
		if ours(each) || each.prefix.Addr() == address || !each.prefix.Masked().Contains(address) {
			continue
		}
		for _, candidate := range v.links {
			if candidate.index != each.index || vip.Interface != "" && candidate.name != vip.Interface {
				continue
			}
			if each.prefix.Bits() > best {
				on, covered, best = candidate, true, each.prefix.Bits()
			}
		}
	}
	if on == nil && vip.Interface != "" {
		on = v.link(vip.Interface)
	}
	if on == nil && former != nil {
		if again := v.link(former.name); again != nil && !(again.up && again.carrier) {
			on = again
		}
	}
	switch {
	case on == nil && vip.Interface != "":
		return nil, false, fmt.Errorf("vip %s: interface %s not found (have %s)", address, vip.Interface, v.names())
	case on == nil:
		return nil, false, fmt.Errorf("vip %s: outside every local network; name its interface in the document (have %s)", address, v.networks())
	case !on.up:
		return on, covered, fmt.Errorf("vip %s: interface %s is down", address, on.name)
	case !on.carrier:
		return on, covered, fmt.Errorf("vip %s: interface %s has no carrier", address, on.name)
	case address.Is6() && !on.v6:
		return on, covered, fmt.Errorf("vip %s: IPv6 is off on interface %s (sysctl net.ipv6.conf.%s.disable_ipv6)", address, on.name, on.name)
	}
	return on, covered, nil
}

// networks lists the local networks, for people.
func (v *view) networks() string {
	var list []string
	for _, each := range v.links {
		for _, a := range v.addresses {
			if a.index == each.index && !a.prefix.Addr().IsLinkLocalUnicast() {
				list = append(list, each.name+" "+a.prefix.String())
			}
		}
	}
	return strings.Join(list, ", ")
}

// own returns an address of the interface by which it may ask for neighbours instead of the VIP; if it has none, the
// unspecified one, as in RFC 5227 §2.1.1. For IPv6 there is a link-local one.
func (v *view) own(on *link, address netip.Addr, vips map[netip.Addr]*place) netip.Addr {
	choice := netip.IPv4Unspecified()
	if address.Is6() {
		choice = netip.Addr{}
	}
	best := -1
	for _, each := range v.addresses {
		candidate := each.prefix.Addr()
		if each.index != on.index || candidate.Is6() != address.Is6() || vips[candidate] != nil {
			continue
		}
		score := 0
		if each.prefix.Masked().Contains(address) {
			score = 2
		} else if candidate.IsLinkLocalUnicast() {
			score = 1
		}
		if score > best {
			choice, best = candidate, score
		}
	}
	return choice
}
