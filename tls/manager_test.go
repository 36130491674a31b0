package tls_test

import (
	"bytes"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/tls"
)

const testSecret = "a secret for the tests"

var home = netip.MustParseAddr("127.71.0.3")

// clock is a clock that a test moves.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) move(d time.Duration) { c.ahead.Add(int64(d)) }

// testLog gives a log that ends with the test.
func testLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func sealer(t testing.TB, text string) *tls.Sealer {
	t.Helper()
	secret, err := tls.ParseSecret([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return secret.Sealer()
}

// open opens a manager, which is closed with the test.
func open(t testing.TB, options tls.Options) *tls.Manager {
	t.Helper()
	if options.Sealer == nil {
		options.Sealer = sealer(t, testSecret)
	}
	if options.Log == nil {
		options.Log = testLog(t)
	}
	m := tls.New(options)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.Open(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeManager(t, m) })
	return m
}

func closeManager(t testing.TB, m *tls.Manager) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Error(err)
	}
}

// serve answers every connection with one byte; it returns the address.
func serve(t testing.TB, config *stdtls.Config) string {
	t.Helper()
	listener, err := net.Listen("tcp", netip.AddrPortFrom(home, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				stdtls.Server(conn, config).Write([]byte("x"))
			})
		}
	})
	t.Cleanup(func() { listener.Close(); work.Wait() })
	return listener.Addr().String()
}

// shake makes a connection and returns its state, after one byte was read, and with it any tickets.
func shake(address string, config *stdtls.Config) (stdtls.ConnectionState, error) {
	dialer := &stdtls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return stdtls.ConnectionState{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return stdtls.ConnectionState{}, err
	}
	return conn.(*stdtls.Conn).ConnectionState(), nil
}

// trust is a client that trusts the manager's authority.
func trust(t testing.TB, m *tls.Manager, host string) *stdtls.Config {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(m.CAPEM()) {
		t.Fatal("no authority")
	}
	return &stdtls.Config{RootCAs: roots, ServerName: host}
}

// leaf returns the certificate that a server shows for a name; "" sends none.
func leaf(t testing.TB, address, host string) *x509.Certificate {
	t.Helper()
	state, err := shake(address, &stdtls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("%s: %v", host, err)
	}
	return state.PeerCertificates[0]
}

func newRequest(t testing.TB, url string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within two minutes", what)
		}
	}
}

// complete tells whether every wanted certificate is made and none has an error.
func complete(m *tls.Manager, count int) func() bool {
	return func() bool {
		list := m.List()
		for _, info := range list {
			if info.Error != "" {
				return false
			}
		}
		return len(list) == count
	}
}

func count(t testing.TB, client *clientv3.Client, prefix string) int {
	t.Helper()
	answer, err := client.Get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return int(answer.Count)
}

