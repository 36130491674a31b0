package resolve

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// maxHostLookups is how many hosts of one name's SRV records are asked for at a time.
const maxHostLookups = 8

// lookup is asking for one name once, with what it was known for before.
type lookup struct {
	servers []netip.AddrPort
	hosts   hosts
	conf    *conf
	former  []Target
}

// do asks. Names that are completed by search domains are asked for in their order until one exists; a failure ends the search, for what the
// next name stands for is something else.
func (l *lookup) do(ctx context.Context, q Question) outcome {
	if !q.SRV {
		if addrs := l.hosts.find(q.Name); addrs != nil {
			return l.ofHost(found{addrs: addrs, ttl: maxTTL})
		}
	}
	o := outcome{ttl: maxTTL}
	for _, name := range l.conf.candidates(q.Name) {
		var next outcome
		if q.SRV {
			next = l.services(ctx, name)
		} else {
			next = l.ofHost(l.host(ctx, name, nil))
		}
		if !next.none() {
			return next
		}
		o.ttl = min(o.ttl, next.ttl)
		if o.fault == "" || name == q.Name+"." {
			o.fault = next.fault // the name as it was written is the one to speak of
		}
	}
	return o
}

// found is what asking for one host's addresses came to.
type found struct {
	addrs []netip.Addr
	ttl   time.Duration
	// none says that there is none of a family and why, failed that asking for one failed, by family.
	none, failed [2]string
}

// missing tells whether nothing of the host is known but that it has no address.
func (f found) missing() bool { return len(f.addrs) == 0 && f.failed == [2]string{} }

// fault says what was wrong; empty if nothing was.
func (f found) fault() string {
	v4, v6 := f.failed[0], f.failed[1]
	switch {
	case f.missing():
		return f.none[0]
	case v4 == v6:
		return v4
	case v6 == "":
		return "IPv4 address: " + v4
	case v4 == "":
		return "IPv6 address: " + v6
	}
	return "IPv4 address: " + v4 + "; IPv6 address: " + v6
}

// host asks for a host's addresses of both families, but for those that came along with something else.
func (l *lookup) host(ctx context.Context, name string, came *more) found {
	f := found{ttl: maxTTL}
	var parts [2][]netip.Addr
	var ttls [2]time.Duration
	var wg sync.WaitGroup
	for i, kind := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if came != nil && len(came.addrs[i]) > 0 {
			parts[i], ttls[i] = came.addrs[i], came.ttl
			continue
		}
		wg.Go(func() {
			c, why, err := l.question(ctx, name, kind)
			switch {
			case err != nil:
				f.failed[i], ttls[i] = err.Error(), maxTTL
			case c.none:
				f.none[i], ttls[i] = why, c.ttl
			default:
				parts[i], ttls[i] = c.addrs, c.ttl
			}
		})
	}
	wg.Wait()
	f.addrs = slices.Concat(parts[0], parts[1])
	for i := range parts {
		// That a host has no IPv6 address is not asked again sooner than the address that it has, and the other way round.
		if len(parts[i]) > 0 || len(f.addrs) == 0 {
			f.ttl = min(f.ttl, ttls[i])
		}
	}
	return f
}

// question asks one question, along the aliases that lead out of a message. If there is none, why says so.
func (l *lookup) question(ctx context.Context, name string, kind uint16) (c content, why string, err error) {
	ttl := maxTTL
	for range maxLinks {
		var server netip.AddrPort
		c, server, err = ask(ctx, l.servers, dns.Question{Name: name, Qtype: kind, Qclass: dns.ClassINET})
		if err != nil {
			return c, "", err
		}
		c.ttl = min(c.ttl, ttl)
		if c.none {
			if c.missing {
				return c, fmt.Sprintf("no such name (NXDOMAIN) from %s", server), nil
			}
			what := "address"
			if kind == dns.TypeSRV {
				what = "SRV record"
			}
			return c, fmt.Sprintf("the name has no %s (NODATA) from %s", what, server), nil
		}
		if c.alias == "" {
			return c, "", nil
		}
		name, ttl = c.alias, c.ttl
	}
	return c, "", errEndless
}

// ofHost is the outcome for a question for a host.
func (l *lookup) ofHost(f found) outcome {
	o := outcome{ttl: f.ttl, fault: f.fault(), failed: f.failed != [2]string{}}
	if len(f.addrs) == 0 {
		return o
	}
	for _, a := range slices.Concat(f.addrs, l.kept("", f)) {
		o.targets = append(o.targets, Target{Address: a.String()})
	}
	o.targets = arrange(o.targets)
	return o
}

// kept are the addresses that a host had before of a family that could not be asked for now.
func (l *lookup) kept(host string, f found) []netip.Addr {
	var kept []netip.Addr
	for _, t := range l.former {
		if a, err := netip.ParseAddr(t.Address); err == nil && t.Host == host && f.failed[family(a)] != "" {
			kept = append(kept, a)
		}
	}
	slices.SortFunc(kept, netip.Addr.Compare)
	return slices.Compact(kept)
}

// services asks for SRV records and the addresses of their hosts.
func (l *lookup) services(ctx context.Context, name string) outcome {
	c, why, err := l.question(ctx, name, dns.TypeSRV)
	switch {
	case err != nil:
		return outcome{fault: err.Error(), failed: true}
	case c.none:
		return outcome{fault: why, ttl: c.ttl}
	}
	hosts := l.askHosts(ctx, c)
	o := outcome{ttl: c.ttl}
	fresh := false
	var faults []string
	for host, f := range hosts {
		o.ttl = min(o.ttl, f.ttl)
		o.failed = o.failed || f.failed != [2]string{}
		fresh = fresh || len(f.addrs) > 0
		if fault := f.fault(); fault != "" {
			faults = append(faults, strings.TrimSuffix(host, ".")+": "+fault)
		}
	}
	slices.Sort(faults)
	if len(faults) > 0 {
		o.fault = faults[0]
		if more := len(faults) - 1; more > 0 {
			o.fault += fmt.Sprintf(" (and so with %d more hosts)", more)
		}
	}
	if fresh {
		o.targets = l.ofServices(c.services, hosts)
	}
	return o
}

// ofServices are the targets of SRV records.
func (l *lookup) ofServices(services []service, hosts map[string]found) []Target {
	slices.SortStableFunc(services, func(a, b service) int { return cmp.Compare(a.priority, b.priority) })
	first := math.MaxInt
	var targets []Target
	for _, s := range services {
		host := strings.TrimSuffix(s.host, ".")
		for _, a := range slices.Concat(hosts[s.host].addrs, l.kept(host, hosts[s.host])) {
			first = min(first, s.priority)
			if len(targets) < 2*maxTargets {
				targets = append(targets, Target{Address: a.String(), Host: host, Port: s.port, Weight: s.weight, Backup: s.priority > first})
			}
		}
	}
	return arrange(targets)
}

// askHosts asks for the hosts of SRV records, several at a time.
func (l *lookup) askHosts(ctx context.Context, c content) map[string]found {
	all := map[string]found{}
	var names []string
	for _, s := range c.services {
		if _, again := all[s.host]; again {
			continue
		}
		all[s.host] = found{}
		names = append(names, s.host)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxHostLookups)
	for _, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f := found{addrs: l.hosts.find(name), ttl: maxTTL}
			if f.addrs == nil {
				f = l.host(ctx, name, c.more[name])
			}
			mu.Lock()
			defer mu.Unlock()
			all[name] = f
		})
	}
	wg.Wait()
	return all
}
