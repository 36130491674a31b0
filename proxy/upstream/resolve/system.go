package resolve

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxHosts and maxConf bound what is read of the system's files.
	maxHosts = 8 << 20
	maxConf  = 64 << 10
	// maxSearch bounds the search domains, and systemServers the name servers that are taken from resolv.conf, as resolv.conf(5) does.
	maxSearch     = 16
	systemServers = 3
)

// hosts are the addresses that the hosts file has, by name in lower case.
type hosts map[string][]netip.Addr

// conf is what resolv.conf says.
type conf struct {
	servers []netip.AddrPort
	search  []string // absolute, with the final dot
	ndots   int
}

// system is the files that say how names are resolved on this machine, read again when they change.
type system struct {
	mu       sync.Mutex
	hosts    watchedFile[hosts]
	conf     watchedFile[*conf]
	surveyed [2]int // the files' versions that were last told as changed
}

func newSystem(hostsFile, resolvConf string) *system {
	if hostsFile == "" {
		hostsFile = "/etc/hosts"
	}
	if resolvConf == "" {
		resolvConf = "/etc/resolv.conf"
	}
	return &system{
		hosts: watchedFile[hosts]{path: hostsFile, most: maxHosts, parse: parseHosts},
		conf:  watchedFile[*conf]{path: resolvConf, most: maxConf, parse: parseConf},
	}
}

// read returns what the files say now. It is not to be changed.
func (s *system) read() (hosts, *conf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hosts.refresh()
	s.conf.refresh()
	return s.hosts.said, s.conf.said
}

// changed tells which files have changed since it was last asked.
func (s *system) changed() (hosts, conf bool) {
	s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := [2]int{s.hosts.version, s.conf.version}
	was := s.surveyed
	s.surveyed = now
	return was[0] != 0 && was[0] != now[0], was[1] != 0 && was[1] != now[1]
}

// settled is the age from which a file's time tells that it has not changed since: file systems count in ticks.
const settled = time.Second

// watchedFile is a file that is read and parsed again when it has changed.
type watchedFile[T any] struct {
	path    string
	most    int64
	parse   func([]byte) T
	said    T
	version int // grows with each change; 0 before it was read first
	text    []byte
	info    fs.FileInfo // nil if there is no file
	sure    bool        // a file that looks the same is the same
}

// refresh reads the file if it has changed. One that is missing is as good as an empty one; one that cannot be read stays what it was.
func (f *watchedFile[T]) refresh() {
	info, err := os.Stat(f.path)
	if err == nil && f.sure && f.info != nil && os.SameFile(info, f.info) && info.ModTime().Equal(f.info.ModTime()) && info.Size() == f.info.Size() {
		return
	}
	var text []byte
	if err == nil {
		text, err = readHead(f.path, f.most)
	}
	if err != nil && !os.IsNotExist(err) && f.version > 0 {
		return
	}
	f.info, f.sure = info, err == nil && time.Since(info.ModTime()) > settled
	if f.version > 0 && bytes.Equal(text, f.text) {
		return
	}
	f.text = text
	f.said = f.parse(text)
	f.version++
}

// readHead reads the whole lines among the first bytes of a file.
func readHead(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most))
	if err == nil && int64(len(text)) == most {
		text = text[:bytes.LastIndexByte(text, '\n')+1]
	}
	return text, err
}

// parseHosts reads hosts(5): an address and its names on each line.
func parseHosts(text []byte) hosts {
	h := hosts{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		line, _, _ := strings.Cut(lines.Text(), "#")
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		a, err := netip.ParseAddr(fields[0])
		if a = a.Unmap(); err != nil || !usable(a) {
			continue
		}
		for _, name := range fields[1:] {
			name = strings.TrimSuffix(strings.ToLower(name), ".")
			if len(h[name]) < maxTargets {
				h[name] = append(h[name], a)
			}
		}
	}
	return h
}

// find returns the addresses of a host, nil if it has to be asked for.
func (h hosts) find(name string) []netip.Addr {
	name = strings.TrimSuffix(name, ".")
	found := h[name]
	if name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return found
	}
	var loopback []netip.Addr
	for _, a := range found {
		if a.IsLoopback() {
			loopback = append(loopback, a)
		}
	}
	if loopback == nil {
		loopback = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	}
	return loopback
}

// usable tells whether a server can have an address.
func usable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && (a.Zone() != "" || !a.Is6() || !a.IsLinkLocalUnicast())
}

// parseConf reads resolv.conf(5): name servers, search domains and the ndots option; the rest is for who asks once and has somebody waiting.
func parseConf(text []byte) *conf {
	c := &conf{ndots: 1}
	said, err := dns.ClientConfigFromReader(bytes.NewReader(text))
	if err != nil { // a line that is longer than any that is meant
		said = &dns.ClientConfig{Ndots: 1}
	}
	for _, s := range said.Servers {
		if a, err := netip.ParseAddr(s); err == nil && len(c.servers) < systemServers {
			c.servers = append(c.servers, netip.AddrPortFrom(a.Unmap(), 53))
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 53)}
	}
	c.ndots = min(max(said.Ndots, 0), 15)
	search := said.Search
	if len(search) == 0 {
		if host, err := os.Hostname(); err == nil {
			if _, domain, ok := strings.Cut(host, "."); ok {
				search = []string{domain}
			}
		}
	}
	for _, domain := range search[:min(len(search), maxSearch)] {
		domain = strings.TrimSuffix(strings.ToLower(domain), ".") + "."
		if _, ok := dns.IsDomainName(domain); ok {
			c.search = append(c.search, domain)
		}
	}
	return c
}

// candidates are the absolute names that a name may mean, in the order in which they are asked for.
func (c *conf) candidates(name string) []string {
	if strings.HasSuffix(name, ".") {
		return []string{name}
	}
	var all []string
	for _, domain := range c.search {
		if full := name + "." + domain; domain != "." && len(full) <= maxName {
			all = append(all, full)
		}
	}
	if strings.Count(name, ".") >= c.ndots {
		return append([]string{name + "."}, all...)
	}
	return append(all, name+".")
}

// maxName is the length of the longest name, with its final dot (RFC 1035 §2.3.4).
const maxName = 254