// Two nodes that start together, and are asked for the same new hosts at once, agree on everything.
func TestTwoNodesOneOfEach(t *testing.T) {
	storage, client := store(t)
	var nodes [2]*tls.Manager
	var work sync.WaitGroup
	for i := range nodes {
		nodes[i] = tls.New(tls.Options{Storage: storage, Sealer: sealer(t, testSecret), Log: testLog(t)})
		work.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := nodes[i].Open(ctx); err != nil {
				t.Error(err)
			}
		})
		defer closeManager(t, nodes[i])
	}
	work.Wait()
	if a, b := nodes[0].CAPEM(), nodes[1].CAPEM(); a == nil || !bytes.Equal(a, b) {
		t.Fatal("two authorities")
	}
	hosts := []string{"*.wild.test"}
	for i := range 20 {
		hosts = append(hosts, fmt.Sprintf("Host%d.test.", i))
	}
	addresses := [2]string{serve(t, nodes[0].Config()), serve(t, nodes[1].Config())}
	clients := [2]*stdtls.Config{trust(t, nodes[0], ""), trust(t, nodes[1], "")}
	for _, node := range nodes {
		node.SetHosts(hosts, []netip.Addr{home, netip.MustParseAddr("::1")})
	}
	var mu sync.Mutex
	seen := make(map[string]map[string]bool) // serial numbers by host
	for i := range 4 * 20 {
		work.Go(func() {
			host := fmt.Sprintf("host%d.test", i%20)
			config := clients[i%2].Clone()
			config.ServerName = host
			state, err := shake(addresses[i/20%2], config)
			if err != nil {
				t.Errorf("%s: %v", host, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[host] == nil {
				seen[host] = make(map[string]bool)
			}
			seen[host][state.PeerCertificates[0].SerialNumber.String()] = true
		})
	}
	work.Wait()
	for host, serials := range seen {
		if len(serials) != 1 {
			t.Errorf("%s has %d certificates", host, len(serials))
		}
	}
	for i, node := range nodes {
		waitFor(t, "complete set", complete(node, 23))
		for name, host := range map[string]string{"x.wild.test": "*.wild.test", home.String(): home.String()} {
			state, err := shake(addresses[i], trust(t, node, name))
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := state.PeerCertificates[0].Subject.CommonName; got != host {
				t.Errorf("%s got the certificate of %s", name, got)
			}
		}
	}
	if got := count(t, client, "/tripod/certs/internal/"); got != 23 {
		t.Errorf("%d internal certificates stored, want 23", got)
	}
}

// What a client sees that sends no name, or one that nobody configured.
func TestUnknownNames(t *testing.T) {
	storage, client := store(t)
	m := open(t, tls.Options{Storage: storage})
	address := serve(t, m.Config())
	if _, err := shake(address, &stdtls.Config{ServerName: "a.test", InsecureSkipVerify: true}); err == nil {
		t.Error("a handshake with nothing configured worked")
	}
	other := netip.MustParseAddr("127.71.0.99")
	m.SetHosts([]string{"a.test", "*.a.test", "not a name", "a..b"}, []netip.Addr{other, home})
	for name, want := range map[string]string{
		"":            home.String(), // the address of the connection, not the first
		"unknown":     home.String(),
		"x.test":      home.String(),
		"a.test":      "a.test",
		"A.TEST":      "a.test",
		"b.a.test":    "*.a.test",
		"c.b.a.test":  home.String(), // a wildcard is for one label (RFC 6125 §6.4.3)
		"xa.test":     home.String(),
		"../ca":       home.String(),
		"127.71.0.99": "127.71.0.3", // addresses are not sent as names (RFC 6066 §3)
	} {
		if got := leaf(t, address, name).Subject.CommonName; got != want {
			t.Errorf("%q got the certificate of %s, want %s", name, got, want)
		}
	}
	m.SetHosts([]string{"a.test"}, []netip.Addr{other})
	if got := leaf(t, address, "").Subject.CommonName; got != other.String() {
		t.Errorf("an address without a certificate shows that of %s", got)
	}
	waitFor(t, "complete set", complete(m, 2))
	if got := count(t, client, "/tripod/certs/internal/"); got != 4 {
		t.Errorf("%d internal certificates stored, want 4", got)
	}
}

// Nothing that a thief of etcd's data or of the cache gets holds a key.
func TestKeysAreSealed(t *testing.T) {
	storage, client := store(t)
	cache := filepath.Join(t.TempDir(), "certs")
	m := tls.New(tls.Options{Storage: storage, Sealer: sealer(t, testSecret), Cache: cache})
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer closeManager(t, m)
	pair := selfSigned(t, "added.test")
	if _, _, err := m.Add(t.Context(), "mine", pair.cert, pair.key); err != nil {
		t.Fatal(err)
	}
	m.SetHosts([]string{"a.test"}, nil)
	waitFor(t, "complete set", complete(m, 2))
	ready, err := m.Config().GetCertificate(&stdtls.ClientHelloInfo{ServerName: "a.test"})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(ready.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	closeManager(t, m)
	stored, err := client.Get(t.Context(), "/tripod/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for _, kv := range stored.Kvs {
		all.Write(kv.Value)
	}
	cached, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(cache); err != nil || info.Mode() != 0o600 {
		t.Errorf("cache: %v, %v", info.Mode(), err)
	}
	if len(stored.Kvs) != 4 || bytes.Count(cached, []byte("\n")) != 5 {
		t.Errorf("%d keys stored, %d lines cached", len(stored.Kvs), bytes.Count(cached, []byte("\n")))
	}
	all.Write(cached)
	for _, line := range bytes.Split(cached, []byte("\n")) {
		all.Write(decodeCacheLine(line))
	}
	for what, secret := range map[string][]byte{
		"PEM": []byte("PRIVATE KEY"), "a made key": der, "its tail": der[len(der)-24:], "the added key": pair.keyDER, "its scalar": pair.scalar,
	} {
		if bytes.Contains(all.Bytes(), secret) {
			t.Errorf("%s is stored or cached in plain", what)
		}
	}
}

// A node that comes back while there is no quorum serves what it served.
func TestServesFromCache(t *testing.T) {
	storage, _ := store(t)
	cache := filepath.Join(t.TempDir(), "certs")
	first := tls.New(tls.Options{Storage: storage, Sealer: sealer(t, testSecret), Cache: cache, Log: testLog(t)})
	if err := first.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer closeManager(t, first)
	pair := selfSigned(t, "added.test")
	if _, _, err := first.Add(t.Context(), "mine", pair.cert, pair.key); err != nil {
		t.Fatal(err)
	}
	first.SetHosts([]string{"a.test"}, []netip.Addr{home})
	waitFor(t, "complete set", complete(first, 3))
	address := serve(t, first.Config())
	before, added := leaf(t, address, "a.test"), leaf(t, address, "added.test")
	client := trust(t, first, "a.test")
	client.ClientSessionCache = stdtls.NewLRUClientSessionCache(0)
	if _, err := shake(address, client); err != nil {
		t.Fatal(err)
	}
	closeManager(t, first)

	second := tls.New(tls.Options{Sealer: sealer(t, testSecret), Cache: cache, Log: testLog(t)})
	defer closeManager(t, second)
	if err := second.OpenCached(); err != nil {
		t.Fatal(err)
	}
	second.SetHosts([]string{"a.test", "new.test"}, []netip.Addr{home})
	address = serve(t, second.Config())
	if !leaf(t, address, "a.test").Equal(before) || !leaf(t, address, "added.test").Equal(added) {
		t.Error("other certificates than before")
	}
	if state, err := shake(address, client); err != nil || !state.DidResume {
		t.Errorf("a session from before does not resume: %v", err)
	}
	// A host that is new meanwhile gets a certificate of this node alone, by the authority that clients know.
	if _, err := shake(address, trust(t, second, "new.test")); err != nil {
		t.Fatal(err)
	}

	// When the cluster is back, everybody takes that one.
	if _, _, err := second.Add(t.Context(), "x", pair.cert, pair.key); !errors.Is(err, tls.ErrNoStorage) {
		t.Errorf("added without a cluster: %v", err)
	}
	second.Attach(storage)
	if err := second.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := open(t, tls.Options{Storage: storage})
	other.SetHosts([]string{"new.test"}, nil)
	waitFor(t, "shared certificate", complete(second, 4))
	otherAddress := serve(t, other.Config())
	a, b := leaf(t, address, "new.test"), leaf(t, otherAddress, "new.test")
	if !a.Equal(b) {
		t.Error("the nodes show two certificates for one host")
	}
	if !bytes.Equal(first.CAPEM(), other.CAPEM()) {
		t.Error("another authority")
	}
}

func TestBadCache(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "certs")
	fresh := func(secret string) *tls.Manager {
		return tls.New(tls.Options{Sealer: sealer(t, secret), Cache: cache, Log: testLog(t)})
	}
	if err := fresh(testSecret).OpenCached(); err != nil {
		t.Errorf("no cache: %v", err)
	}
	storage, _ := store(t)
	m := open(t, tls.Options{Storage: storage, Cache: cache})
	m.SetHosts([]string{"a.test"}, nil)
	waitFor(t, "certificate", complete(m, 1))
	closeManager(t, m)
	good, err := os.ReadFile(cache)
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh("the wrong secret").OpenCached(); !errors.Is(err, tls.ErrWrongKey) || !strings.Contains(err.Error(), cache) {
		t.Errorf("another secret: %v", err)
	}
	for name, bad := range map[string][]byte{
		"empty":    {},
		"rubbish":  []byte("rubbish\n"),
		"cut":      good[:len(good)*2/3],
		"swapped":  bytes.ReplaceAll(bytes.ReplaceAll(bytes.ReplaceAll(good, []byte("certs/ca"), []byte("X")), []byte("certs/internal/a.test"), []byte("certs/ca")), []byte(`X"`), []byte(`certs/internal/a.test"`)),
		"tampered": bytes.Replace(good, []byte(`"value":"c`), []byte(`"value":"d`), 1),
	} {
		if err := os.WriteFile(cache, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		m := fresh(testSecret)
		if err := m.OpenCached(); err == nil {
			t.Errorf("%s: no error", name)
		}
		m.SetHosts([]string{"a.test"}, nil)
		if name == "swapped" && m.CAPEM() != nil {
			t.Error("swapped: a leaf became the authority")
		}
		closeManager(t, m)
	}
}

// Without a cluster and without a cache there is nothing to show, and the log says so once.
func TestBlankNode(t *testing.T) {
	var log bytes.Buffer
	m := tls.New(tls.Options{Sealer: sealer(t, testSecret), Log: slog.New(slog.NewTextHandler(&log, nil))})
	m.SetHosts([]string{"a.test"}, []netip.Addr{home})
	if err := m.Open(t.Context()); !errors.Is(err, tls.ErrNoStorage) {
		t.Errorf("opened without a storage: %v", err)
	}
	for range 3 {
		_, err := m.Config().GetCertificate(&stdtls.ClientHelloInfo{ServerName: "a.test"})
		if !errors.Is(err, tls.ErrNoCertificate) {
			t.Fatalf("%v", err)
		}
	}
	closeManager(t, m)
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "no quorum") || !strings.Contains(got, "a.test") {
		t.Errorf("log: %s", got)
	}
}
