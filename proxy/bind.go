package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// bindAll binds the wanted places that are not bound yet. Places of VIPs that cannot be bound are returned in
// waiting; any other failure closes what was bound. p.mu is held.
func (p *Proxy) bindAll(ctx context.Context, wanted map[place]spec) (fresh map[place]*net.TCPListener, waiting map[place]error, err error) {
	fresh, waiting = make(map[place]*net.TCPListener), make(map[place]error)
	defer func() {
		if err != nil {
			for _, ln := range fresh {
				ln.Close()
			}
		}
	}()
	var leaving []*socket
	for at, s := range p.sockets {
		if _, stays := wanted[at]; !stays {
			leaving = append(leaving, s)
		}
	}
	for at, sp := range wanted {
		if p.sockets[at] != nil {
			continue
		}
		ln, err := p.listen(ctx, at, leaving...)
		if err != nil {
			err = bindError(sp.name, at, err)
			if !sp.vip {
				return fresh, nil, err
			}
			waiting[at] = err
			continue
		}
		fresh[at] = ln
	}
	return fresh, waiting, nil
}

// listen binds one place. If a socket of ours that covers it, or is covered by it, stands in the way (":443"
// against "10.0.0.1:443"), both stand for the moment: the former is closed when the document is applied.
func (p *Proxy) listen(ctx context.Context, at place, leaving ...*socket) (*net.TCPListener, error) {
	ln, err := p.listenWith(ctx, at, false)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return ln, err
	}
	for _, s := range leaving {
		if s.at.port != at.port || s.at.addr.IsValid() && at.addr.IsValid() {
			continue
		}
		raw, rawErr := s.ln.SyscallConn()
		if rawErr != nil || share(raw, true) != nil {
			continue
		}
		defer share(raw, false)
		if ln, again := p.listenWith(ctx, at, true); again == nil {
			return ln, nil
		}
	}
	return nil, err
}

func (p *Proxy) listenWith(ctx context.Context, at place, shared bool) (*net.TCPListener, error) {
	free := at.addr.IsValid() && !p.opts.Local.IsValid()
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		if free {
			if err := freebind(network, address, c); err != nil {
				return err
			}
		}
		if shared {
			return share(c, true)
		}
		return nil
	}}
	network := "tcp"
	if at.addr.Is4() {
		network = "tcp4"
	}
	l, err := lc.Listen(ctx, network, at.String())
	if err != nil {
		return nil, err
	}
	ln := l.(*net.TCPListener)
	if shared {
		if raw, err := ln.SyscallConn(); err == nil {
			share(raw, false)
		}
	}
	return ln, nil
}

// bindError says what happened, to what, and what to do.
func bindError(name string, at place, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listener %s: address %s is taken by another program or listener: stop it, or give the listener another address (%w)", name, at, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("listener %s: no permission to bind %s: run as root, allow it with CAP_NET_BIND_SERVICE, or use a port from 1024 on (%w)", name, at, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listener %s: address %s is not on this host: correct it, or use \":%d\" for every address (%w)", name, at, at.port, err)
	}
	return fmt.Errorf("listener %s: bind %s: %w", name, at, err)
}

// bindLoop binds the places that are waiting until they are bound or not wanted any more.
func (p *Proxy) bindLoop() {
	tick := time.NewTicker(retryTime)
	defer tick.Stop()
	for range p.retry {
		for p.bindWaiting() {
			<-tick.C
		}
	}
}

// bindWaiting tries once, and tells whether some are left.
func (p *Proxy) bindWaiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.waiting) == 0 {
		return false
	}
	p.reconcile()
	return len(p.waiting) > 0
}
