package health

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// patient is a timeout that nothing reaches but by a fault.
	patient = 20 * time.Second
	// hasty is one for servers that never answer.
	hasty = 100 * time.Millisecond
)

// serve starts a server that does the same with each connection, and closes it then. Its goroutines end with their connections.
func serve(t testing.TB, do func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				do(c)
			})
		}
	})
	return ln.Addr().String()
}

// answer starts a server that reads something, says the text, and with hold waits for the other side to close.
func answer(t testing.TB, text string, hold bool) string {
	return serve(t, func(c net.Conn) {
		io.ReadAtLeast(c, make([]byte, 4096), 10)
		io.WriteString(c, text)
		if hold {
			io.Copy(io.Discard, c)
		}
	})
}

// say starts a server that speaks first.
func say(t testing.TB, text string, hold bool) string {
	return serve(t, func(c net.Conn) {
		io.WriteString(c, text)
		if hold {
			io.Copy(io.Discard, c)
		}
	})
}

// forever says a text again and again, for as long as somebody takes it, with a pause in between.
func forever(c net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// reset breaks a connection off.
func reset(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }

// nobody is an address at which nobody listens.
func nobody(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return ln.Addr().String()
}

// silent is the address of a server that takes connections and says nothing.
func silent(t testing.TB) string { return serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }) }

// web starts a real HTTP server for the versions that a protocol name says: http, h2c, or h2 with TLS.
func web(t testing.TB, protocol string, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(protocol == "http")
	s.Config.Protocols.SetUnencryptedHTTP2(protocol == "h2c")
	s.Config.Protocols.SetHTTP2(protocol == "h2")
	if protocol == "h2" {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// authority makes certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	pool        *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(raw); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.certificate)
	return a
}

// issue makes a certificate for a name, good until some time.
func (a *authority) issue(t testing.TB, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}

// secure starts a server that agrees on TLS, tells what it was asked for, and waits for the end.
func secure(t testing.TB, certificate tls.Certificate, asked func(name string)) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: []string{"h2", "http/1.1"}}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if asked != nil {
			asked(hello.ServerName)
		}
		return nil, nil
	}
	return serve(t, func(c net.Conn) {
		s := tls.Server(c, config)
		s.Handshake()
		io.Copy(io.Discard, s)
	})
}

// wants compares an error with a part of its text; none is wanted if that is empty.
func wants(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("got %v, want %q", err, want)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
