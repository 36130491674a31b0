package node

import (
	"tripod/node/api"
)

// kernels says what the kernels' side of the VIPs has noticed: connections that go on after a move, other
// stations with our addresses, and nodes without a guard.
func (s *survey) kernels() {
	for _, name := range s.names() {
		local := s.locals[name]
		for _, l := range local.Lingering {
			s.status.Lingering = append(s.status.Lingering, api.Lingering{Node: name, Draining: l})
		}
		for _, c := range local.Clashes {
			s.problem("vip %s: ANOTHER STATION ANSWERS FOR IT: %s on %s, seen by its holder %s: find and stop it", c.Address, c.MAC, c.Interface, name)
		}
		if local.SilenceMS > 0 {
			s.warn("node %s has no nf_tables: its kernel may answer for a VIP for %d ms after its process was killed, and every take-over waits so much longer", name, local.SilenceMS)
		}
	}
}
