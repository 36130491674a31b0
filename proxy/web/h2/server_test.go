package h2_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"tripod/proxy/web/h2"
)

// patience is how long a test waits for something that has to happen.
const patience = 20 * time.Second

type handlerFunc func(*h2.Stream)

func (f handlerFunc) ServeStream(s *h2.Stream) { f(s) }

// server serves HTTP/2 on loopback, and when the test is over has ended all connections.
type server struct {
	t     testing.TB
	l     net.Listener
	o     *h2.Options
	tls   *tls.Config
	h     h2.Handler
	wg    sync.WaitGroup
	mu    sync.Mutex
	conns []*h2.Conn
	ended chan error // what Serve returned
}

func serve(t testing.TB, o *h2.Options, h handlerFunc) *server {
	return serveWith(t, o, nil, h)
}

func serveWith(t testing.TB, o *h2.Options, config *tls.Config, h handlerFunc) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if o == nil {
		o = &h2.Options{}
	}
	s := &server{t: t, l: l, o: o, tls: config, h: h, ended: make(chan error, 1000)}
	s.wg.Add(1)
	go s.accept()
	t.Cleanup(s.close)
	return s
}

func (s *server) accept() {
	defer s.wg.Done()
	for {
		nc, err := s.l.Accept()
		if err != nil {
			return
		}
		s.wg.Add(1)
		go s.serve(nc)
	}
}

func (s *server) serve(nc net.Conn) {
	defer s.wg.Done()
	if s.tls != nil {
		t := tls.Server(nc, s.tls)
		if t.Handshake() != nil {
			_ = nc.Close()
			return
		}
		nc = t
	}
	c := h2.NewConn(nc, nil, s.h, s.o)
	s.mu.Lock()
	s.conns = append(s.conns, c)
	s.mu.Unlock()
	err := c.Serve()
	select {
	case s.ended <- err:
	default:
	}
}

func (s *server) addr() string { return s.l.Addr().String() }

// conn waits for the nth connection.
func (s *server) conn(n int) *h2.Conn {
	s.t.Helper()
	var c *h2.Conn
	wait(s.t, "a connection", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) > n {
			c = s.conns[n]
		}
		return c != nil
	})
	return c
}

func (s *server) close() {
	_ = s.l.Close()
	s.mu.Lock()
	for _, c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// end waits for a connection to end, and returns what Serve returned.
func (s *server) end() error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		s.t.Fatal("the connection did not end")
		return nil
	}
}

// wait waits until something is so.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// certificate makes TLS configurations for both sides.
func certificate(t testing.TB) (srv, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "h2.test"},
		DNSNames:     []string{"h2.test"},
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	srv = &tls.Config{
		Certificates:                []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:                  []string{"h2"},
		DynamicRecordSizingDisabled: true,
	}
	return srv, &tls.Config{RootCAs: roots, ServerName: "h2.test", NextProtos: []string{"h2"}}
}
