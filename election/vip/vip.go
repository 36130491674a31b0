package vip

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// VIP is an address that the node may be asked to hold.
type VIP struct {
	// Prefix is the address with the length of its network's prefix.
	Prefix netip.Prefix
	// Interface is where it goes; "" means the one whose network holds the address.
	Interface string
}

// Options of a Kernel. The zero value is usable.
type Options struct {
	// Hold is the longest time that a right lasts; 0 means 400 ms. The lifetime of the address in the kernel is
	// a few seconds more than this.
	Hold time.Duration
	// Clock is what deadlines are measured on; it must be the same function that the Holder has. nil means election.Clock().
	Clock func() time.Duration
	// AnnounceEvery is the time between two announcements of a held address, and between two probes for
	// conflicts, after the first few; 0 means 5 s.
	AnnounceEvery time.Duration
	// Event is told what happens, from several goroutines, never while a lock is held. It must not block; nil is
	// allowed.
	Event func(Event)
	// Log may be nil.
	Log *slog.Logger
}

// Defaults of Options.
const (
	DefaultHold          = 400 * time.Millisecond
	DefaultAnnounceEvery = 5 * time.Second
)

// Kind says what an Event is about.
type Kind string

// What happens to an address besides what it was asked for.
const (
	// Conflict: another station answers for an address that this node holds. MAC is its Ethernet address.
	Conflict Kind = "conflict"
	// Restored: somebody removed a held address from the interface, and it has been put back.
	Restored Kind = "restored"
	// Lost: a held address is gone and cannot be put back; Reason says why. It is tried again when something changes.
	Lost Kind = "lost"
	// Unready and Ready: Ready(Address) has begun to say something else. Reason is what it says.
	Unready Kind = "unready"
	Ready   Kind = "ready"
	// Lingered: the last old connection after a move has ended, or was closed at the limit. Flows is how many were closed.
	Lingered Kind = "lingered"
	// Guarding and Unguarded: the kernel's guard was put back after somebody removed it, or cannot be.
	Guarding  Kind = "guarding"
	Unguarded Kind = "unguarded"
)

// Event is something that happened to one address.
type Event struct {
	Kind      Kind             `json:"kind"`
	Address   netip.Addr       `json:"address"`
	Interface string           `json:"interface,omitempty"`
	MAC       net.HardwareAddr `json:"mac,omitempty"`
	Flows     int              `json:"flows,omitempty"`
	Reason    string           `json:"reason,omitempty"`
}

// What callers may want to tell apart.
var (
	// ErrLate: the right ended before the kernel could be told of it. Nothing was opened.
	ErrLate = errors.New("the right ended before the kernel could be told")
	// ErrUnknown: the address is not among those that Configure was given.
	ErrUnknown = errors.New("this vip was not configured")
	// ErrNotHeld: the address was not taken.
	ErrNotHeld = errors.New("this vip is not held")
	// ErrCapability: the process may not do what it must; the message names the capability.
	ErrCapability = errors.New("a capability is missing")
	// ErrUnsupported: the kernel, or this operating system, does not offer what is needed.
	ErrUnsupported = errors.New("not supported here")
	// ErrForeign: the address is on an interface already, and was not put there by this program.
	ErrForeign = errors.New("the address was configured by somebody else")
	// ErrClosed: the Kernel is not open.
	ErrClosed = errors.New("not open")
)

// Clash is another station that answers for an address that this node holds.
type Clash struct {
	Address   netip.Addr       `json:"address"`
	Interface string           `json:"interface"`
	MAC       net.HardwareAddr `json:"mac"`
	First     time.Time        `json:"first"`
	Last      time.Time        `json:"last"`
}

// Draining is an address whose old connections go on here after it has moved.
type Draining struct {
	Address netip.Addr `json:"address"`
	Flows   int        `json:"flows"` // as last counted, about once a second
	Until   time.Time  `json:"until"` // when the rest is closed
}
