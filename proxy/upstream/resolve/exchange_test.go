package resolve

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// raw is a name server that sends packets of its own making for each question, over UDP.
func raw(t testing.TB, packets func(q *dns.Msg, from net.Addr) [][]byte) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		b := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if err := q.Unpack(b[:n]); err != nil {
				t.Errorf("the question cannot be read: %v", err)
				continue
			}
			for _, p := range packets(q, from) {
				conn.WriteTo(p, from)
			}
		}
	})
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// says packs a reply to q with an address, after change.
func says(t testing.TB, q *dns.Msg, address string, change func(m *dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetReply(q)
	if q.Question[0].Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(address)}}
	}
	change(m)
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
	}
	return b
}

func TestWhatIsNoReplyIsPassedOver(t *testing.T) {
	t.Parallel()
	foreign, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	s := raw(t, func(q *dns.Msg, from net.Addr) [][]byte {
		foreign.WriteTo(says(t, q, "10.6.6.6", func(*dns.Msg) {}), from) // right, but from elsewhere
		// Each of these says 10.6.6.6, and is no answer to the question.
		bad := func(change func(m *dns.Msg)) []byte { return says(t, q, "10.6.6.6", change) }
		good := says(t, q, "10.0.0.1", func(*dns.Msg) {})
		return [][]byte{
			{}, {0}, []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), good[:len(good)-7], make([]byte, 4096), make([]byte, 9000),
			bad(func(m *dns.Msg) { m.Id++ }),
			bad(func(m *dns.Msg) { m.Response = false }),
			bad(func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify }),
			bad(func(m *dns.Msg) { m.Question[0].Name = "bad.test." }),
			bad(func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeMX }),
			bad(func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS }),
			bad(func(m *dns.Msg) { m.Question = nil }),
			bad(func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) }),
			good,
		}
	})
	w := watch(t, plainSetting(t).resolver(s), Question{Name: "app.test"})
	if a := w.wait("10.0.0.1"); a.Err != nil {
		t.Error(a.Err)
	}
}

