// Package resolve asks name servers for the addresses of servers, and again when what they said expires.
//
// # What is asked
//
// A host's name stands for its A and its AAAA records; both are asked for, and both are used. A name of SRV records stands for the hosts
// that these name, with their ports and weights: the records of the lowest priority of which a host has an address come first, all others are backups.
// As for every other tool on the machine, the hosts file goes before name servers ("hosts: files dns"), and names without a
// final dot are completed by the search domains of resolv.conf(5). localhost, and what is below it, is loopback always (RFC 6761 §6.3).
//
// # When it is asked again
//
// When the smallest TTL of what an answer rests on ends, but not before a second and at most an hour later; a small jitter keeps
// the names of many nodes apart. That a name does not exist is asked again after the time that the zone says for that (RFC 2308 §5), between a
// second and a minute; what fails is asked again after a second, and after twice that with each further failure, up to half a minute. A
// change of the hosts file, of resolv.conf or of the name servers is noticed within a few seconds.
//
// # When it cannot be answered
//
// The last good targets stay (fail static). A failure, such as a name server that is silent or answers SERVFAIL, never takes one away. That there
// is none, said with authority (NXDOMAIN, or no record of that kind), takes them away when it was said three times in a row over at
// least ten seconds: a zone that is being replaced says so, too, for a moment. Where only part of an answer fails, for
// instance the AAAA records, that part keeps what it had.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// maxTargets bounds the targets of one name.
	maxTargets = 1000
	// maxLookups is how many names are asked for at a time.
	maxLookups = 32
	// maxLookupTime bounds what one of them takes.
	maxLookupTime = 30 * time.Second
	// surveyTime is the pause between two looks at the system's files.
	surveyTime = 2 * time.Second
	// MaxServers is how many name servers are asked in turn.
	MaxServers = 8
)

// Question is what is asked for.
type Question struct {
	// Name is a host's, or with SRV that of its records, as in _http._tcp.web.example.com.
	Name string
	SRV  bool
}

// Target is one address that a name stands for.
type Target struct {
	// Address is an IP address; with SRV it comes with its Port and Weight (0 to 65535), and the Host that the record names.
	Address string
	Host    string
	Port    int
	Weight  int
	// Backup is set for SRV records of other than the lowest priority that has targets.
	Backup bool
}

// Answer is what is known of a name. It is not to be changed.
type Answer struct {
	// Targets are in order, without repetition, and 1,000 at most. They stay those of the last good answer when asking fails.
	Targets []Target
	// Err is why asking failed last, in words for people that tell when it is tried next; nil if it did not.
	Err error
	// Next is when it is asked again.
	Next time.Time
}

// Options are a resolver's surroundings.
type Options struct {
	// Servers are the name servers, MaxServers at most; none are the system's.
	Servers []netip.AddrPort
	// HostsFile and ResolvConf are where the system has its hosts and name servers; empty are /etc/hosts and /etc/resolv.conf.
	HostsFile, ResolvConf string
	Log                   *slog.Logger // nil discards
}

// ParseServer reads a name server's address, with its port or without: then it is 53.
func ParseServer(s string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return usableServer(s, netip.AddrPortFrom(a, 53))
	}
	at, err := netip.ParseAddrPort(s)
	if err != nil {
		return at, fmt.Errorf("%q is no address of a name server: give an IP address with a port, as in 10.0.0.2:53", s)
	}
	return usableServer(s, at)
}

