package election

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
)

// VIPConfig is one virtual IP address of the document.
type VIPConfig struct {
	Address   string `yaml:"address" required:"true" short:"true" doc:"IPv4 or IPv6 address with its prefix length, as in 10.0.0.100/24; without a prefix it is a single host."`
	Interface string `yaml:"interface" doc:"Network interface that carries the address; default is the one whose network holds it."`
	Zone      string `yaml:"zone" doc:"Zone of the nodes that should hold the address when one of them can (their --zone); others hold it when none can."`
	Preempt   bool   `yaml:"preempt" doc:"Whether the address moves back by itself: to the preferred zone, or without one to where it evens out the spread. Without it an address stays where it is while its holder is well."`
	// PreemptDelay is how long the better place must have been there; nil means DefaultPreemptDelay.
	PreemptDelay *time.Duration `yaml:"preempt_delay" default:"10s" doc:"How long the better place must have been available without a break before the address moves back."`
	OnChange     []string       `yaml:"on_change" doc:"Command and its arguments, run without a shell on a node when it begins or ceases to hold the address, with TRIPOD_VIP, TRIPOD_NODE, TRIPOD_STATE (holder or backup) and TRIPOD_EPOCH in its environment."`
}

// DefaultPreemptDelay is how long a better place must have been available before an address moves back.
const DefaultPreemptDelay = 10 * time.Second

// Wish is what the configuration asks of placement.
func (c VIPConfig) Wish(address netip.Addr) Wish {
	wish := Wish{Address: address, Zone: c.Zone, Preempt: c.Preempt, PreemptDelay: DefaultPreemptDelay}
	if c.PreemptDelay != nil {
		wish.PreemptDelay = *c.PreemptDelay
	}
	return wish
}

// FieldError is a mistake in one field of a configuration. Its message leaves the field's name out, since
// whoever shows it also knows the file, the line and the column.
type FieldError struct {
	field  string
	reason string
}

// Error says what is wrong and what would be right.
func (e *FieldError) Error() string { return e.reason }

// Field is the yaml name of the field.
func (e *FieldError) Field() string { return e.field }

// Bounds of a VIPConfig.
const (
	longestZone         = 64
	longestPreemptDelay = 24 * time.Hour
	mostWords           = 64   // of on_change
	longestWord         = 4096 // of on_change, in bytes
)

// longestInterface is the longest name that Linux allows: IFNAMSIZ less the closing zero (netdevice(7)).
const longestInterface = 15

// Validate finds what is wrong with the document's words; whether the interface exists is each node's own
// matter. The error is a *FieldError.
func (c VIPConfig) Validate() error {
	if _, err := c.Prefix(); err != nil {
		return err
	}
	name := c.Interface
	switch {
	case name == "":
	case len(name) > longestInterface:
		return &FieldError{"interface", fmt.Sprintf("%q is longer than the %d characters of an interface's name", name, longestInterface)}
	case name == "." || name == ".." || strings.ContainsAny(name, "/: \t\r\n\x00"):
		return &FieldError{"interface", fmt.Sprintf("%q is not the name of an interface, such as eth0", name)}
	}
	return c.validatePlacement()
}

// validatePlacement checks what placement and hooks are told.
func (c VIPConfig) validatePlacement() error {
	switch {
	case len(c.Zone) > longestZone || strings.ContainsFunc(c.Zone, unicode.IsControl):
		return &FieldError{"zone", fmt.Sprintf("%q is not the name of a zone: up to %d characters on one line, as in --zone", clip(c.Zone), longestZone)}
	case c.PreemptDelay != nil && (*c.PreemptDelay < 0 || *c.PreemptDelay > longestPreemptDelay):
		return &FieldError{"preempt_delay", fmt.Sprintf("%v is not between 0s and %v", *c.PreemptDelay, longestPreemptDelay)}
	case c.PreemptDelay != nil && !c.Preempt:
		return &FieldError{"preempt_delay", "has no effect without preempt: true"}
	case len(c.OnChange) > mostWords:
		return &FieldError{"on_change", fmt.Sprintf("has %d words, more than the %d allowed; put them into a script", len(c.OnChange), mostWords)}
	case len(c.OnChange) > 0 && strings.TrimSpace(c.OnChange[0]) == "":
		return &FieldError{"on_change", "the name of the command is empty"}
	case slices.ContainsFunc(c.OnChange, func(word string) bool { return len(word) > longestWord || strings.ContainsRune(word, 0) }):
		return &FieldError{"on_change", fmt.Sprintf("a word is longer than %d bytes, or has a zero byte in it", longestWord)}
	}
	return nil
}

