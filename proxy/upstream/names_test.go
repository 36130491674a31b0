package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"tripod/proxy/upstream/health"
	"tripod/proxy/upstream/resolve"
)

// zone is a name server whose records are changed while it runs.
type zone struct {
	t       testing.TB
	address netip.AddrPort
	hold    sync.RWMutex // no answer while it is locked

	mu      sync.Mutex
	records []dns.RR
	asked   int
}

func newZone(t testing.TB, records ...string) *zone {
	t.Helper()
	z := &zone{t: t}
	z.set(records...)
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.address = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	server := &dns.Server{PacketConn: conn, Handler: z}
	done := make(chan error)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		server.Shutdown()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return z
}

// set makes these all records.
func (z *zone) set(records ...string) {
	z.t.Helper()
	var all []dns.RR
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			z.t.Fatal(err)
		}
		all = append(all, rr)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = all
}

func (z *zone) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	z.hold.RLock()
	defer z.hold.RUnlock()
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	m := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
	for _, rr := range z.records {
		if rr.Header().Name != q.Question[0].Name {
			continue
		}
		m.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == q.Question[0].Qtype {
			m.Answer = append(m.Answer, rr)
		}
	}
	w.WriteMsg(m)
}

// namedPool returns an open pool with one service, whose names a zone has.
func namedPool(t testing.TB, z *zone, c Config) (*Pool, *Service) {
	t.Helper()
	p := New(Options{})
	p.SetNameServers([]netip.AddrPort{z.address})
	if err := p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	commit(p, map[string]Config{"s": c})
	return p, p.Service("s")
}

// servers are the addresses of the service's servers, with the names, weights and the word backup.
func servers(s *Service) []string {
	var all []string
	for _, server := range s.status().Servers {
		text := fmt.Sprintf("%s %s %d", server.Name, server.Address, server.Weight)
		if server.Backup {
			text += " backup"
		}
		all = append(all, text)
	}
	return all
}

func waitServers(t testing.TB, s *Service, want ...string) {
	t.Helper()
	eventually(t.(*testing.T), fmt.Sprintf("servers %q", want), func() bool { return slices.Equal(servers(s), want) })
}