func usableServer(s string, at netip.AddrPort) (netip.AddrPort, error) {
	if at.Port() == 0 || at.Addr().IsUnspecified() || at.Addr().IsMulticast() {
		return at, fmt.Errorf("%q cannot be asked: give one name server's IP address with a port, as in 10.0.0.2:53", s)
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// Resolver asks for any number of names. One goroutine keeps what is due, short-lived ones ask, and one tells the answers.
type Resolver struct {
	log    *slog.Logger
	system *system
	wake   chan struct{} // the queue has a new head
	news   chan struct{} // somebody is to be told
	slots  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the names and watches
	opened  bool
	servers []netip.AddrPort
	names   map[Question]*name
	queue   queue
	telling []*Watch
}

// New returns a resolver that asks nothing before it is opened.
func New(o Options) *Resolver {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r := &Resolver{
		log: o.Log, system: newSystem(o.HostsFile, o.ResolvConf), servers: firstServers(o.Servers), names: map[Question]*name{},
		wake: make(chan struct{}, 1), news: make(chan struct{}, 1), slots: make(chan struct{}, maxLookups),
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func firstServers(servers []netip.AddrPort) []netip.AddrPort {
	return slices.Clone(servers[:min(len(servers), MaxServers)])
}

// Open starts to ask. It returns at once.
func (r *Resolver) Open(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened || r.ctx.Err() != nil {
		return errors.New("open resolver: it was opened before")
	}
	r.opened = true
	r.system.changed() // what changes from now on is seen
	r.wg.Go(r.run)
	r.wg.Go(r.tell)
	return nil
}

// Close ends all watches, cuts what is being asked, and waits until nobody is told anything any more. The error is the context's.
func (r *Resolver) Close(ctx context.Context) error {
	r.mu.Lock()
	r.cancel()
	clear(r.names)
	r.queue, r.telling = nil, nil
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SetServers makes these the name servers; none are the system's. If they are others than before, every name is asked for anew, now.
func (r *Resolver) SetServers(servers []netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if servers = firstServers(servers); slices.Equal(servers, r.servers) {
		return
	}
	r.servers = servers
	r.hurry(func(*name) bool { return true })
}

// Watch asks for a name now, or when the resolver is opened, and again whenever the answer expires. It calls changed with the first answer, also if that is a
// failure, and with each that differs in targets or failure from the one before; while asking fails that is each one, for the time
// of the next try. changed is called from another goroutine, one call at a time for all watches; the last call may begin while the watch is ended,
// and go on after that, but not after Close.
func (r *Resolver) Watch(q Question, changed func(Answer)) *Watch {
	q.Name = strings.ToLower(q.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	w := &Watch{resolver: r, changed: changed}
	if r.ctx.Err() != nil {
		return w
	}
	n := r.names[q]
	if n == nil {
		n = &name{question: q, index: -1, due: time.Now(), watches: map[*Watch]bool{}}
		r.names[q] = n
		r.push(n)
	}
	w.name = n
	n.watches[w] = true
	if n.answered {
		r.announce(w)
	}
	return w
}

// Watch is a name that is asked for.
type Watch struct {
	resolver *Resolver
	changed  func(Answer)

	// Guarded by Resolver.mu.
	name    *name // nil when the watch has ended
	waiting bool  // to be told
}

// End ends the watch. It does not wait for a call of changed, so that it may be called with whatever that needs locked.
func (w *Watch) End() {
	r := w.resolver
	r.mu.Lock()
	defer r.mu.Unlock()
	n := w.name
	if n == nil {
		return
	}
	w.name = nil
	delete(n.watches, w)
	if len(n.watches) > 0 || r.names[n.question] != n {
		return
	}
	delete(r.names, n.question)
	r.drop(n)
}

// announce sees to it that a watch is told its name's answer. r.mu is held.
func (r *Resolver) announce(w *Watch) {
	if w.waiting {
		return
	}
	w.waiting = true
	r.telling = append(r.telling, w)
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// tell tells the watches what is known of their names.
func (r *Resolver) tell() {
	for {
		w, answer := r.nextTold()
		if w != nil {
			w.changed(answer)
			continue
		}
		select {
		case <-r.news:
		case <-r.ctx.Done():
			return
		}
	}
}

// nextTold takes a watch that is to be told, nil if there is none.
func (r *Resolver) nextTold() (*Watch, Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.telling) > 0 {
		w := r.telling[0]
		r.telling[0] = nil
		r.telling = r.telling[1:]
		w.waiting = false
		if w.name != nil {
			return w, w.name.answer
		}
	}
	r.telling = nil
	return nil, Answer{}
}

// arrange puts targets in order and drops those that repeat an address and port; of these the first by priority stays. It keeps 1,000.
func arrange(targets []Target) []Target {
	type place struct {
		address string
		port    int
	}
	seen := make(map[place]bool, len(targets))
	slices.SortStableFunc(targets, compareTargets)
	targets = slices.DeleteFunc(targets, func(t Target) bool {
		at := place{t.Address, t.Port}
		again := seen[at]
		seen[at] = true
		return again
	})
	return targets[:min(len(targets), maxTargets)]
}

func compareTargets(a, b Target) int {
	if a.Backup != b.Backup {
		if a.Backup {
			return 1
		}
		return -1
	}
	at, _ := netip.ParseAddr(a.Address)
	bt, _ := netip.ParseAddr(b.Address)
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Port, b.Port), at.Compare(bt), cmp.Compare(b.Weight, a.Weight))
}
