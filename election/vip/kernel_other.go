//go:build !linux

package vip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"time"
)

// Kernel cannot hold VIPs on this operating system: it needs Linux. Everything but New, Close and what only lists
// fails with ErrUnsupported.
type Kernel struct{}

// New makes a Kernel.
func New(Options) *Kernel { return &Kernel{} }

func unsupported() error {
	return fmt.Errorf("virtual IP addresses on a network need Linux, this is %s: %w", runtime.GOOS, ErrUnsupported)
}

// Open fails.
func (*Kernel) Open(context.Context) error { return unsupported() }

// Close does nothing.
func (*Kernel) Close(context.Context) error { return nil }

// Guarded is false.
func (*Kernel) Guarded() bool { return false }

// Silence is 0: nothing is answered for.
func (*Kernel) Silence() time.Duration { return 0 }

// Changed is never signalled.
func (*Kernel) Changed() <-chan struct{} { return nil }

// Configure fails if there are any.
func (*Kernel) Configure(vips []VIP) error {
	if len(vips) == 0 {
		return nil
	}
	return unsupported()
}

// Ready fails.
func (*Kernel) Ready(netip.Addr) error { return unsupported() }

// Take fails.
func (*Kernel) Take(netip.Addr, time.Duration) error { return unsupported() }

// Renew fails.
func (*Kernel) Renew(netip.Addr, time.Duration) error { return unsupported() }

// Drop does nothing.
func (*Kernel) Drop(netip.Addr) error { return nil }

// Clashes is empty.
func (*Kernel) Clashes() []Clash { return nil }

// Flows fails.
func (*Kernel) Flows(netip.Addr) ([]Flow, error) { return nil, unsupported() }

// Prepare fails.
func (*Kernel) Prepare(netip.Addr, time.Duration) (Handover, error) { return Handover{}, unsupported() }

// Unprepare does nothing.
func (*Kernel) Unprepare(netip.Addr) {}

// Linger fails.
func (*Kernel) Linger(netip.Addr, time.Duration) (Handover, error) { return Handover{}, unsupported() }

// Lingering is empty.
func (*Kernel) Lingering() []Draining { return nil }

// Replay does nothing.
func (*Kernel) Replay(netip.Addr, net.HardwareAddr) error { return nil }

// MAC fails.
func (*Kernel) MAC(netip.Addr) (net.HardwareAddr, error) { return nil, unsupported() }

// Forward fails.
func (*Kernel) Forward(Handover) error { return unsupported() }