func TestARequestThatComesBeforeTheFirstAnswerWaitsForIt(t *testing.T) {
	for what, config := range map[string]Config{
		"alone":            {Servers: []ServerConfig{{Address: "app.test.:80"}}},
		"panic":            {AllDown: Panic, Servers: []ServerConfig{{Address: "app.test.:80"}}},
		"beside one of 0":  {Servers: []ServerConfig{{Address: at("a"), Weight: ptr(0)}, {Address: "app.test.:80"}}},
		"and its check":    {Servers: []ServerConfig{{Address: "app.test.:" + portOf(newChecked(t, 200).address)}}, Health: &health.Config{}},
		"beside one known": {Servers: []ServerConfig{{Address: "app.test.:80"}, {Address: at("b")}}},
	} {
		z := newZone(t, "app.test. 60 IN A 127.0.0.1")
		z.hold.Lock()
		_, s := namedPool(t, z, config)
		if what == "beside one known" {
			if got := one(t, s, ""); got.Address() != at("b") {
				t.Errorf("%s: got %s", what, got.Address())
			}
			z.hold.Unlock()
			continue
		}
		got := make(chan error)
		go func() {
			server, err := s.Acquire(t.Context(), &Ask{})
			if err == nil && server.Name() != config.Servers[len(config.Servers)-1].Address {
				err = errors.New("got " + server.Name())
			}
			got <- err
		}()
		eventually(t, "it waits", func() bool { return s.queue.length() == 1 })
		z.hold.Unlock()
		if err := <-got; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

func TestNobodyWaitsForANameThatDoesNotExist(t *testing.T) {
	z := newZone(t)
	z.hold.Lock()
	_, s := namedPool(t, z, Config{Servers: []ServerConfig{{Address: "app.test.:80"}}})
	got := make(chan error)
	go func() {
		_, err := s.Acquire(t.Context(), &Ask{})
		got <- err
	}()
	eventually(t, "it waits", func() bool { return s.queue.length() == 1 })
	z.hold.Unlock()
	if err := <-got; !errors.Is(err, ErrNoneUp) {
		t.Errorf("got %v", err)
	}
	if s.queue.gaveUp.Load() != 0 {
		t.Error("it waited until it gave up")
	}
	ask := Ask{}
	if _, err := s.Acquire(t.Context(), &ask); !errors.Is(err, ErrNoneUp) || ask.Waited != 0 {
		t.Errorf("the next got %v after %s", err, ask.Waited)
	}
	text := s.status().Names["app.test."]
	if start := "app.test.: no such name (NXDOMAIN) from " + z.address.String() + ", next try in "; !strings.HasPrefix(text, start) {
		t.Errorf("status: %q, want %q", text, start)
	}
}

func TestSRVRecordsAreServers(t *testing.T) {
	const name = "_http._tcp.web.test."
	z := newZone(t,
		name+" 1 IN SRV 1 10 8080 a.test.", name+" 1 IN SRV 1 30 8081 b.test.", name+" 1 IN SRV 2 0 8082 c.test.",
		"a.test. 60 IN A 10.0.0.1", "b.test. 60 IN A 10.0.0.2", "b.test. 60 IN AAAA 2001:db8::2", "c.test. 60 IN A 10.0.0.3")
	p, s := namedPool(t, z, Config{Servers: []ServerConfig{{SRV: name}}})
	waitServers(t, s, "a.test:8080 10.0.0.1:8080 10", "b.test:8081 10.0.0.2:8081 30", "b.test:8081 [2001:db8::2]:8081 30", "c.test:8082 10.0.0.3:8082 1 backup")
	commit(p, map[string]Config{"s": {Servers: []ServerConfig{{SRV: name, Weight: ptr(3), Backup: true}}}})
	waitServers(t, s, "a.test:8080 10.0.0.1:8080 3 backup", "b.test:8081 10.0.0.2:8081 3 backup", "b.test:8081 [2001:db8::2]:8081 3 backup", "c.test:8082 10.0.0.3:8082 3 backup")
	z.set(name+" 1 IN SRV 1 10 8080 c.test.", "c.test. 60 IN A 10.0.0.3")
	waitServers(t, s, "c.test:8080 10.0.0.3:8080 3 backup")
}

func TestWeightsOfSRVRecords(t *testing.T) {
	for _, tt := range []struct{ weights, want []int }{
		{[]int{1, 2, 3}, []int{1, 2, 3}},
		{[]int{0, 0}, []int{1, 1}},
		{[]int{256, 1}, []int{256, 1}},
		{[]int{1000, 3000}, []int{85, 256}},
		{[]int{65535, 1}, []int{256, 1}},
		{[]int{0, 5, 10}, []int{1, 128, 256}},
		{[]int{65535, 0}, []int{256, 1}},
	} {
		var found []resolve.Target
		for _, w := range tt.weights {
			found = append(found, resolve.Target{Weight: w})
		}
		share := shares(append(found, resolve.Target{Weight: 60000, Backup: true}))
		var got []int
		for _, f := range found {
			got = append(got, share(f))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%v: got %v, want %v", tt.weights, got, tt.want)
		}
	}
}

// listenAt starts a web server on each address, all with one port, that answers with its address.
func listenAt(t testing.TB, addresses ...string) string {
	t.Helper()
	port := "0"
	var err error
	for range 100 {
		var all []net.Listener
		for _, a := range addresses {
			var ln net.Listener
			if ln, err = net.Listen("tcp", net.JoinHostPort(a, port)); err != nil {
				break
			}
			all = append(all, ln)
			_, port, _ = net.SplitHostPort(ln.Addr().String())
		}
		if err != nil {
			for _, ln := range all {
				ln.Close()
			}
			port = "0"
			continue
		}
		for i, ln := range all {
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, addresses[i]) })}
			done := make(chan error)
			go func() { done <- server.Serve(ln) }()
			t.Cleanup(func() {
				server.Close()
				<-done
			})
		}
		return port
	}
	t.Fatal(err)
	return ""
}

