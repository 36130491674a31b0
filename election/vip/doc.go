// Package vip is the kernel's side of a virtual IP address (VIP): it makes this host answer for an address, sees to it that the
// kernel stops by itself when the right to it ends, and moves the address without breaking connections. Who has the right is not
// decided here but in package election.
//
// It needs Linux, CAP_NET_ADMIN and CAP_NET_RAW; Open says how to get them. Elsewhere everything fails with ErrUnsupported. Everything that
// it puts into the kernel is marked as its own: addresses by IFA_PROTO 0x54, and nftables tables by the name "tripod", in
// the families inet, arp and netdev. It touches no other. One process per network namespace may use it.
//
// # Holding
//
// Configure names the VIPs. Take begins to answer for one, Renew moves the end of the right, Drop stops. All rights are given as
// moments on Options.Clock, not as durations: a process can be stopped between any two instructions.
//
// An address gets a lifetime of a few seconds in the kernel, which is renewed once a second; it is never a preferred source
// address, and IPv6 does no duplicate address detection. Where the interface's own network holds the address it is added as /32 or /128, so that
// it neither depends on the interface's primary address nor takes that along. It is announced at once, four times more
// within a second, and then every few seconds, by gratuitous ARP or unsolicited neighbour advertisements. As often the
// network is asked whether another station has it. An address that somebody removed is put back.
//
// # The guard
//
// For every configured VIP, whether held or not, nftables drops
//
//   - ARP packets of this host, replies and requests alike, with the VIP as sender, on all interfaces;
//   - neighbour advertisements for it, and neighbour solicitations from it;
//   - packets that arrive for it, from this host too;
//
// unless the address is in a set whose element has a timeout. Silence is the normal state, and holding the exception
// that runs out, whatever becomes of the process. Requests count because they tell their readers where their sender
// is. So do our own announcements, which go past the hooks for ARP; they are caught where frames leave the
// interface (netdev egress, Linux 5.16; without it a process that is stopped in the very moment before it announces
// would do so when it runs again). Only packets for this host are dropped, so that a router still passes on those for a VIP that
// another node holds. What is redirected before (DNAT of published container ports) is not guarded.
//
// The element's timeout never exceeds the right:
//
//	G1  A ticket, an element that expires after 20 ms, is put into the kernel; then the clock is read.
//	G2  One transaction deletes the ticket and the VIP's old elements, and adds new ones with timeout (until − now − 20 ms) × 0.9.
//	G3  If the ticket has expired, the transaction fails as a whole, and all begins again.
//
// A transaction that succeeds was made at most 20 ms after the clock was read (G1, G3), so the element's end lies before the right's. The
// tenth is for the kernel's clock, which may be slowed by that much (adjtimex(2)) while the Holder's is not; and
// the kernel rounds timeouts down to its ticks. Packets see the old elements or the new ones, never none. In the case of a
// right of 400 ms the kernel is silent 342 ms after the last renewal, unless renewed.
//
// At Take the address is added under the closed guard, then the guard opens, then it is announced; at Drop the guard closes first. Tables that
// somebody flushed are built anew at the next renewal. A machine that was suspended counts an element's rest when it wakes up; then
// the Holder's clock, which counts that sleep, makes it drop within 25 ms. Without nf_tables Guarded is false, and
// Silence says how much longer others must wait: until the address's own lifetime has ended.
//
// # Moving without a reset
//
//	former holder   Prepare → Handover 1 (nothing changes; takes long only with many connections; may be left out)
//	next holder               Forward(Handover 1)
//	former holder   Linger  → Handover 2 (instead of Drop; in less than a millisecond after Prepare)
//	next holder               Forward(Handover 2), then Take
//	former holder   Replay, when the next one has said that it holds
//
// Lingering means: the address stays, silent in ARP and neighbour discovery; packets of the established connections are let
// in, all others dropped; the kernel asks for its neighbours with another address of the interface as sender. Connections that begin while the
// others are listed are remembered by the packet path itself, so that nothing need be refused meanwhile. Programs on
// the host itself go on to reach the VIP there. It ends with the last connection, or at the limit, when the rest is reset on both sides.
//
// The next holder's interface sends frames of those connections on to the former holder, before the kernel sees them (netdev ingress, fwd): with the
// former holder's Ethernet address as destination and its own as source, lest switches learn the client in the wrong place. Answers go
// to the client directly. A connection is forgotten when its client opens a new one from the same port, or at the limit.
// Only TCP is moved. If the old holder dies, only those connections are lost.
//
// SYNs that arrive at the former holder from the moment at which it closes the guard are kept, and Replay sends them to the next one with
// the same change of addresses; for 2 s more others follow them at once. So new connections wait for the next holder, and no longer. Without
// Replay their clients would repeat the SYN after a second. Why each SYN is answered by one node only is argued at the type catch. Other packets of
// these connections are not passed on: their clients have learnt of the next holder before they get its answer, since
// that announces itself first; a client that misses the announcement is delayed by a repetition (200 ms in Linux).
package vip
