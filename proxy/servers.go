package proxy

import "tripod/proxy/upstream"

// SetOrders makes these all words of operators, by service and server's address. They hold for servers that come later, too.
func (p *Proxy) SetOrders(orders map[string]map[string]upstream.Order) { p.pool.SetOrders(orders) }

// SetRegistered makes these all servers that registered themselves, by service. Those for services that the document has not wait for it.
func (p *Proxy) SetRegistered(registered map[string][]upstream.Registration) {
	p.pool.SetRegistered(registered)
}

// Services tells about every service, by name, also while a document is being applied.
func (p *Proxy) Services() []upstream.ServiceStatus { return p.pool.Status() }

// Pending are the registrations for services that the document has not, by service.
func (p *Proxy) Pending() map[string][]upstream.Registration { return p.pool.Pending() }
