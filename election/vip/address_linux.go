package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

const (
	// addressMark is our value of IFA_PROTO (Linux 5.18, "ip -d address": proto 0x54), by which a
	// process knows what an earlier one left behind. The kernel's own are 1 to 3; keepalived's is 18.
	addressMark = 0x54
	ifaProto    = 11 // IFA_PROTO, linux/if_addr.h
)

// assigned is an address on an interface.
type assigned struct {
	index  int
	prefix netip.Prefix
	proto  byte
	valid  time.Duration // in whole seconds; -1 is for ever
}

// forEver is how the kernel writes a lifetime without end.
const forEver = ^uint32(0)

// ours tells whether this program put the address there. Kernels that do not keep the mark show a short
// lifetime, as nobody else gives.
func (a assigned) ours(longest time.Duration) bool {
	return a.proto == addressMark || a.proto == 0 && a.valid >= 0 && a.valid <= longest
}

// addresses lists all addresses of all interfaces.
func addresses() ([]assigned, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETADDR, unix.NLM_F_DUMP)
	request.AddData(nl.NewIfAddrmsg(unix.AF_UNSPEC))
	var messages [][]byte
	var err error
	for range 3 {
		messages, err = request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWADDR)
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	list := make([]assigned, 0, len(messages))
	for _, message := range messages {
		if a, ok := parseAddress(message); ok {
			list = append(list, a)
		}
	}
	return list, nil
}

func parseAddress(message []byte) (a assigned, ok bool) {
	if len(message) < unix.SizeofIfAddrmsg {
		return a, false
	}
	a.index = int(binary.NativeEndian.Uint32(message[4:]))
	a.valid = -1
	var local, remote netip.Addr
	attributes(message[unix.SizeofIfAddrmsg:], func(kind uint16, value []byte) {
		switch kind {
		case unix.IFA_LOCAL:
			local, _ = netip.AddrFromSlice(value)
		case unix.IFA_ADDRESS:
			remote, _ = netip.AddrFromSlice(value)
		case ifaProto:
			if len(value) > 0 {
				a.proto = value[0]
			}
		case unix.IFA_CACHEINFO:
			if len(value) >= 8 {
				if valid := binary.NativeEndian.Uint32(value[4:]); valid != forEver {
					a.valid = time.Duration(valid) * time.Second
				}
			}
		}
	})
	if !local.IsValid() {
		local = remote // IPv6 has no IFA_LOCAL unless there is a peer
	}
	if !local.IsValid() {
		return a, false
	}
	a.prefix = netip.PrefixFrom(local, int(message[1]))
	return a, true
}

// assign puts the address on the interface, or renews its lifetime.
//
// It is never preferred, so that IPv6 does not choose it as the source of what this host sends of its own
// accord (RFC 6724 rule 3), and IPv6 does no duplicate address detection (RFC 4862 §5.4), which would take a
// second; who holds the address has been decided otherwise.
func assign(index int, prefix netip.Prefix, valid time.Duration) error {
	request := nl.NewNetlinkRequest(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	header(request, index, prefix)
	flags := uint32(unix.IFA_F_NODAD)
	if prefix.IsSingleIP() {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	request.AddData(nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	lives := make([]byte, 16) // preferred, valid, and two times that are not for us to set
	binary.NativeEndian.PutUint32(lives[4:], uint32(valid/time.Second))
	request.AddData(nl.NewRtAttr(unix.IFA_CACHEINFO, lives))
	request.AddData(nl.NewRtAttr(ifaProto, []byte{addressMark}))
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// settled waits until packets for the address are taken in. The kernel adds the route of an IPv6 address, and joins the group in which
// neighbours ask for it, in a worker of its own (addrconf_dad_work), soon after the address is there.
func settled(address netip.Addr) {
	if address.Is4() {
		return
	}
	for end := time.Now().Add(longestSettling); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		routes, err := netlink.RouteGet(address.AsSlice())
		if err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL {
			return
		}
	}
}

// longestSettling is far more than it takes; after that, announcing is better than waiting.
const longestSettling = 30 * time.Millisecond

// unassign takes the address off the interface; that it is not there is no error.
func unassign(index int, prefix netip.Prefix) error {
	request := nl.NewNetlinkRequest(unix.RTM_DELADDR, unix.NLM_F_ACK)
	header(request, index, prefix)
	_, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func header(request *nl.NetlinkRequest, index int, prefix netip.Prefix) {
	family := unix.AF_INET
	if prefix.Addr().Is6() {
		family = unix.AF_INET6
	}
	message := nl.NewIfAddrmsg(family)
	message.Index = uint32(index)
	message.Prefixlen = uint8(prefix.Bits())
	request.AddData(message)
	request.AddData(nl.NewRtAttr(unix.IFA_LOCAL, prefix.Addr().AsSlice()))
	request.AddData(nl.NewRtAttr(unix.IFA_ADDRESS, prefix.Addr().AsSlice()))
}
