package resolve

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// FuzzReply gives what a stranger may send to the part that makes targets of it.
func FuzzReply(f *testing.F) {
	s := &server{t: f}
	s.set("app.test. 60 IN A 10.0.0.10", "app.test. 60 IN AAAA 2001:db8::1", "alias.test. 5 IN CNAME app.test.", "app.test. 60 IN SRV 1 0 80 glue.test.", "app.test. 60 IN SRV 0 70 81 app.test.",
		"glue.test. 60 IN A 10.0.0.1", "loop.test. 1 IN CNAME loop.test.", "app.test. 60 IN SRV 1 1 1 .", "app.test. 60 IN SRV 1 1 1 a\\010b.test.", soaText)
	for _, name := range []string{"app.test.", "alias.test.", "loop.test.", "no.test.", "glue.test."} {
		for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
			q := new(dns.Msg).SetQuestion(name, kind)
			q.Id = 0x1234
			b, err := s.reply(q).Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, name, kind)
			f.Add(b[:len(b)*2/3], name, kind)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, name string, kind uint16) {
		q := dns.Question{Name: name, Qtype: kind, Qclass: dns.ClassINET}
		reply := parse(b, &dns.Msg{MsgHdr: dns.MsgHdr{Id: 0x1234}, Question: []dns.Question{q}})
		if reply == nil {
			return
		}
		c, err := read(reply, q)
		if err != nil {
			if text := err.Error(); text == "" || strings.ContainsAny(text, "\n\r\x00") {
				t.Errorf("error %q", text)
			}
			return
		}
		if c.ttl < 0 || c.ttl > 1<<32*1e9 || len(c.addrs) > maxTargets || len(c.services) > maxTargets {
			t.Errorf("TTL %s, %d addresses, %d services", c.ttl, len(c.addrs), len(c.services))
		}
		if n := len(c.addrs) + len(c.services); c.none && (n > 0 || c.alias != "") || !c.none && c.alias == "" && n == 0 {
			t.Errorf("neither some nor none: %+v", c)
		}
		l := &lookup{}
		targets := l.ofHost(found{addrs: c.addrs}).targets
		if len(c.services) > 0 {
			hosts := map[string]found{}
			for _, s := range c.services {
				hosts[s.host] = found{addrs: []netip.Addr{netip.IPv6Loopback()}}
				if m := c.more[s.host]; m != nil {
					hosts[s.host] = found{addrs: slices.Concat(m.addrs[0], m.addrs[1])}
				}
			}
			targets = l.ofServices(c.services, hosts)
		}
		checkTargets(t, targets)
	})
}

// checkTargets checks what is promised of targets.
func checkTargets(t *testing.T, targets []Target) {
	if len(targets) > maxTargets || !slices.IsSortedFunc(targets, compareTargets) {
		t.Errorf("%d targets, or not in order: %q", len(targets), show(targets))
	}
	type place struct {
		address string
		port    int
	}
	seen := map[place]bool{}
	for i, target := range targets {
		a, err := netip.ParseAddr(target.Address)
		if err != nil || !usable(a) || a.Is4In6() || target.Port < 0 || target.Port > 65535 || target.Weight < 0 || target.Weight > 65535 {
			t.Errorf("%+v is no server", target)
		}
		if target.Host != "" && strings.ContainsAny(target.Host, " \r\n\t\"\\/:@") {
			t.Errorf("host %q", target.Host)
		}
		at := place{target.Address, target.Port}
		if seen[at] || i == 0 && target.Backup {
			t.Errorf("%+v is there twice, or a backup of nothing", target)
		}
		seen[at] = true
	}
}

// FuzzHosts gives any text to the reader of the hosts file.
func FuzzHosts(f *testing.F) {
	for _, s := range []string{"127.0.0.1 localhost\n", "::1 a b # c", "10.0.0.1", "fe80::1%lo0 x\n", "\t\n#", "0.0.0.0 a"} {
		f.Add(s, "a")
	}
	f.Fuzz(func(t *testing.T, text, name string) {
		for _, a := range parseHosts([]byte(text)).find(strings.ToLower(name)) {
			if !usable(a) {
				t.Errorf("%s is no server's address", a)
			}
		}
	})
}
