package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"tripod/proxy/upstream"
)

var nextHost atomic.Int32

// rig is a proxy with a loopback address of its own.
type rig struct {
	t        *testing.T
	p        *Proxy
	local    netip.Addr
	registry *prometheus.Registry
	log      *lines
	access   *lines
}

// lines collects log lines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func loopback() netip.Addr {
	n := nextHost.Add(1)
	return netip.AddrFrom4([4]byte{127, 61, byte(n >> 8), byte(n)})
}

func start(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, local: loopback(), registry: prometheus.NewRegistry(), log: &lines{}, access: &lines{}}
	o := Options{
		Node: "n1", Local: r.local, StickyKey: []byte("key"), Registry: r.registry, TLS: testTLS(t),
		Log:       slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		AccessLog: r.access,
	}
	for _, c := range change {
		c(&o)
	}
	r.p = New(o)
	if err := r.p.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.p.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s\naccess log:\n%s", r.log, r.access)
		}
	})
	return r
}

// port finds a port that is free on the rig's own address.
func (r *rig) port() int {
	r.t.Helper()
	return freePort(r.t, r.local)
}

func freePort(t testing.TB, a netip.Addr) int {
	t.Helper()
	ln, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func (r *rig) apply(c Config) {
	r.t.Helper()
	if err := r.p.Apply(r.t.Context(), c); err != nil {
		r.t.Fatalf("apply: %v", err)
	}
}

// serve applies a document with one http listener, one any-host route and one service of the given servers,
// and returns the listener's host:port.
func (r *rig) serve(servers ...string) string {
	r.t.Helper()
	c, at := r.config(servers...)
	r.apply(c)
	return at
}

func (r *rig) config(servers ...string) (Config, string) {
	port := r.port()
	return Config{
		Listeners: map[string]ListenerConfig{"http": {Address: fmt.Sprintf(":%d", port)}},
		Routes:    []RouteConfig{{Service: "web"}},
		Services:  map[string]upstream.Config{"web": service(servers...)},
		AccessLog: 1,
	}, fmt.Sprintf("%s:%d", r.local, port)
}

func service(servers ...string) upstream.Config {
	var c upstream.Config
	for _, s := range servers {
		c.Servers = append(c.Servers, upstream.ServerConfig{Address: s})
	}
	return c
}

// backend starts a web server.
func backend(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.Listener.Addr().String()
}

// named starts a web server that answers with its name.
func named(t testing.TB, name string) string {
	return backend(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) })
}

// rawBackend starts a server that handles connections itself.
func rawBackend(t testing.TB, h func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				h(c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return ln.Addr().String()
}

// deadAddress is a port that nobody listens on.
func deadAddress(t testing.TB) string {
	a := loopback()
	return fmt.Sprintf("%s:%d", a, freePort(t, a))
}

func testTLS(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

// client makes a client of its own, so that no test gets another's connections.
func client(t testing.TB, h2 bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{Protocols: p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get returns status and body.
func get(t testing.TB, c *http.Client, url string) (int, string) {
	t.Helper()
	res, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// metric sums up a metric over the series with the given labels; -1 if there is none.
func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	sum := -1.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			match := true
			for i := 0; i < len(labels); i += 2 {
				match = match && have[labels[i]] == labels[i+1]
			}
			if match {
				sum = max(sum, 0) + m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// eventually waits until f is true.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
