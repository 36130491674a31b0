//go:build linux

package lab

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tripod/election"
)

// Probe watches an address, from before the faults to after them. From the client it sends a request every few
// milliseconds, each on a new connection; from the watcher it asks as often, by ARP or neighbour solicitation, who has the
// address; and at the switch it notes everybody who claims to.
type Probe struct {
	// Address is what is watched.
	Address netip.Addr

	lab     *Lab
	options probeOptions
	tap     *tap
	asker   *os.File
	stop    chan struct{}
	once    sync.Once
	work    sync.WaitGroup

	mu        sync.Mutex
	answers   []Answer // in the order in which they ended
	sightings []Sighting
	asked     int
	askFailed error
}

type probeOptions struct {
	every   time.Duration
	timeout time.Duration
	port    int
	host    string
}

// ProbeOption changes what a Probe does.
type ProbeOption func(*probeOptions)

// Every sets how often it asks; the default is every 5 ms.
func Every(d time.Duration) ProbeOption { return func(o *probeOptions) { o.every = d } }

// Timeout sets after how long a request has failed; the default is 250 ms.
func Timeout(d time.Duration) ProbeOption { return func(o *probeOptions) { o.timeout = d } }

// Port sets the port of the requests; the default is 80.
func Port(port int) ProbeOption { return func(o *probeOptions) { o.port = port } }

// HostHeader sets the Host of the requests; the default is "lab".
func HostHeader(host string) ProbeOption { return func(o *probeOptions) { o.host = host } }

// Probe starts to watch an address. It ends with the test, or by Stop.
func (l *Lab) Probe(address string, opts ...ProbeOption) *Probe {
	l.t.Helper()
	ip, err := netip.ParseAddr(address)
	if err != nil {
		l.t.Fatalf("probe: %v", err)
	}
	p := &Probe{
		Address: ip, lab: l, stop: make(chan struct{}),
		options: probeOptions{every: 5 * time.Millisecond, timeout: 250 * time.Millisecond, port: 80, host: "lab"},
	}
	for _, o := range opts {
		o(&p.options)
	}
	if p.tap, err = openTap(l, ip, p.see); err != nil {
		l.t.Fatalf("probe: %v", err)
	}
	if p.asker, err = openAsker(l.Watcher); err != nil {
		p.tap.close()
		l.t.Fatalf("probe: %v", err)
	}
	p.work.Go(p.tap.run)
	p.work.Go(p.ask)
	p.work.Go(p.request)
	l.mu.Lock()
	l.probes = append(l.probes, p)
	l.mu.Unlock()
	return p
}

// Stop ends the watching, and waits for the requests under way. What was seen stays.
func (p *Probe) Stop() {
	p.once.Do(func() {
		close(p.stop)
		p.tap.close()
	})
	p.work.Wait()
}

func (p *Probe) see(s Sighting) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sightings = append(p.sightings, s)
}

// openAsker makes a socket that sends frames from a host.
func openAsker(h *Host) (*os.File, error) {
	_, link, err := h.eth0()
	if err != nil {
		return nil, err
	}
	var file *os.File
	err = h.Do(func() error {
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0) // 0: sends only
		if err != nil {
			return os.NewSyscallError("socket", err)
		}
		file = os.NewFile(uintptr(fd), "asker")
		return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: link.Attrs().Index}))
	})
	return file, err
}

// ask asks who has the address, again and again.
func (p *Probe) ask() {
	defer p.asker.Close()
	frame := question(p.lab.Watcher, p.Address)
	p.beat(func() {
		_, err := p.asker.Write(frame)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked++
		if err != nil {
			p.askFailed = err
		}
	})
}

// beat calls f in the probe's rhythm until Stop. A beat that is late is made up for, not left out.
func (p *Probe) beat(f func()) {
	start := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := 1; ; i++ {
		select {
		case <-p.stop:
			return
		case <-timer.C:
		}
		f()
		timer.Reset(time.Until(start.Add(time.Duration(i) * p.options.every)))
	}
}

