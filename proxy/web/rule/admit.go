package rule

import "net/netip"

// Admit tells whether a client may come in: not if deny has it, and only if allow has it where there is one.
func (r *Rules) Admit(client netip.Addr) bool {
	if r == nil {
		return true
	}
	return !r.deny.Contains(client) && (!r.allowing || r.allow.Contains(client))
}