func TestRecordsOfOthersAreNotTaken(t *testing.T) {
	t.Parallel()
	s := raw(t, func(q *dns.Msg, _ net.Addr) [][]byte {
		return [][]byte{says(t, q, "10.0.0.1", func(m *dns.Msg) {
			for _, text := range []string{"other.test. 60 IN A 10.6.6.6", "app.test. 60 CH A 10.6.6.6", "app.test. 60 IN AAAA 2001:db8::6", "app.test. 60 IN TXT 10.6.6.6"} {
				if rr, err := dns.NewRR(text); err == nil && rr.Header().Rrtype != q.Question[0].Qtype || err == nil && !strings.HasPrefix(text, "app.test. 60 IN") {
					m.Answer = append(m.Answer, rr)
				}
			}
			m.Extra = append(m.Extra, &dns.A{Hdr: dns.RR_Header{Name: "app.test.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP("10.6.6.6")})
		})}
	})
	w := watch(t, plainSetting(t).resolver(s), Question{Name: "app.test"})
	w.wait("10.0.0.1")
}

func TestAFloodOfJunkEnds(t *testing.T) {
	t.Parallel()
	s := raw(t, func(q *dns.Msg, _ net.Addr) [][]byte { return slices.Repeat([][]byte{{1, 2, 3}}, 3*maxJunk) })
	w := watch(t, plainSetting(t).resolver(s), Question{Name: "app.test"})
	a := w.waitFault("app.test: " + s.String())
	if text := a.Err.Error(); !strings.Contains(text, "no reply to the question") && !strings.Contains(text, silence) {
		t.Errorf("error %q", text)
	}
}

func TestServersAreAskedInTurn(t *testing.T) {
	t.Parallel()
	quiet := silent(t)
	closed := raw(t, func(*dns.Msg, net.Addr) [][]byte { return nil })
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := gone.LocalAddr().(*net.UDPAddr).AddrPort()
	gone.Close()
	failing, good, spare := newServer(t), newServer(t, "app.test. 60 IN A 10.0.0.1", soaText), newServer(t, "app.test. 60 IN A 10.6.6.6", soaText)
	failing.fail(dns.RcodeServerFailure)
	w := watch(t, plainSetting(t).resolver(quiet, closed, refusing, failing.address, good.address, spare.address), Question{Name: "app.test"})
	if a := w.wait("10.0.0.1"); a.Err != nil {
		t.Error(a.Err)
	}
	if failing.count("app.test. A ") != 1 || spare.count("") != 0 {
		t.Errorf("asked %q and %q", failing.asked, spare.asked)
	}
	good.fail(dns.RcodeRefused)
	all := watch(t, plainSetting(t).resolver(quiet, refusing, failing.address, good.address), Question{Name: "app.test"})
	all.waitFault(fmt.Sprintf("app.test: %s did not answer within 3s, %s is no name server (connection refused), %s failed (SERVFAIL), %s failed (REFUSED), next try in ",
		quiet, refusing, failing.address, good.address))
}

func TestOtherServersMayBeSet(t *testing.T) {
	t.Parallel()
	first, second := newServer(t, "app.test. 3600 IN A 10.0.0.1", soaText), newServer(t, "app.test. 3600 IN A 10.0.0.2", soaText)
	r := plainSetting(t).resolver(first.address)
	w := watch(t, r, Question{Name: "app.test"})
	w.wait("10.0.0.1")
	r.SetServers([]netip.AddrPort{first.address})
	r.SetServers([]netip.AddrPort{second.address})
	w.wait("10.0.0.2")
	if n := first.count("app.test. A "); n != 1 {
		t.Errorf("the first was asked %d times", n)
	}
}

func TestServersWithoutEDNS(t *testing.T) {
	t.Parallel()
	for _, code := range []int{dns.RcodeFormatError, dns.RcodeNotImplemented} {
		s := newServer(t, "app.test. 60 IN A 10.0.0.1", soaText)
		s.do(func(w dns.ResponseWriter, q *dns.Msg) bool {
			opt := q.IsEdns0()
			if opt == nil {
				return false
			}
			if opt.UDPSize() != udpSize {
				t.Errorf("replies of %d bytes are asked for", opt.UDPSize())
			}
			m := new(dns.Msg).SetRcode(q, code)
			m.Question = nil // as some do
			w.WriteMsg(m)
			return true
		})
		watch(t, plainSetting(t).resolver(s.address), Question{Name: "app.test"}).wait("10.0.0.1")
	}
}

func TestBrokenTCP(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string][]byte{"ended the connection": {0xff}, "something else": append([]byte{0, 12}, make([]byte, 12)...)} {
		packets, stream := listenBoth(t)
		udp := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Truncated = true
			w.WriteMsg(m)
		})}
		var wg sync.WaitGroup
		wg.Go(func() { udp.ActivateAndServe() })
		wg.Go(func() {
			for {
				conn, err := stream.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, 512))
				conn.Write(answer)
				conn.Close()
			}
		})
		t.Cleanup(func() {
			udp.Shutdown()
			stream.Close()
			wg.Wait()
		})
		good := newServer(t, "app.test. 60 IN A 10.0.0.1", soaText)
		bad := packets.LocalAddr().(*net.UDPAddr).AddrPort()
		watch(t, plainSetting(t).resolver(bad, good.address), Question{Name: "app.test"}).wait("10.0.0.1")
		watch(t, plainSetting(t).resolver(bad), Question{Name: "app.test"}).waitFault(what)
	}
}

func TestQuestionsAreHardToGuess(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ids, ports := map[uint16]bool{}, map[string]bool{}
	s := newServer(t)
	s.do(func(w dns.ResponseWriter, q *dns.Msg) bool {
		mu.Lock()
		defer mu.Unlock()
		ids[q.Id], ports[w.RemoteAddr().String()] = true, true
		return false
	})
	r := plainSetting(t).resolver(s.address)
	for i := range 20 {
		watch(t, r, Question{Name: fmt.Sprint("a", i, ".test")}).waitFault("NXDOMAIN")
	}
	mu.Lock()
	defer mu.Unlock()
	if len(ids) < 35 || len(ports) < 30 {
		t.Errorf("40 questions had %d ids and %d ports", len(ids), len(ports))
	}
}
