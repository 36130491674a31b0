//go:build linux

package lab

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Dump logs everything that helps to understand a failure: what the story did and what the probes saw, in one
// timeline, then each host's addresses, neighbours and nftables, and the ends of the nodes' logs.
func (l *Lab) Dump() {
	l.t.Logf("timeline, in seconds:\n%s", l.Timeline())
	for _, h := range l.hosts() {
		l.t.Logf("%s", h.state())
	}
	for _, n := range l.nodes {
		if text := tail(n.logFile(), 60); text != "" {
			l.t.Logf("log of %s:\n%s", n.Name, text)
		}
	}
}

// Timeline is what the story did, and what the probes saw, with repetitions in one line.
func (l *Lab) Timeline() string {
	l.mu.Lock()
	notes, probes := slices.Clone(l.notes), slices.Clone(l.probes)
	l.mu.Unlock()
	type line struct {
		at   Moment
		text string
	}
	var lines []line
	for _, n := range notes {
		lines = append(lines, line{n.at, fmt.Sprintf("* %s: %s", n.host, n.what)})
	}
	for _, p := range probes {
		var signs []Sighting
		for _, s := range p.Sightings() {
			s.What = "claims it (first by " + s.What + ")"
			signs = append(signs, s)
		}
		var failures []Sighting
		for _, a := range p.Answers() {
			if a.Failed() {
				failures = append(failures, Sighting{From: a.Start, Until: a.End, Station: "client", What: a.Err})
			}
		}
		for _, r := range slices.Concat(runs(signs, false), runs(failures, true)) {
			lines = append(lines, line{r.From, fmt.Sprintf("  %s: %s %s, %d times until %s", p.Address, r.Station, r.What, r.times, r.Until)})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at, b.at) })
	var b strings.Builder
	for _, line := range lines {
		fmt.Fprintf(&b, "%s %s\n", line.at, line.text)
	}
	return b.String()
}

type repeated struct {
	Sighting
	times int
}

// runs puts neighbours with one station, and if asked one text, together.
func runs(list []Sighting, byText bool) []repeated {
	var all []repeated
	for _, s := range list {
		if len(all) > 0 {
			last := &all[len(all)-1]
			if last.Station == s.Station && (!byText || last.What == s.What) {
				last.times++
				last.Until = max(last.Until, s.Until)
				continue
			}
		}
		all = append(all, repeated{s, 1})
	}
	return all
}

// state describes the host's kernel.
func (h *Host) state() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s, %s, %s):", h.Name, h.IP4, h.IP6, h.MAC)
	handle, link, err := h.eth0()
	if err != nil {
		return b.String() + " " + err.Error()
	}
	fmt.Fprintf(&b, " eth0 %s, carrier %v\n", link.Attrs().OperState, h.Carrier())
	addresses, err := handle.AddrList(link, netlink.FAMILY_ALL)
	for _, a := range addresses {
		fmt.Fprintf(&b, "  address %s", a.IPNet)
		if uint32(a.ValidLft) != math.MaxUint32 {
			fmt.Fprintf(&b, ", valid for %d s", a.ValidLft)
		}
		b.WriteString("\n")
	}
	if err != nil {
		fmt.Fprintf(&b, "  addresses: %v\n", err)
	}
	neighbours, err := handle.NeighList(link.Attrs().Index, netlink.FAMILY_ALL)
	for _, n := range neighbours {
		if n.State == netlink.NUD_NOARP {
			continue // multicast
		}
		fmt.Fprintf(&b, "  neighbour %s %s, state %#x\n", n.IP, n.HardwareAddr, n.State)
	}
	if err != nil {
		fmt.Fprintf(&b, "  neighbours: %v\n", err)
	}
	b.WriteString(h.tables())
	return b.String()
}

// tables lists the host's nftables, with what is in their sets.
func (h *Host) tables() string {
	ns := h.namespace()
	if ns == nil {
		return ""
	}
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.net.Fd())))
	if err != nil {
		return fmt.Sprintf("  nftables: %v\n", err)
	}
	var b strings.Builder
	tables, err := conn.ListTables()
	for _, t := range tables {
		fmt.Fprintf(&b, "  nftables table %s, family %d\n", t.Name, t.Family)
		sets, err := conn.GetSets(t)
		for _, s := range sets {
			elements, err := conn.GetSetElements(s)
			fmt.Fprintf(&b, "    set %s: %d elements", s.Name, len(elements))
			for _, e := range elements[:min(len(elements), 10)] {
				fmt.Fprintf(&b, ", %x expires in %s", e.Key, e.Expires)
			}
			if err != nil {
				fmt.Fprintf(&b, ": %v", err)
			}
			b.WriteString("\n")
		}
		if err != nil {
			fmt.Fprintf(&b, "    sets: %v\n", err)
		}
	}
	if err != nil {
		fmt.Fprintf(&b, "  nftables: %v\n", err)
	}
	return b.String()
}

func tail(file string, lines int) string {
	text, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
