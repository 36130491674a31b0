package vip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tripod/election"
)

// Kernel is the kernel's side of the VIPs of this node. See the package comment.
type Kernel struct {
	opt Options

	changed chan struct{}
	wake    chan struct{} // something is due earlier than the loop knows
	dirty   chan struct{} // interfaces or addresses may have changed

	mu      sync.Mutex // guards what follows
	open    bool
	guard   *guard // nil: the kernel has none
	nft     *nft
	ear     *ear
	watch   *watch
	places  map[netip.Addr]*place
	on      []*link // where the guard's chains are
	pending []Event // to be told when mu is released
	nextAll time.Duration

	stop context.CancelFunc
	done sync.WaitGroup
}

// place is one VIP and what the kernel has of it.
type place struct {
	vip     VIP
	address netip.Addr
	link    *link // where it belongs; nil if that is not known
	covered bool  // the link's own network holds it
	problem error // why it cannot be held here; nil if it can

	held   bool
	opened bool          // the guard has elements for it
	since  time.Duration // when it was taken
	until  time.Duration // the end of the right
	lost   bool          // held, but not on the interface

	index   int // of the interface that it is on; 0 is none
	prefix  netip.Prefix
	renewed time.Duration // when its lifetime was set

	announced int // since it was taken
	announce  time.Duration
	probe     time.Duration

	linger   *linger
	catch    *catch // of SYNs, after Linger
	forwards []*forward
	clash    *Clash
	defended time.Duration
}

