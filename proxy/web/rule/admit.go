package rule

import "net/netip"

// Admit tells whether a client may come in: not if deny has it, and only if allow has it where there is one. Where there are
// lists, a client without an address is on the wrong side of them.
func (r *Rules) Admit(client netip.Addr) bool {
	if r == nil || r.allow.Empty() && r.deny.Empty() {
		return true
	}
	return client.IsValid() && !r.deny.Contains(client) && (r.allow.Empty() || r.allow.Contains(client))
}
