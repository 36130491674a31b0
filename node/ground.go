package node

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tripod/election"
	"tripod/election/vip"
	"tripod/node/api"
	"tripod/node/config"
	"tripod/node/etcd"
)

// ground is where this node answers for VIPs: on a network the kernel's interfaces, on an all-loopback cluster,
// where every address answers anyhow, the proxy's listeners.
type ground struct {
	node   *Node
	clock  func() time.Duration
	kernel *vip.Kernel // nil on an all-loopback cluster
	done   sync.WaitGroup

	mu       sync.Mutex
	failure  error                 // why the kernel's side does not work
	wanted   []netip.Addr          // the document's
	held     map[netip.Addr]bool   // what the proxy answers on, on a loopback cluster
	released map[netip.Addr][]byte // what goes along with the acknowledgement for an address
	prepared map[netip.Addr]string // to which node a move is prepared
}

func newGround(n *Node) *ground {
	g := &ground{
		node: n, clock: election.Clock(), held: map[netip.Addr]bool{},
		released: map[netip.Addr][]byte{}, prepared: map[netip.Addr]string{},
	}
	if !etcd.AllLoopback(n.voters) {
		g.kernel = vip.New(vip.Options{Hold: election.DefaultHold, Clock: g.clock, Event: g.tell, Log: n.log})
	}
	return g
}

// open removes what an earlier process of this node has left in the kernel, before anything else happens (A3
// in election/doc.go). A node that may not do this serves all the same, and is fit for no VIP.
func (g *ground) open(ctx context.Context) error {
	if g.kernel == nil {
		return nil
	}
	if err := g.kernel.Open(ctx); err != nil {
		g.failure = err
		g.node.log.Warn("this node cannot hold VIPs", "reason", err)
		return nil
	}
	g.done.Go(g.watch)
	return nil
}

func (g *ground) close(ctx context.Context) error {
	g.done.Wait()
	if g.kernel == nil || g.failure != nil {
		return nil
	}
	return g.kernel.Close(ctx)
}

// watch tells the cluster when the node becomes fit or unfit for a VIP.
func (g *ground) watch() {
	for {
		select {
		case <-g.node.life.Done():
			return
		case <-g.kernel.Changed():
			g.publish()
		}
	}
}

// configure takes the VIPs of a document.
func (g *ground) configure(document *config.Document) {
	var all []vip.VIP
	var addresses []netip.Addr
	for i, prefix := range document.Addresses() {
		all = append(all, vip.VIP{Prefix: prefix, Interface: document.VIPs[i].Interface})
		addresses = append(addresses, prefix.Addr())
	}
	g.mu.Lock()
	g.wanted = addresses
	works := g.kernel != nil && g.failure == nil
	g.mu.Unlock()
	if works {
		if err := g.kernel.Configure(all); err != nil {
			g.node.log.Warn("some VIPs cannot be held here", "error", err)
		}
	}
	g.publish()
}

// unfit says which VIPs this node cannot hold now, and why.
func (g *ground) unfit() map[netip.Addr]string {
	if g.kernel == nil {
		return nil
	}
	g.mu.Lock()
	wanted, failure := g.wanted, g.failure
	g.mu.Unlock()
	var unfit map[netip.Addr]string
	for _, address := range wanted {
		err := failure
		if err == nil {
			err = g.kernel.Ready(address)
		}
		if err == nil {
			continue
		}
		if unfit == nil {
			unfit = map[netip.Addr]string{}
		}
		unfit[address] = err.Error()
	}
	return unfit
}

// publish puts what the node is fit for into its key.
func (g *ground) publish() {
	if reg := g.node.openReg.Load(); reg != nil {
		unfit, silence := g.unfit(), g.silence()
		reg.update(func(k *api.NodeKey) { k.Unfit, k.SilenceMS = unfit, silence.Milliseconds() })
	}
}

// silence is for how long this node's kernel may go on answering after its right has ended, if the process is
// stopped or killed.
func (g *ground) silence() time.Duration {
	if g.kernel == nil || g.failure != nil {
		return 0
	}
	return g.kernel.Silence()
}

// take begins to answer for an address, until a time on the clock.
func (g *ground) take(address netip.Addr, until time.Duration) error {
	if g.kernel == nil {
		g.hold(func() { g.held[address] = true })
		return nil
	}
	if g.failure != nil {
		return g.failure
	}
	return g.kernel.Take(address, until)
}

// renew moves the end of the right.
func (g *ground) renew(address netip.Addr, until time.Duration) {
	if g.kernel == nil {
		return
	}
	err := g.kernel.Renew(address, until)
	if errors.Is(err, vip.ErrNotHeld) || errors.Is(err, vip.ErrLate) {
		// The kernel fell silent while this process was held up; the right is good again.
		err = g.kernel.Take(address, until)
	}
	if err != nil {
		g.node.log.Warn("vip not renewed in the kernel", "vip", address.String(), "error", err)
	}
}

// drop stops to answer before it returns.
func (g *ground) drop(address netip.Addr) {
	if g.kernel == nil {
		g.hold(func() { delete(g.held, address) })
		return
	}
	if err := g.kernel.Drop(address); err != nil {
		g.node.log.Error("vip not removed from the kernel; its guard silences it", "vip", address.String(), "error", err)
	}
}

// hold makes the proxy of a loopback cluster answer on what is held.
func (g *ground) hold(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
	g.node.proxy.Hold(slices.SortedFunc(maps.Keys(g.held), netip.Addr.Compare))
}

// lingering are the VIPs that have moved away, with connections that go on here.
func (g *ground) lingering() []vip.Draining {
	if g.kernel == nil || g.failure != nil {
		return nil
	}
	return g.kernel.Lingering()
}

// clashes are other stations that answer for a VIP that this node holds.
func (g *ground) clashes() []vip.Clash {
	if g.kernel == nil || g.failure != nil {
		return nil
	}
	return g.kernel.Clashes()
}

// tell passes on what the kernel's side noticed; it has logged it already.
func (g *ground) tell(e vip.Event) {
	g.node.events.tell(api.Event{Kind: "vip_" + string(e.Kind), Subject: e.Address.String(), Text: e.Reason})
}