// New makes a Kernel, which does nothing before Open.
func New(opt Options) *Kernel {
	opt.Hold = cmp.Or(opt.Hold, DefaultHold)
	opt.AnnounceEvery = cmp.Or(opt.AnnounceEvery, DefaultAnnounceEvery)
	if opt.Clock == nil {
		opt.Clock = election.Clock()
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Event == nil {
		opt.Event = func(Event) {}
	}
	return &Kernel{
		opt:     opt,
		changed: make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		dirty:   make(chan struct{}, 1),
		places:  map[netip.Addr]*place{},
	}
}

// Open checks that the process may do what it must, removes what an earlier process left behind, builds the guard,
// and begins to watch the interfaces. No VIP can be taken before Configure. An error that is ErrCapability says
// what to do.
func (k *Kernel) Open(context.Context) (err error) {
	if err := capable(); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.unlock()
	if k.open || k.stop != nil {
		return errors.New("open vips: they were opened before")
	}
	defer func() {
		if err != nil {
			k.release()
		}
	}()
	now, err := look()
	if err != nil {
		return fmt.Errorf("open vips: %w", err)
	}
	if err := k.sweep(now); err != nil {
		return fmt.Errorf("open vips: %w", err)
	}
	if err := k.openGuard(); err != nil {
		k.opt.Log.Warn("vips are held without the kernel's guard: a process that is killed or stopped answers until the address's lifetime ends", "error", err, "after", k.silence())
	}
	if k.ear, err = openEar(); err != nil {
		return fmt.Errorf("open vips: %w", err)
	}
	if k.watch, err = openWatch(); err != nil {
		return fmt.Errorf("open vips: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.open = true
	k.nextAll = k.opt.Clock() + k.opt.AnnounceEvery
	watch, ear := k.watch, k.ear
	k.done.Go(func() { watch.run(k.dirty) })
	k.done.Go(func() { ear.listenARP(k.heard) })
	k.done.Go(func() { ear.listenND(k.heard) })
	k.done.Go(func() { k.run(ctx) })
	return nil
}

func (k *Kernel) openGuard() error {
	n, err := openNFT()
	if err != nil {
		return err
	}
	g := newGuard(n, k.opt.Clock)
	if err := g.probe(nil); err != nil {
		_ = n.close()
		return err
	}
	k.nft, k.guard = n, g
	return nil
}

// release closes what Open opened.
func (k *Kernel) release() {
	if k.watch != nil {
		k.watch.close()
	}
	if k.ear != nil {
		k.ear.close()
	}
	if k.guard != nil {
		_ = k.guard.remove()
		_ = k.nft.close()
	}
	k.watch, k.ear, k.guard, k.nft = nil, nil, nil, nil
}

// Close drops every VIP, lingering ones too, and removes the own tables and nothing else.
func (k *Kernel) Close(ctx context.Context) error {
	k.mu.Lock()
	if !k.open {
		k.mu.Unlock()
		return nil
	}
	k.open = false
	var failed error
	for _, p := range k.sorted() {
		failed = errors.Join(failed, k.drop(p))
	}
	if k.guard != nil {
		failed = errors.Join(failed, k.guard.remove())
	}
	k.stop()
	k.watch.close()
	k.ear.close()
	k.unlock()
	ended := make(chan struct{})
	go func() { k.done.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-ctx.Done():
		return errors.Join(failed, fmt.Errorf("close vips: %w", ctx.Err()))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.nft != nil {
		failed = errors.Join(failed, k.nft.close())
	}
	k.guard, k.nft = nil, nil
	return failed
}

// Guarded tells whether the kernel keeps the promise when this process cannot.
func (k *Kernel) Guarded() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.guard != nil
}

// Silence is for how long at most a VIP may be answered for here after the right to it has ended, if this process is
// killed or stopped: 0 with the guard. Every other node must wait for so much longer.
func (k *Kernel) Silence() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.guard != nil {
		return 0
	}
	return k.silence()
}

func (k *Kernel) silence() time.Duration {
	return k.lifetime() + 2*time.Second // kernels look about once a second, and round up
}

// lifetime is how long the kernel keeps an address that nobody renews.
func (k *Kernel) lifetime() time.Duration {
	return (k.opt.Hold + time.Second - 1).Truncate(time.Second) + 2*time.Second
}

// Changed is signalled when Ready may say something else than before. It is one signal for any number of changes.
func (k *Kernel) Changed() <-chan struct{} { return k.changed }

// Configure says which VIPs this node may be asked to hold. Those that are held and not named any more are dropped. The
// error names every VIP that is not usable at all; the others are configured nevertheless. Whether one can be held here
// and now is for Ready to say.
func (k *Kernel) Configure(vips []VIP) error {
	k.mu.Lock()
	defer k.unlock()
	if !k.open {
		return fmt.Errorf("configure vips: %w", ErrClosed)
	}
	var failed error
	places := make(map[netip.Addr]*place, len(vips))
	for _, each := range vips {
		address := each.Prefix.Addr()
		switch {
		case !each.Prefix.IsValid() || address.Is4In6() || address.Zone() != "" || !address.IsGlobalUnicast():
			failed = errors.Join(failed, fmt.Errorf("vip %s: not an address that can be held", each.Prefix))
			continue
		case places[address] != nil:
			failed = errors.Join(failed, fmt.Errorf("vip %s: named twice", address))
			continue
		}
		p := k.places[address]
		if p == nil || p.vip != each {
			p = &place{vip: each, address: address}
			if former := k.places[address]; former != nil {
				if !former.held && former.linger == nil {
					p.forwards = former.forwards
					k.endCatch(former)
				} else {
					failed = errors.Join(failed, k.drop(former)) // it moves to another interface
				}
			}
		}
		places[address] = p
	}
	for address, p := range k.places {
		if places[address] == nil {
			failed = errors.Join(failed, k.drop(p))
		}
	}
	same := maps.Equal(k.places, places)
	k.places = places
	failed = errors.Join(failed, k.reconcile(!same))
	return errors.Join(failed, k.ear.filter(slices.Collect(maps.Keys(places))))
}

// Ready returns nil if the VIP can be held here and now, and otherwise says why not, for people.
func (k *Kernel) Ready(address netip.Addr) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, err := k.place(address)
	if err != nil {
		return err
	}
	return p.problem
}

// Clashes lists stations that answered for held VIPs within the last few announcement intervals.
func (k *Kernel) Clashes() []Clash {
	k.mu.Lock()
	defer k.mu.Unlock()
	var list []Clash
	for _, p := range k.sorted() {
		if p.clash != nil && p.held && time.Since(p.clash.Last) < 3*k.opt.AnnounceEvery {
			list = append(list, *p.clash)
		}
	}
	return list
}

func (k *Kernel) place(address netip.Addr) (*place, error) {
	if !k.open {
		return nil, fmt.Errorf("vip %s: %w", address, ErrClosed)
	}
	p := k.places[address]
	if p == nil {
		return nil, fmt.Errorf("vip %s: %w", address, ErrUnknown)
	}
	return p, nil
}

// sorted lists the places by address.
func (k *Kernel) sorted() []*place {
	return slices.SortedFunc(maps.Values(k.places), func(a, b *place) int { return a.address.Compare(b.address) })
}

// unlock releases mu and then tells what happened meanwhile.
func (k *Kernel) unlock() {
	events := k.pending
	k.pending = nil
	k.mu.Unlock()
	for _, event := range events {
		k.log(event)
		k.opt.Event(event)
	}
}

func (k *Kernel) log(event Event) {
	log := k.opt.Log.With("vip", event.Address, "interface", event.Interface)
	switch event.Kind {
	case Conflict:
		log.Error("ADDRESS CONFLICT: another station answers for a vip that this node holds; find it and take the address off it", "mac", event.MAC.String())
	case Restored:
		log.Warn("vip was removed from the interface by somebody else, and has been put back")
	case Lost:
		log.Error("vip is gone from the interface and cannot be put back", "reason", event.Reason)
	case Unready:
		log.Warn("vip cannot be held by this node", "reason", event.Reason)
	case Ready:
		log.Info("vip can be held by this node")
	case Lingered:
		log.Info("old connections of a moved vip have ended", "closed", event.Flows, "reason", event.Reason)
	case Guarding:
		log.Warn("the nftables tables of vips were removed by somebody else, and have been put back")
	case Unguarded:
		log.Error("the nftables tables of vips cannot be built", "reason", event.Reason)
	}
}

func (k *Kernel) tell(event Event) { k.pending = append(k.pending, event) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // one is waiting already
	}
}