// Prefix is the address with the length of its network's prefix; the host's bits are kept. The error is a
// *FieldError for the address.
func (c VIPConfig) Prefix() (netip.Prefix, error) {
	prefix, reason := parsePrefix(c.Address)
	if reason != "" {
		return netip.Prefix{}, &FieldError{"address", reason}
	}
	return prefix, nil
}

// parsePrefix returns the prefix, or what is wrong with the text.
func parsePrefix(text string) (netip.Prefix, string) {
	if text == "" {
		return netip.Prefix{}, "an address is missing, such as 10.0.0.100/24"
	}
	host, _, ranged := strings.Cut(text, "/")
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}, fmt.Sprintf("%q is not an IP address, such as 10.0.0.100/24 or 2001:db8::100/64", clip(text))
	}
	if address.Zone() != "" {
		return netip.Prefix{}, fmt.Sprintf("%q names an interface after %%; name it with the key interface", clip(text))
	}
	if address.Is4In6() {
		return netip.Prefix{}, fmt.Sprintf("%q is an IPv4 address in IPv6 clothes; write %s", clip(text), address.Unmap())
	}
	prefix := netip.PrefixFrom(address, address.BitLen())
	if ranged {
		if prefix, err = netip.ParsePrefix(text); err != nil {
			return netip.Prefix{}, fmt.Sprintf("%q has no prefix length between 0 and %d after the slash", clip(text), address.BitLen())
		}
	}
	return prefix, unusable(prefix)
}

// unusable says why no host can have the address, or nothing.
func unusable(prefix netip.Prefix) string {
	address := prefix.Addr()
	switch {
	case address.IsUnspecified():
		return fmt.Sprintf("%s is no host's address", address)
	case address.IsMulticast():
		return fmt.Sprintf("%s is a multicast address, which no single node can hold", address)
	case address == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Sprintf("%s is the broadcast address", address)
	case prefix.Bits() == 0:
		return fmt.Sprintf("%s puts every address into one network; give the prefix length of the node's own network", prefix)
	}
	// In an IPv4 network of more than two addresses the first and the last are not for hosts (RFC 1122
	// §3.2.1.3); in networks of two they are (RFC 3021). IPv6's first is the routers' anycast address
	// (RFC 4291 §2.6.1).
	if hostBits := address.BitLen() - prefix.Bits(); hostBits > 1 {
		if address == prefix.Masked().Addr() {
			return fmt.Sprintf("%s is the address of the network itself, not of a host in it", prefix)
		}
		if address.Is4() && isLast(address, hostBits) {
			return fmt.Sprintf("%s is the broadcast address of its network", prefix)
		}
	}
	return ""
}

// isLast tells whether the lowest bits of an IPv4 address are all ones.
func isLast(address netip.Addr, bits int) bool {
	octets := address.As4()
	value := uint32(octets[0])<<24 | uint32(octets[1])<<16 | uint32(octets[2])<<8 | uint32(octets[3])
	mask := uint32(1)<<bits - 1
	return value&mask == mask
}

// clip keeps a message on one line when somebody's value does not.
func clip(text string) string {
	const longest = 64
	if len(text) > longest {
		return strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}