// Condition is what WaitHolder asks of the holder.
type Condition func(*Node) bool

// Not is any other node.
func Not(other *Node) Condition { return func(n *Node) bool { return n != other } }

// Is is this node.
func Is(one *Node) Condition { return func(n *Node) bool { return n == one } }

// WaitHolder waits until a node that meets the conditions has answered a request that was sent after this call, and
// returns it: who holds the address by the probe's own eyes.
func (p *Probe) WaitHolder(conditions ...Condition) *Node {
	p.lab.t.Helper()
	since := p.lab.Now()
	var holder *Node
	p.lab.Wait("a holder of "+p.Address.String(), func() error {
		answers := p.Answers()
		for i := len(answers) - 1; i >= 0 && answers[i].End > since; i-- {
			a := answers[i]
			if a.Failed() || a.Start < since {
				continue
			}
			if holder = p.lab.Named(a.Node); holder == nil {
				return fmt.Errorf("%q answers, which is no node", a.Node)
			}
			for _, meets := range conditions {
				if !meets(holder) {
					return fmt.Errorf("%s answers", holder.Name)
				}
			}
			return nil
		}
		return fmt.Errorf("no request was answered")
	})
	return holder
}

// WaitNobody waits until requests have gone without an answer for longer than a right to hold lasts.
func (p *Probe) WaitNobody() {
	p.lab.t.Helper()
	since := p.lab.Now()
	p.lab.Wait("nobody to answer for "+p.Address.String(), func() error {
		answers := p.Answers()
		for i := len(answers) - 1; i >= 0; i-- {
			if a := answers[i]; !a.Failed() {
				since = max(since, a.End)
				break
			}
		}
		if quiet := p.lab.Now().Sub(since); quiet < 2*election.DefaultHold {
			return fmt.Errorf("an answer %s ago", quiet)
		}
		return nil
	})
}

// Sightings are all signs so far that somebody has the address, with the answers to requests among them, in the order
// of their beginnings.
func (p *Probe) Sightings() []Sighting {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.sightings)
	for _, a := range p.answers {
		if !a.Failed() {
			all = append(all, Sighting{From: a.Start, Until: a.End, Station: a.Node, What: "HTTP answer"})
		}
	}
	slices.SortStableFunc(all, func(a, b Sighting) int { return cmp.Compare(a.From, b.From) })
	return all
}

// Stations are the hosts that claimed the address, on the wire or by answering requests, after a moment.
func (p *Probe) Stations(after Moment) []string {
	var names []string
	for _, s := range p.Sightings() {
		if s.From > after && !slices.Contains(names, s.Station) {
			names = append(names, s.Station)
		}
	}
	slices.Sort(names)
	return names
}

// NeverTwoAnswering fails the test unless everything that was seen fits the holders that the address's record named in
// etcd, in their order: once a holder was seen, none before it was seen again, by ARP, by neighbour discovery, by
// a new connection or by HTTP.
func (p *Probe) NeverTwoAnswering() {
	p.lab.t.Helper()
	holders, err := p.lab.Epochs(p.Address.String())
	if err != nil {
		p.lab.t.Errorf("never two answering: %v", err)
		return
	}
	p.OnlyInOrder(holders...)
}

// OnlyInOrder is NeverTwoAnswering with holders that the story knows.
func (p *Probe) OnlyInOrder(holders ...string) {
	p.lab.t.Helper()
	if err := p.check(holders); err != nil {
		p.lab.t.Errorf("%s: %v", p.Address, err)
	}
}

func (p *Probe) check(holders []string) error {
	p.mu.Lock()
	failed, heard := p.askFailed, false
	for _, s := range p.sightings {
		heard = heard || strings.Contains(s.What, "ARP") || strings.Contains(s.What, "neighbour")
	}
	p.mu.Unlock()
	if failed != nil {
		return fmt.Errorf("the probe could not ask: %w", failed)
	}
	if !heard {
		return fmt.Errorf("nobody ever claimed it on the wire: nothing is proved")
	}
	return checkReigns(p.Sightings(), holders)
}
