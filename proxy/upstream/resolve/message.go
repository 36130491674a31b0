package resolve

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxLinks bounds a chain of aliases.
	maxLinks = 16
	// maxRecords bounds what is taken from one message.
	maxRecords = 2000
	// noneTTL is how long it is believed that there is none where the zone says nothing about that.
	noneTTL = 5 * time.Second
)

// service is one SRV record.
type service struct {
	host     string // absolute, in lower case
	port     int
	priority int
	weight   int
}

// content is what a message says of a question.
type content struct {
	addrs    []netip.Addr
	services []service
	// more are addresses of hosts that were not asked for, with SRV.
	more map[string]*more
	ttl  time.Duration // of what is said, or of there being none
	// none is set if there is none of the kind, missing if there is not even the name.
	none, missing bool
	// alias is the name that the question's is another word for, and whose records the message has not; empty if there is nothing to ask further.
	alias string
}

// more are addresses that came along, by family.
type more struct {
	addrs [2][]netip.Addr
	ttl   time.Duration
}

// family is 1 for IPv6 and 0 for IPv4.
func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

var errUnusable = errors.New("its addresses cannot be a server's")

// read takes what m, which is a reply to that question, says. Names and aliases are followed inside the message. The error says in a few words why
// the reply is none that one can go by.
func read(m *dns.Msg, q dns.Question) (content, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return content{}, errors.New(rcodeText(m.Rcode))
	}
	name, ttl, err := follow(m, q)
	if err != nil {
		return content{}, err
	}
	c := content{ttl: maxTTL}
	found := 0
	for _, rr := range m.Answer[:min(len(m.Answer), maxRecords)] {
		h := rr.Header()
		if h.Rrtype != q.Qtype || h.Class != dns.ClassINET || !strings.EqualFold(h.Name, name) {
			continue
		}
		found++
		ttl = min(ttl, seconds(h.Ttl))
		c.take(rr)
	}
	switch {
	case m.Rcode == dns.RcodeNameError || found == 0 && soa(m) != nil:
		return content{none: true, missing: m.Rcode == dns.RcodeNameError, ttl: min(ttl, negativeTTL(m))}, nil
	case found == 0 && name != q.Name:
		return content{alias: name, ttl: ttl}, nil
	case found == 0 && referral(m):
		return content{}, errors.New("does not answer for other zones than its own")
	case found == 0, q.Qtype == dns.TypeSRV && len(c.services) == 0: // one whose host is "." says that there is no such service (RFC 2782)
		return content{none: true, ttl: min(ttl, negativeTTL(m))}, nil
	case q.Qtype != dns.TypeSRV && len(c.addrs) == 0:
		return content{}, errUnusable
	}
	c.ttl = ttl
	if q.Qtype == dns.TypeSRV {
		c.more = additional(m)
	}
	return c, nil
}

// take adds a record.
func (c *content) take(rr dns.RR) {
	if s, ok := rr.(*dns.SRV); ok {
		host := strings.ToLower(s.Target)
		if plain(host) && s.Port != 0 && len(c.services) < maxTargets {
			c.services = append(c.services, service{host: host, port: int(s.Port), priority: int(s.Priority), weight: int(s.Weight)})
		}
		return
	}
	if a := address(rr); usable(a) && len(c.addrs) < maxTargets {
		c.addrs = append(c.addrs, a)
	}
}

// plain tells whether a host has only what may stand in a Host header, and at least one letter or digit. Whatever else a name server
// sends would go on to logs, checks and certificates.
func plain(host string) bool {
	return strings.Trim(host, ".") != "" && strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// follow leads along the aliases in the message, to the last name, with the smallest TTL of the aliases.
func follow(m *dns.Msg, q dns.Question) (string, time.Duration, error) {
	name, ttl := q.Name, maxTTL
	for range maxLinks {
		alias := ""
		for _, rr := range m.Answer[:min(len(m.Answer), maxRecords)] {
			if cname, ok := rr.(*dns.CNAME); ok && cname.Hdr.Class == dns.ClassINET && strings.EqualFold(cname.Hdr.Name, name) {
				alias = strings.ToLower(cname.Target)
				ttl = min(ttl, seconds(cname.Hdr.Ttl))
				break
			}
		}
		if alias == "" {
			return name, ttl, nil
		}
		name = alias
	}
	return "", 0, errEndless
}

var errEndless = fmt.Errorf("leads through more than %d aliases (CNAME)", maxLinks)

// additional are the addresses that came along with SRV records.
func additional(m *dns.Msg) map[string]*more {
	all := map[string]*more{}
	for _, rr := range m.Extra[:min(len(m.Extra), maxRecords)] {
		a := address(rr)
		if h := rr.Header(); !usable(a) || h.Class != dns.ClassINET {
			continue
		}
		host := strings.ToLower(rr.Header().Name)
		if all[host] == nil {
			all[host] = &more{ttl: maxTTL}
		}
		f := family(a)
		all[host].addrs[f] = append(all[host].addrs[f], a)
		all[host].ttl = min(all[host].ttl, seconds(rr.Header().Ttl))
	}
	return all
}

// address is that of an A or AAAA record, else zero.
func address(rr dns.RR) netip.Addr {
	var a netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		a, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		a, _ = netip.AddrFromSlice(rr.AAAA)
	}
	return a.Unmap()
}

// seconds is a TTL; one with the highest bit set is 0 (RFC 2181 §8).
func seconds(ttl uint32) time.Duration {
	if ttl >= 1<<31 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// soa is the authority's record, with which it says that there is none; nil if there is none.
func soa(m *dns.Msg) *dns.SOA {
	for _, rr := range m.Ns[:min(len(m.Ns), maxRecords)] {
		if s, ok := rr.(*dns.SOA); ok {
			return s
		}
	}
	return nil
}

// negativeTTL is how long there is none (RFC 2308 §5).
func negativeTTL(m *dns.Msg) time.Duration {
	if s := soa(m); s != nil {
		return min(seconds(s.Hdr.Ttl), seconds(s.Minttl))
	}
	return noneTTL
}

// referral tells whether the message only says who else might know (RFC 2308 §2.2).
func referral(m *dns.Msg) bool {
	for _, rr := range m.Ns[:min(len(m.Ns), maxRecords)] {
		if rr.Header().Rrtype == dns.TypeNS {
			return !m.Authoritative
		}
	}
	return false
}

func rcodeText(code int) string {
	if text := dns.RcodeToString[code]; text != "" {
		return text
	}
	return fmt.Sprintf("code %d", code)
}
