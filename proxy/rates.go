package proxy

import "tripod/proxy/web/rate"

// Rates are the limits on requests, which the nodes of a cluster count together: each is to tell the others what its Journal has, and to listen to
// theirs.
func (p *Proxy) Rates() *rate.Set { return p.rates }