func TestChangedRecordsMoveServersUnderLoad(t *testing.T) {
	port := listenAt(t, "127.72.0.1", "127.72.0.2", "127.72.0.3")
	z := newZone(t, "app.test. 1 IN A 127.72.0.1", "app.test. 1 IN A 127.72.0.2")
	p, s := namedPool(t, z, Config{Servers: []ServerConfig{{Address: "app.test.:" + port}}, Health: &health.Config{Interval: 100 * time.Millisecond}})
	var counts [4]atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer client.CloseIdleConnections()
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := askOne(s, client, &counts); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	grows := func(n int) {
		t.Helper()
		before := counts[n].Load()
		eventually(t, fmt.Sprintf("server %d answers", n), func() bool { return t.Failed() || counts[n].Load() > before+10 })
	}
	grows(1)
	grows(2)
	first := s.status().Servers[1]
	z.set("app.test. 1 IN A 127.72.0.2", "app.test. 1 IN A 127.72.0.3")
	began := time.Now()
	waitServers(t, s, "app.test.:"+port+" 127.72.0.2:"+port+" 1", "app.test.:"+port+" 127.72.0.3:"+port+" 1")
	took := time.Since(began)
	grows(3)
	grows(2)
	if took > 3*time.Second {
		t.Errorf("the change came after %s, the TTL is 1s", took)
	}
	if again := s.status().Servers[0]; again.Since != first.Since || again.Total < first.Total {
		t.Errorf("the server that stayed is another one: %+v, then %+v", first, again)
	}
	gone := counts[1].Load()
	z.set() // once it is said that there is none, and then a name server that is gone
	eventually(t, "a fault", func() bool { return s.status().Names["app.test."] != "" })
	p.SetNameServers([]netip.AddrPort{netip.MustParseAddrPort("127.72.0.9:9")})
	eventually(t, "another fault", func() bool { return strings.Contains(s.status().Names["app.test."], "127.72.0.9:9") })
	grows(2)
	grows(3)
	cancel()
	load.Wait()
	if n := counts[1].Load() - gone; n > 0 {
		t.Errorf("%d requests at a server whose address is gone", n)
	}
}

// askOne sends one request to a server of the service, and counts it at who answers.
func askOne(s *Service, client *http.Client, counts *[4]atomic.Int64) error {
	server, err := s.Acquire(context.Background(), &Ask{})
	if err != nil {
		return err
	}
	defer server.Release()
	r, err := client.Get("http://" + server.Address())
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	counts[text[len(text)-1]-'0'].Add(1)
	return nil
}

func TestNamesAreForgottenWithTheirService(t *testing.T) {
	z := newZone(t, "app.test. 1 IN A 127.0.0.1", "other.test. 1 IN A 127.0.0.2")
	p, s := namedPool(t, z, Config{Servers: []ServerConfig{{Address: "app.test.:80"}}})
	waitServers(t, s, "app.test.:80 127.0.0.1:80 1")
	commit(p, map[string]Config{"s": {Servers: []ServerConfig{{Address: "other.test.:80"}, {Address: "other.test.:81"}}}})
	waitServers(t, s, "other.test.:80 127.0.0.2:80 1", "other.test.:81 127.0.0.2:81 1")
	commit(p, map[string]Config{"t": {Servers: []ServerConfig{{Address: "third.test.:80"}}}})
	eventually(t, "the third is asked for", func() bool { return p.Status()[0].Names["third.test."] != "" })
	z.mu.Lock()
	z.asked = 0
	z.mu.Unlock()
	// Only third.test is left: in the time of two questions for it nobody asks for another.
	z.set("third.test. 1 IN A 127.0.0.3")
	waitServers(t, p.Service("t"), "third.test.:80 127.0.0.3:80 1")
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.asked > 6 {
		t.Errorf("asked %d times", z.asked)
	}
}

// localhost is one server, however many addresses it has: one program listens there.
func TestLocalhostIsOneServer(t *testing.T) {
	c := newChecked(t, 200)
	_, port, _ := net.SplitHostPort(c.address)
	_, s := pool(t, Config{Servers: []ServerConfig{{Address: "localhost:" + port}}})
	server := one(t, s, "")
	defer server.Release()
	if got := s.status().Servers; len(got) != 1 || got[0].Address != c.address || got[0].Name != "localhost:"+port {
		t.Errorf("servers: %+v", got)
	}
}
