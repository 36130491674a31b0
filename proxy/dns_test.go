package proxy

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"tripod/proxy/upstream"
)

// nameServer answers every question for an address with one.
func nameServer(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 3600}, A: net.ParseIP(address)}}
		}
		w.WriteMsg(m)
	})}
	done := make(chan error)
	go func() { done <- server.ActivateAndServe() }()
	t.Cleanup(func() {
		server.Shutdown()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return conn.LocalAddr().String()
}

func TestTheDocumentsNameServersAreAsked(t *testing.T) {
	r := start(t)
	server := backend(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello " + r.Host)) })
	_, port, _ := net.SplitHostPort(server)
	c, at := r.config("app.test.:" + port)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	right, wrong := nameServer(t, "127.0.0.1"), nameServer(t, "127.73.0.1")
	c.DNS.Servers = []string{right}
	r.apply(c)
	if status, body := get(t, client, "http://"+at+"/"); status != 200 || !strings.HasPrefix(body, "hello ") {
		t.Fatalf("the first request, at once: %d %q", status, body)
	}
	// What the next document says of name servers counts from then on, though the former answer is good for an hour.
	c.DNS.Servers = []string{wrong}
	r.apply(c)
	eventually(t, "the other address", func() bool { return r.p.Status().Services[0].Servers[0].Address == "127.73.0.1:"+port })
	c.DNS.Servers = []string{right}
	r.apply(c)
	eventually(t, "the first address", func() bool { return r.p.Status().Services[0].Servers[0].Address == server })
	c.DNS.Servers = []string{"ns.test"}
	if err := r.p.Apply(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), `dns.servers[0]: "ns.test" is no address of a name server: `) {
		t.Errorf("a name server by name: %v", err)
	}
	if status, _ := get(t, client, "http://"+at+"/"); status != 200 {
		t.Errorf("after a bad document: %d", status)
	}
}

func TestDNSValidate(t *testing.T) {
	checkFaults(t, DNSConfig{}.Validate())
	checkFaults(t, DNSConfig{Servers: []string{"10.0.0.2", "10.0.0.3:53", "[2001:db8::1]:5353"}}.Validate())
	checkFaults(t, DNSConfig{Servers: []string{"ns.test:53", "10.0.0.2:53", "", "10.0.0.2", "10.0.0.2:0"}}.Validate(),
		`servers[0]: "ns.test:53" is no address`, `servers[2]: "" is no address`, "servers[3]: name server 10.0.0.2:53 is listed twice: servers[1]", `servers[4]: "10.0.0.2:0" cannot be asked`)
	many := DNSConfig{}
	for _, digit := range "123456789" {
		many.Servers = append(many.Servers, "10.0.0."+string(digit))
	}
	checkFaults(t, many.Validate(), "servers: there are 9 name servers: give 8 at most")
	checkFaults(t, Config{DNS: DNSConfig{Servers: []string{"x"}}, Services: map[string]upstream.Config{}}.Validate(), `dns.servers[0]: "x" is no address`)
}
