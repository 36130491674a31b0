package rule

import (
	"fmt"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// Networks is a set of addresses, made from networks and single addresses. The zero value is empty.
type Networks struct{ spans []span } // sorted, none touching another of its family

// span is a range of addresses of one family, both ends with it.
type span struct{ from, to netip.Addr }

// ParseNetworks reads networks such as 10.0.0.0/8 and addresses. An error is a *FieldError about the first bad item, by
// its index.
func ParseNetworks(list []string) (Networks, error) {
	spans := make([]span, 0, len(list))
	for i, text := range list {
		p, err := parseNetwork(text)
		if err != nil {
			return Networks{}, errorf(index(i), "%s", err)
		}
		spans = append(spans, span{p.Addr(), lastOf(p)})
	}
	slices.SortFunc(spans, func(a, b span) int { return a.from.Compare(b.from) })
	merged := spans[:0]
	for _, s := range spans {
		if n := len(merged); n > 0 && merged[n-1].to.Compare(s.from) >= 0 {
			if s.to.Compare(merged[n-1].to) > 0 {
				merged[n-1].to = s.to
			}
			continue
		}
		merged = append(merged, s)
	}
	return Networks{merged}, nil
}

// Contains tells whether an address is in the set. An IPv4 address in IPv6 clothes counts as what it is, and a zone counts for
// nothing.
func (n Networks) Contains(a netip.Addr) bool {
	if len(n.spans) == 0 || !a.IsValid() {
		return false
	}
	a = a.Unmap().WithZone("")
	i := sort.Search(len(n.spans), func(i int) bool { return a.Compare(n.spans[i].from) < 0 })
	return i > 0 && a.Compare(n.spans[i-1].to) <= 0 && a.BitLen() == n.spans[i-1].from.BitLen()
}

// Empty tells whether nothing is in the set.
func (n Networks) Empty() bool { return len(n.spans) == 0 }

// parseNetwork reads a network or an address. Bits behind the prefix are a mistake: whoever wrote them meant either the one
// host or another network.
func parseNetwork(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		switch {
		case err != nil:
			return netip.Prefix{}, fmt.Errorf("%q is no network and no address: write it as 10.0.0.0/8, 2001:db8::/32 or 10.1.2.3", shorten(text))
		case a.Zone() != "":
			return netip.Prefix{}, fmt.Errorf("%q has a zone: leave it out", shorten(text))
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		address, bits, _ := strings.Cut(text, "/")
		a, err := netip.ParseAddr(address)
		switch {
		case err != nil:
			return netip.Prefix{}, fmt.Errorf("%q is no network: %q is no address", shorten(text), shorten(address))
		case a.Zone() != "":
			return netip.Prefix{}, fmt.Errorf("%q has a zone: leave it out", shorten(text))
		}
		if mask, err := netip.ParseAddr(bits); err == nil && mask.Is4() && a.Is4() {
			if ones, ok := maskBits(mask); ok {
				return netip.Prefix{}, fmt.Errorf("%q has a netmask: did you mean %s?", shorten(text), netip.PrefixFrom(a, ones).Masked())
			}
		}
		return netip.Prefix{}, fmt.Errorf("%q is no network: the number after the / is from 0 to %d", shorten(text), a.BitLen())
	}
	if p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q is an IPv4 network written as IPv6: write it as IPv4", shorten(text))
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its /%d: did you mean the network %s, or the address %s?", text, p.Bits(), p.Masked(), p.Addr())
	}
	return p, nil
}

// maskBits counts the ones of a netmask such as 255.255.0.0.
func maskBits(mask netip.Addr) (int, bool) {
	b := mask.As4()
	bits := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	ones := 0
	for bits&(1<<31) != 0 {
		ones, bits = ones+1, bits<<1
	}
	return ones, bits == 0
}

// lastOf is the highest address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
