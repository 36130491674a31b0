package resolve

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a name server on loopback, over UDP and TCP, whose records are changed while it runs.
type server struct {
	t       testing.TB
	address netip.AddrPort

	mu      sync.Mutex
	records []dns.RR
	answer  func(w dns.ResponseWriter, q *dns.Msg) bool // goes first; true if it did
	asked   []string                                    // "name. TYPE udp"
	when    []time.Time
}

func newServer(t testing.TB, records ...string) *server {
	t.Helper()
	s := &server{t: t}
	s.set(records...)
	packets, stream := listenBoth(t)
	s.address = packets.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, d := range []*dns.Server{{PacketConn: packets, Handler: s}, {Listener: stream, Handler: s}} {
		done := make(chan error)
		go func() { done <- d.ActivateAndServe() }()
		t.Cleanup(func() {
			d.Shutdown()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	return s
}

// listenBoth listens on one port for UDP and TCP.
func listenBoth(t testing.TB) (net.PacketConn, net.Listener) {
	t.Helper()
	var err error
	for range 100 {
		var packets net.PacketConn
		if packets, err = net.ListenPacket("udp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		var stream net.Listener
		if stream, err = net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, stream
		}
		packets.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// set makes these all records.
func (s *server) set(records ...string) {
	s.t.Helper()
	var all []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, rr)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = all
}

// do makes f answer before the records do.
func (s *server) do(f func(w dns.ResponseWriter, q *dns.Msg) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = f
}

// fail makes the server answer with a code.
func (s *server) fail(code int) {
	s.do(func(w dns.ResponseWriter, q *dns.Msg) bool {
		w.WriteMsg(new(dns.Msg).SetRcode(q, code))
		return true
	})
}

// count is how often a question was asked: "name. TYPE", or the beginning of that.
func (s *server) count(question string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, a := range s.asked {
		if strings.HasPrefix(a, question) {
			n++
		}
	}
	return n
}

func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	question := q.Question[0]
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s %s %s", question.Name, dns.TypeToString[question.Qtype], w.RemoteAddr().Network()))
	s.when = append(s.when, time.Now())
	answer := s.answer
	reply := s.reply(q)
	s.mu.Unlock()
	if answer != nil && answer(w, q) {
		return
	}
	if w.RemoteAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		reply.Truncate(size)
	}
	w.WriteMsg(reply)
}

// reply is what the records say, with the addresses of SRV hosts. s.mu is held.
func (s *server) reply(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.Authoritative = true
	name, exists := q.Question[0].Name, false
	for range 20 {
		alias := ""
		for _, rr := range s.records {
			h := rr.Header()
			if h.Name != name {
				continue
			}
			exists = exists || h.Rrtype != dns.TypeSOA
			if h.Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, rr)
				if srv, ok := rr.(*dns.SRV); ok {
					m.Extra = append(m.Extra, s.extra(srv.Target)...)
				}
			} else if c, ok := rr.(*dns.CNAME); ok {
				alias = c.Target
				m.Answer = append(m.Answer, rr)
			}
		}
		if alias == "" {
			break
		}
		name = alias
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		for _, rr := range s.records {
			if rr.Header().Rrtype == dns.TypeSOA && dns.IsSubDomain(rr.Header().Name, name) {
				m.Ns = append(m.Ns, rr)
			}
		}
	}
	return m
}

// extra are the addresses of a host whose name begins with "glue".
func (s *server) extra(host string) []dns.RR {
	var all []dns.RR
	for _, rr := range s.records {
		if strings.HasPrefix(host, "glue") && rr.Header().Name == host {
			all = append(all, rr)
		}
	}
	return all
}

// silent is a name server that never answers.
func silent(t testing.TB) netip.AddrPort {
	t.Helper()
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { packets.Close() })
	return packets.LocalAddr().(*net.UDPAddr).AddrPort()
}

// setting is the files of a system of its own.
type setting struct {
	t          testing.TB
	hosts, etc string
}

func newSetting(t testing.TB, hosts, resolvConf string) *setting {
	t.Helper()
	dir := t.TempDir()
	s := &setting{t: t, hosts: filepath.Join(dir, "hosts"), etc: filepath.Join(dir, "resolv.conf")}
	s.write(s.hosts, hosts)
	s.write(s.etc, resolvConf)
	return s
}

// write replaces a file as editors do.
func (s *setting) write(path, text string) {
	s.t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setting) resolver(servers ...netip.AddrPort) *Resolver {
	s.t.Helper()
	r := New(Options{Servers: servers, HostsFile: s.hosts, ResolvConf: s.etc})
	open(s.t, r)
	return r
}

func open(t testing.TB, r *Resolver) {
	t.Helper()
	if err := r.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// plainSetting has an empty hosts file and no search domains.
func plainSetting(t testing.TB) *setting { return newSetting(t, "", "search .\n") }

// watcher keeps what a watch is told.
type watcher struct {
	t     testing.TB
	watch *Watch

	mu      sync.Mutex
	answers []Answer
}

func watch(t testing.TB, r *Resolver, q Question) *watcher {
	t.Helper()
	w := &watcher{t: t}
	w.watch = r.Watch(q, func(a Answer) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.answers = append(w.answers, a)
	})
	return w
}

func (w *watcher) told() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.answers)
}

// last is the last answer; zero if there was none.
func (w *watcher) last() Answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.answers) == 0 {
		return Answer{}
	}
	return w.answers[len(w.answers)-1]
}

// wait waits for an answer with these targets, in the form of show.
func (w *watcher) wait(targets ...string) Answer {
	w.t.Helper()
	eventually(w.t, func() bool { return w.told() > 0 && slices.Equal(show(w.last().Targets), targets) }, func() string {
		return fmt.Sprintf("want %q, have %q, %v", targets, show(w.last().Targets), w.last().Err)
	})
	return w.last()
}

// waitFault waits for an answer that failed so.
func (w *watcher) waitFault(text string) Answer {
	w.t.Helper()
	eventually(w.t, func() bool { return w.last().Err != nil && strings.Contains(w.last().Err.Error(), text) }, func() string {
		return fmt.Sprintf("want %q, have %v", text, w.last().Err)
	})
	return w.last()
}

// show writes targets as "address", or with SRV "host address:port weight", and backups with a final "backup".
func show(targets []Target) []string {
	var all []string
	for _, t := range targets {
		text := t.Address
		if t.Host != "" {
			text = fmt.Sprintf("%s %s:%d %d", t.Host, t.Address, t.Port, t.Weight)
		}
		if t.Backup {
			text += " backup"
		}
		all = append(all, text)
	}
	return all
}

func eventually(t testing.TB, f func() bool, what func() string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what())
		}
	}
}
