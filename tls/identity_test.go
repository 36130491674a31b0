package tls

import (
	"bytes"
	"context"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var home = netip.MustParseAddr("127.71.0.1")

// logBuffer is a log that a test reads while it is written.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func newIdentity(t testing.TB, secret string, log io.Writer, now func() time.Time) *Identity {
	t.Helper()
	identity, err := mustSecret(t, secret).Authority().newIdentity("node1", []netip.Addr{home}, "", slog.New(slog.NewTextHandler(log, nil)), now)
	if err != nil {
		t.Fatal(err)
	}
	return identity
}

// connect makes one connection between two nodes, in which each reads a byte of the other.
func connect(t *testing.T, server, client *stdtls.Config) (serverErr, clientErr error) {
	t.Helper()
	listener, err := stdtls.Listen("tcp", netip.AddrPortFrom(home, 0).String(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err = conn.Read(make([]byte, 1)); err == nil {
			_, err = conn.Write([]byte("s"))
		}
		done <- err
	}()
	conn, err := stdtls.Dial("tcp", listener.Addr().String(), client)
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err = conn.Write([]byte("c")); err == nil {
			_, err = conn.Read(make([]byte, 1))
		}
	}
	return <-done, err
}

func TestNodesOfOneSecret(t *testing.T) {
	a, b := newIdentity(t, oneSecret, io.Discard, time.Now), newIdentity(t, oneSecret+"\n", io.Discard, time.Now)
	for name, client := range map[string]*stdtls.Config{"any": b.Client(), "one": b.ClientFor(home.String() + ":1")} {
		if s, c := connect(t, a.Server(), client); s != nil || c != nil {
			t.Errorf("%s: server %v, client %v", name, s, c)
		}
	}
}

func TestNodesOfTwoSecrets(t *testing.T) {
	ours, theirs := newIdentity(t, oneSecret, io.Discard, time.Now), newIdentity(t, otherSecret, io.Discard, time.Now)
	us, them := ours.authority.Fingerprint(), theirs.authority.Fingerprint()
	clear := func(what string, err error, parts ...string) {
		t.Helper()
		if !errors.Is(err, ErrWrongSecret) {
			t.Errorf("%s: %v", what, err)
			return
		}
		for _, part := range append(parts, sameSecret) {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: %q is not in %v", what, part, err)
			}
		}
	}
	both := "ours is " + us + ", theirs is " + them

	_, err := connect(t, theirs.Server(), ours.ClientFor(home.String()))
	clear("client for one address", err, home.String()+" has another secret", both)

	server, err := connect(t, theirs.Server(), ours.Client())
	clear("client", ours.ExplainPeer("127.71.0.1:2381", err), "127.71.0.1:2381 has another secret", both)
	clear("client, as gRPC says it", ours.ExplainPeer("127.71.0.1:2381", errors.New("rpc error: "+err.Error())), "127.71.0.1:2381", us)
	clear("server that the client refused", theirs.ExplainPeer("127.71.0.9", server), "127.71.0.9 refused our certificate", them)

	// A client that trusts anybody gets as far as to be refused by the server.
	careless := ours.Client()
	careless.InsecureSkipVerify = true
	server, client := connect(t, theirs.Server(), careless)
	clear("server", server, "ours is "+them+", theirs is "+us, `node "node1"`)
	clear("client that the server refused", ours.ExplainPeer("127.71.0.1:2381", client), "127.71.0.1:2381 refused our certificate", us)
	clear("the same, as text", ours.ExplainPeer("a", fmt.Errorf("%s", client)), us)
	if again := ours.ExplainPeer("b", ours.ExplainPeer("a", client)); !strings.HasPrefix(again.Error(), "a refused") {
		t.Errorf("explained twice: %v", again)
	}
}

