package proxy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"tripod/proxy/stream"
	"tripod/proxy/upstream"
	"tripod/proxy/web"
	"tripod/proxy/web/rate"
	"tripod/proxy/web/rule"
)

// spec is what a socket is to serve.
type spec struct {
	name   string
	config ListenerConfig
	// vip is true for a place that is bound because a VIP is held, on an all-loopback cluster.
	vip bool
}

// Apply serves the document c from now on. If it fails, the former document goes on untouched.
func (p *Proxy) Apply(ctx context.Context, c Config) error {
	if err := c.Validate(); err != nil {
		return describe(err)
	}
	for name, l := range c.Listeners {
		if l.TLS && p.opts.TLS == nil {
			return fmt.Errorf("listener %s: tls: this proxy was started without certificates", name)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open || p.closed {
		return ErrNotOpen
	}
	wanted, err := p.places(c)
	if err != nil {
		return err
	}
	plan := p.pool.Plan(c.Services)
	limits := p.rates.Plan()
	routes, err := p.rules(c, plan, limits)
	if err != nil {
		return err
	}
	table, err := p.web.Compile(routes)
	if err != nil {
		return err
	}
	fresh, waiting, err := p.bindAll(ctx, wanted)
	if err != nil {
		return err
	}

	// From here on nothing fails.
	p.pool.SetNameServers(c.DNS.servers())
	plan.Commit()
	limits.Commit()
	p.config = c
	hasListener := func(name string) bool { _, ok := c.Listeners[name]; return ok }
	p.web.Swap(table, hasListener)
	p.stream.Set(c.AccessLog > 0, func(listener, service string) bool { return c.Listeners[listener].Service == service })
	for at, s := range p.sockets {
		if sp, ok := wanted[at]; ok {
			s.use(sp)
		} else {
			p.retire(s)
			delete(p.sockets, at)
		}
	}
	for at, ln := range fresh {
		p.sockets[at] = p.startSocket(at, ln, wanted[at])
	}
	plan.Retire()
	p.setWaiting(waiting)
	return nil
}

// Hold tells the proxy which virtual addresses this node holds now. On an all-loopback cluster it binds the
// listeners to new ones, and when it returns nothing accepts on former ones any more. Elsewhere the kernel
// decides what reaches us, and Hold changes nothing.
func (p *Proxy) Hold(vips []netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(map[netip.Addr]bool, len(vips))
	for _, a := range vips {
		held[a.Unmap()] = true
	}
	p.held = held
	if !p.open || p.closed || !p.opts.Local.IsValid() {
		return
	}
	p.reconcile()
}

// reconcile binds and closes the places of VIPs. p.mu is held.
func (p *Proxy) reconcile() {
	wanted, err := p.places(p.config)
	if err != nil {
		return // cannot be: the document was applied, and VIPs give way to explicit addresses
	}
	for at, s := range p.sockets {
		if _, ok := wanted[at]; !ok {
			p.retire(s)
			delete(p.sockets, at)
		}
	}
	waiting := make(map[place]error)
	for at, sp := range wanted {
		if p.sockets[at] != nil {
			continue
		}
		ln, err := p.listen(p.ctx, at)
		if err != nil {
			if waiting[at] = bindError(sp.name, at, err); p.waiting[at] == nil {
				p.log.Warn("bind virtual address", "listener", sp.name, "address", at.String(), "error", waiting[at])
			}
			continue
		}
		p.log.Info("listening", "listener", sp.name, "address", at.String())
		p.sockets[at] = p.startSocket(at, ln, sp)
	}
	p.setWaiting(waiting)
}

// setWaiting notes what could not be bound and sees to it that it is tried again. p.mu is held.
func (p *Proxy) setWaiting(waiting map[place]error) {
	p.waiting = waiting
	if len(waiting) > 0 {
		select {
		case p.retry <- struct{}{}:
		default:
		}
	}
}

// places says which sockets the document wants, with the VIPs that are held. p.mu is held.
func (p *Proxy) places(c Config) (map[place]spec, error) {
	local := p.opts.Local
	wanted := make(map[place]spec, len(c.Listeners))
	explicit := func(at place, sp spec) error {
		if other, ok := wanted[at]; ok && !other.vip {
			return fmt.Errorf("listeners %s and %s have the same address %s: give each its own", other.name, sp.name, at)
		}
		wanted[at] = sp
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		l := c.Listeners[name]
		at, err := parsePlace(l.Address)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", name, err)
		}
		switch {
		case local.IsValid() && !at.addr.IsValid():
			if err := explicit(place{local, at.port}, spec{name: name, config: l}); err != nil {
				return nil, err
			}
		case local.IsValid() && at.addr != local && (p.held[at.addr] || slices.Contains(c.VIPs, at.addr)):
			if p.held[at.addr] {
				wanted[at] = spec{name: name, config: l, vip: true}
			}
		default:
			if err := explicit(at, spec{name: name, config: l}); err != nil {
				return nil, err
			}
		}
	}
	if local.IsValid() {
		p.addVIPs(c, wanted)
	}
	return wanted, nil
}

// addVIPs adds the held VIPs to listeners without an address, where no listener names the VIP itself.
func (p *Proxy) addVIPs(c Config, wanted map[place]spec) {
	for name, l := range c.Listeners {
		at, _ := parsePlace(l.Address)
		if at.addr.IsValid() {
			continue
		}
		for vip := range p.held {
			at := place{vip, at.port}
			if _, taken := wanted[at]; !taken && vip.IsLoopback() {
				wanted[at] = spec{name: name, config: l, vip: true}
			}
		}
	}
}

// rules turns the document's routes into those of the HTTP engine.
func (p *Proxy) rules(c Config, plan *upstream.Plan, limits *rate.Plan) (web.Rules, error) {
	r := web.Rules{Routes: make([]web.Route, len(c.Routes)), HTTPSPort: httpsPort(c), AccessLog: c.AccessLog}
	for i, rc := range c.Routes {
		service := c.Services[rc.Service]
		compiled, err := rule.Compile(rc.Path, rc.Rules, service.Rules, p.passwords)
		if err != nil {
			return r, fmt.Errorf("routes[%d]: %w", i, err)
		}
		compiled = compiled.Limited(limits, rc.Host, rc.Path, rc.Rules.Common, rc.Service, service.Rules)
		r.Routes[i] = web.Route{
			Host: rc.Host, Path: rc.Path, Service: plan.Service(rc.Service), Redirect: rc.Redirect, Rules: compiled,
			Protocol: service.Protocol, ServerTLS: service.TLS,
		}
	}
	return r, nil
}

// httpsPort is the port of the first listener, by name, that speaks HTTP over TLS; empty if there is none.
func httpsPort(c Config) string {
	for _, name := range slices.Sorted(maps.Keys(c.Listeners)) {
		if l := c.Listeners[name]; l.TLS && l.Protocol != TCP {
			if at, err := parsePlace(l.Address); err == nil {
				return strconv.Itoa(int(at.port))
			}
		}
	}
	return ""
}

// describe turns the joined field errors of a document into one that a person can read without its text.
func describe(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	var lines []string
	for _, e := range joined.Unwrap() {
		if f, ok := e.(interface{ Field() string }); ok && f.Field() != "" {
			lines = append(lines, f.Field()+": "+e.Error())
		} else {
			lines = append(lines, e.Error())
		}
	}
	return errors.New(strings.Join(lines, "\n"))
}

func (p *Proxy) webListener(at place, sp spec) *web.Listener {
	l := &web.Listener{Name: sp.name, Port: strconv.Itoa(int(at.port)), RedirectHTTPS: sp.config.RedirectHTTPS, H2C: sp.config.H2C}
	// They have been found valid.
	l.ProxyProtocol, _ = rule.ParseNetworks(sp.config.ProxyProtocol)
	l.Trusted, _ = rule.ParseNetworks(sp.config.TrustedProxies)
	return l
}

func (p *Proxy) streamListener(sp spec) *stream.Listener {
	l := &stream.Listener{Name: sp.name, Service: p.pool.Service(sp.config.Service)}
	if sp.config.TLS {
		l.TLS = p.opts.TLS
	}
	return l
}
