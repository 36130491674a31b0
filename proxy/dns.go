package proxy

import (
	"errors"
	"fmt"
	"net/netip"

	"tripod/proxy/upstream"
	"tripod/proxy/upstream/resolve"
)

// DNSConfig is who is asked for the addresses that servers' names stand for.
type DNSConfig struct {
	Servers []string `yaml:"servers" doc:"Name servers, as address:port or, with port 53, address; the first that knows counts. Default are those of each node's resolv.conf."`
}

// Validate checks the name servers. Its error joins one *upstream.FieldError for each fault.
func (c DNSConfig) Validate() error {
	var errs []error
	if n := len(c.Servers); n > resolve.MaxServers {
		errs = append(errs, upstream.Errorf("servers", "there are %d name servers: give %d at most", n, resolve.MaxServers))
	}
	first := map[netip.AddrPort]int{}
	for i, s := range c.Servers {
		field := fmt.Sprintf("servers[%d]", i)
		at, err := resolve.ParseServer(s)
		if err != nil {
			errs = append(errs, upstream.Errorf(field, "%s", err))
			continue
		}
		if before, ok := first[at]; ok {
			errs = append(errs, upstream.Errorf(field, "name server %s is listed twice: servers[%d] has it already", at, before))
			continue
		}
		first[at] = i
	}
	return errors.Join(errs...)
}

// servers are the name servers of a document that was found valid.
func (c DNSConfig) servers() []netip.AddrPort {
	all := make([]netip.AddrPort, len(c.Servers))
	for i, s := range c.Servers {
		all[i], _ = resolve.ParseServer(s)
	}
	return all
}
