package upstream

// target is one server as the document, a name server or the server itself describes it.
type target struct {
	ServerConfig
	name     string // the address as the document has it
	id       string // of a registration; empty for a server of the document
	draining bool
}

func (c ServerConfig) weight() int {
	if c.Weight == nil {
		return 1
	}
	return *c.Weight
}

// targets are the servers of the service: the document's, with the addresses that names stand for, and those that registered themselves. An
// address is one server, however often it is named; the first place counts. s.mu is held.
func (s *Service) targets() []target {
	seen := map[string]bool{}
	var all []target
	add := func(t target) {
		if !seen[t.Address] {
			seen[t.Address] = true
			all = append(all, t)
		}
	}
	for _, c := range s.config.Servers {
		if !c.named() {
			add(target{ServerConfig: c, name: c.Address})
			continue
		}
		for _, t := range s.resolved(c) {
			add(t)
		}
	}
	for _, r := range s.registered {
		if badServerAddress(r.Address) != "" {
			continue
		}
		c := ServerConfig{Address: r.Address, Weight: r.Weight, Zone: r.Zone, MaxConnections: r.MaxConnections, Backup: r.Backup}
		add(target{ServerConfig: c, name: r.Address, id: r.ID, draining: r.Draining})
	}
	return all
}