func TestStrangers(t *testing.T) {
	ours := newIdentity(t, oneSecret, io.Discard, time.Now)
	server, client := connect(t, ours.Server(), &stdtls.Config{InsecureSkipVerify: true})
	if server == nil || client == nil {
		t.Error("a client without a certificate was let in")
	}
	if err := ours.ExplainPeer("x", client); !strings.Contains(err.Error(), "demands a client certificate") || errors.Is(err, ErrWrongSecret) {
		t.Errorf("without a certificate: %v", err)
	}
	server, _ = connect(t, ours.Server(), &stdtls.Config{InsecureSkipVerify: true, MaxVersion: stdtls.VersionTLS12})
	if server == nil {
		t.Error("TLS 1.2 was let in")
	}
	item, err := newInternalCA(mustSecret(t, oneSecret).Sealer(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := openInternalCA(mustSecret(t, oneSecret).Sealer(), item)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.issue(mustSecret(t, oneSecret).Sealer(), home.String(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := cert.use()
	if err != nil {
		t.Fatal(err)
	}
	server, _ = connect(t, ours.Server(), &stdtls.Config{
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*stdtls.CertificateRequestInfo) (*stdtls.Certificate, error) { return foreign, nil },
	})
	if server == nil || !strings.Contains(server.Error(), "is not a tripod node") || errors.Is(server, ErrWrongSecret) {
		t.Errorf("foreign certificate: %v", server)
	}
	for _, err := range []error{nil, io.EOF, &net.OpError{Op: "dial", Err: errors.New("connection refused")}} {
		if got := ours.ExplainPeer("x", err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// A certificate that only looks as if it came from our authority must not pass.
func TestForgedIssuer(t *testing.T) {
	ours, theirs := newIdentity(t, oneSecret, io.Discard, time.Now), mustSecret(t, otherSecret).Authority()
	forged := *theirs.cert
	forged.Subject, forged.RawSubject, forged.SubjectKeyId = ours.authority.cert.Subject, ours.authority.cert.RawSubject, ours.authority.cert.SubjectKeyId
	theirs.cert = &forged
	identity, err := theirs.newIdentity("node1", []netip.Addr{home}, "", nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	careless := identity.Client()
	careless.InsecureSkipVerify = true
	if server, _ := connect(t, ours.Server(), careless); server == nil {
		t.Error("the server let a forged certificate in")
	}
	for name, client := range map[string]*stdtls.Config{"any": ours.Client(), "one": ours.ClientFor(home.String())} {
		if _, err := connect(t, identity.Server(), client); err == nil {
			t.Errorf("%s: the client took a forged certificate", name)
		}
	}
}

func TestClientChecksTheAddress(t *testing.T) {
	ours := newIdentity(t, oneSecret, io.Discard, time.Now)
	client := ours.Client()
	client.ServerName = "127.71.0.2"
	for name, client := range map[string]*stdtls.Config{"any": client, "one": ours.ClientFor("127.71.0.2")} {
		_, err := connect(t, ours.Server(), client)
		if err = ours.ExplainPeer("127.71.0.2", err); err == nil || !strings.Contains(err.Error(), `answers as node "node1" at [127.71.0.1]`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWrongClock(t *testing.T) {
	late := func() time.Time { return time.Now().Add(60 * 24 * time.Hour) }
	ours, theirs := newIdentity(t, oneSecret, io.Discard, time.Now), newIdentity(t, oneSecret, io.Discard, late)
	_, err := connect(t, theirs.Server(), ours.ClientFor(home.String()))
	if err == nil || !strings.Contains(err.Error(), "set the clocks right") || errors.Is(err, ErrWrongSecret) {
		t.Errorf("%v", err)
	}
	little := func() time.Time { return time.Now().Add(-14 * time.Hour) }
	if s, c := connect(t, newIdentity(t, oneSecret, io.Discard, little).Server(), ours.Client()); s != nil || c != nil {
		t.Errorf("a clock 14 hours behind: %v, %v", s, c)
	}
}

func TestHTTPBetweenNodes(t *testing.T) {
	var log logBuffer
	ours, theirs := newIdentity(t, oneSecret, &log, time.Now), newIdentity(t, otherSecret, io.Discard, time.Now)
	listener, err := net.Listen("tcp", netip.AddrPortFrom(home, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: ours.Server(),
		ErrorLog:  ours.ErrorLog(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.ServeTLS(listener, "", "") }()
	defer func() { server.Close(); <-served }()
	get := func(from *Identity) (string, error) {
		transport := &http.Transport{TLSClientConfig: from.Client()}
		defer transport.CloseIdleConnections()
		answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get((&url.URL{Scheme: "https", Host: listener.Addr().String()}).String())
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return string(body), err
	}
	if name, err := get(ours); err != nil || name != "node1" {
		t.Errorf("%q, %v", name, err)
	}
	for range 3 {
		_, err = get(theirs)
		if err := theirs.ExplainPeer(listener.Addr().String(), err); !errors.Is(err, ErrWrongSecret) || !strings.Contains(err.Error(), ours.authority.Fingerprint()) {
			t.Errorf("%v", err)
		}
	}
	waitFor(t, "a line in the server's log", func() bool { return strings.Contains(log.String(), "refused our certificate") })
	if lines := strings.Count(log.String(), "\n"); lines != 1 {
		t.Errorf("%d lines instead of one:\n%s", lines, log.String())
	}
}

func TestIdentityRenews(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	move := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	folder := filepath.Join(t.TempDir(), "pki")
	identity, err := mustSecret(t, oneSecret).Authority().newIdentity("n-1", []netip.Addr{home}, folder, nil, clock)
	if err != nil {
		t.Fatal(err)
	}
	ca, cert, key := identity.Files()
	load := func() *x509.Certificate {
		t.Helper()
		pair, err := stdtls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf
	}
	first := load()
	if !first.Equal(identity.Certificate().Leaf) {
		t.Error("the file and the memory differ")
	}
	for _, host := range []string{"localhost", "n-1", "127.71.0.1"} {
		if err := first.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{ca, cert, key} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if data, _ := os.ReadFile(ca); !bytes.Equal(data, identity.authority.CAPEM()) {
		t.Error("ca.crt is something else")
	}
	server := identity.Server()

	move(19 * 24 * time.Hour)
	identity.check()
	if !load().Equal(first) {
		t.Error("renewed before two thirds of its life")
	}
	move(36 * time.Hour)
	identity.check()
	second := load()
	if second.Equal(first) {
		t.Fatal("not renewed")
	}
	if second.NotAfter.Sub(clock()) < 29*24*time.Hour {
		t.Errorf("renewed to %v", second.NotAfter)
	}
	if s, c := connect(t, server, identity.Client()); s != nil || c != nil {
		t.Errorf("%v, %v", s, c)
	}
	if shown, err := server.GetCertificate(nil); err != nil || !shown.Leaf.Equal(second) {
		t.Errorf("the old configuration shows something else: %v", err)
	}
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	move(40 * 24 * time.Hour)
	identity.check() // fails, and must not lose what there is
	if !identity.Certificate().Leaf.Equal(second) {
		t.Error("a renewal that failed changed the certificate")
	}

	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { identity.Run(ctx); close(done) }()
	cancel()
	<-done
}

func TestLeaf(t *testing.T) {
	authority := mustSecret(t, oneSecret).Authority()
	certPEM, keyPEM, err := authority.Leaf("not a host name!", []netip.Addr{home, netip.MustParseAddr("fe80::1%eth0"), {}})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := stdtls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	if len(pair.Leaf.DNSNames) != 1 || len(pair.Leaf.IPAddresses) != 2 {
		t.Errorf("%v %v", pair.Leaf.DNSNames, pair.Leaf.IPAddresses)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority.CAPEM()) {
		t.Fatal("CAPEM is no certificate")
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "localhost", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	// A leaf is no authority.
	block, _ := pem.Decode(certPEM)
	leaf, _ := x509.ParseCertificate(block.Bytes)
	key, _ := x509.ParsePKCS8PrivateKey(pem2der(keyPEM))
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: newSerial(), NotAfter: time.Now().Add(time.Hour)}, leaf, pair.Leaf.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	child, _ := x509.ParseCertificate(der)
	middle := x509.NewCertPool()
	middle.AddCert(leaf)
	if _, err := child.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle}); err == nil {
		t.Error("a leaf signed a certificate that passes")
	}
}

func pem2der(data []byte) []byte {
	block, _ := pem.Decode(data)
	return block.Bytes
}

// waitFor waits for a condition.
func waitFor(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within 15 seconds", what)
		}
	}
}
