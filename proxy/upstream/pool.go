// Package upstream keeps the services of the document: their servers, whether each of them is up, which of
// them answers the next request, and what they have done so far.
//
// # What lives how long
//
// A Service is known by its name, a Server by its service and address. Both live as long as any document
// names them: their health, counters, connections and place in the rotation survive every change of the
// document. A change is planned with Pool.Plan, which touches nothing, and takes effect with Plan.Commit and Plan.Retire.
//
// # Choosing
//
// A service keeps an immutable view of the servers that may be chosen now: those that are up and have a
// weight; backup servers only when no other is left. The view is rebuilt when the document or a server's
// health changes, and read through an atomic pointer, so that choosing takes no lock. Round robin walks a
// schedule precomputed by smooth weighting, with an atomic counter. Least requests takes the fewest running
// requests for the weight.
//
// # Health
//
// A server with a health check starts as not up. Its first check runs at once and the first one to pass
// brings it up; from then on rise and fall count. A request that finds no server up while some have never
// been checked waits a moment for their first check, so that a document with all new servers drops nothing.
package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/proxy/upstream/resolve"
)

// ErrNoneUp means that a service has no server that is up and takes requests.
var ErrNoneUp = errors.New("no server is up")

// ErrFull means that there are as many requests, or connections, as the service or its servers take.
var ErrFull = errors.New("as many requests run as the service takes; see limits and max_connections")

// ErrGone means that a service has left the document, and has no server that is up: ask the document anew.
var ErrGone = errors.New("the service is not in the document any more")

// Options are the pool's surroundings.
type Options struct {
	// StickyKey signs sticky cookies; the same on every node, so that a cookie of one is good at another.
	StickyKey []byte
	// Zone is the node's own failure domain; empty for none.
	Zone string
	// Log takes health changes; nil discards them.
	Log *slog.Logger
	// Registry takes the metrics while the pool is open; nil for none.
	Registry prometheus.Registerer
}

// Pool is all services of one node.
type Pool struct {
	opts     Options
	log      *slog.Logger
	services atomic.Pointer[map[string]*Service]
	checker  *checker
	resolver *resolve.Resolver

	mu         sync.Mutex // serialises Commit, Open and Close
	opened     bool
	orders     map[string]map[string]Order
	registered map[string][]Registration
	closed     bool
}

// New returns a pool without services.
func New(o Options) *Pool {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Pool{opts: o, log: o.Log, checker: newChecker(), resolver: resolve.New(resolve.Options{Log: o.Log})}
	p.services.Store(&map[string]*Service{})
	return p
}

// Open starts the health checks.
func (p *Pool) Open(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opened {
		return errors.New("open upstream: open already")
	}
	if p.opts.Registry != nil {
		if err := p.opts.Registry.Register(p); err != nil {
			return err
		}
	}
	if err := p.resolver.Open(ctx); err != nil {
		return err
	}
	p.opened = true
	p.checker.start()
	return nil
}

// Close ends the health checks and closes what is kept open to the servers.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.opened || p.closed {
		return nil
	}
	p.closed = true
	err := p.resolver.Close(ctx)
	p.checker.stop()
	for _, s := range *p.services.Load() {
		s.close()
	}
	if p.opts.Registry != nil {
		p.opts.Registry.Unregister(p)
	}
	return err
}

// SetNameServers makes these the servers that are asked for the addresses that names in the document stand for; none are the system's.
func (p *Pool) SetNameServers(servers []netip.AddrPort) { p.resolver.SetServers(servers) }

// SetOrders makes these all words of operators, by service and address. They hold for servers that come later, too.
func (p *Pool) SetOrders(orders map[string]map[string]Order) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orders = orders
	for name, s := range *p.services.Load() {
		p.checker.add(s.setOrders(orders[name]))
	}
}

// SetRegistered makes these all servers that registered themselves, by service. Those for services that the document has not wait for it.
func (p *Pool) SetRegistered(registered map[string][]Registration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.registered = registered
	for name, s := range *p.services.Load() {
		p.checker.add(s.setRegistered(registered[name]))
	}
}

// Service returns the service of that name, nil if the document has none.
func (p *Pool) Service(name string) *Service { return (*p.services.Load())[name] }

// Plan is a set of services that is not served yet.
type Plan struct {
	pool     *Pool
	configs  map[string]Config
	services map[string]*Service
	leaving  []*Service
}

// Plan prepares a change to the given services, which must be valid. Nothing changes until Commit; one plan
// at a time.
func (p *Pool) Plan(configs map[string]Config) *Plan {
	current := *p.services.Load()
	plan := &Plan{pool: p, configs: configs, services: make(map[string]*Service, len(configs))}
	for name := range configs {
		s := current[name]
		if s == nil {
			s = newService(p, name)
		}
		plan.services[name] = s
	}
	return plan
}

// Service returns the planned service of that name, nil if there is none.
func (p *Plan) Service(name string) *Service { return p.services[name] }

// Commit makes the plan the truth. Servers that are in no document any more get no new requests, their
// checks end and their idle connections are closed; requests that they are answering go on. Services that
// left stay as they are until Retire.
func (p *Plan) Commit() {
	pool := p.pool
	pool.mu.Lock()
	defer pool.mu.Unlock()
	former := *pool.services.Load()
	var fresh []*check
	for name, s := range p.services {
		fresh = append(fresh, s.apply(p.configs[name], pool.orders[name], pool.registered[name])...)
	}
	pool.services.Store(&p.services)
	for name, s := range former {
		if p.services[name] != s {
			p.leaving = append(p.leaving, s)
		}
	}
	pool.checker.add(fresh)
}

// Retire closes the services that left with Commit. It is called when nothing leads to them any more, so that
// a request that waits for one of their servers finds another way when it is told that they are gone.
func (p *Plan) Retire() {
	p.pool.mu.Lock()
	defer p.pool.mu.Unlock()
	for _, s := range p.leaving {
		s.close()
	}
	p.leaving = nil
}
