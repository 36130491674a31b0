package node_test

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"tripod/testcluster"
)

// A TLS session that was opened on one node resumes on another, by TLS 1.2 and 1.3.
func TestSessionResumesOnAnotherNode(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(site(c, testcluster.StartBackend(t, "one", nil)))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(c.Authority()))
	for _, version := range []uint16{stdtls.VersionTLS12, stdtls.VersionTLS13} {
		t.Run(stdtls.VersionName(version), func(t *testing.T) {
			config := &stdtls.Config{
				RootCAs: roots, ServerName: "shop.test", MinVersion: version, MaxVersion: version,
				ClientSessionCache: stdtls.NewLRUClientSessionCache(1),
			}
			for i, n := range c.Nodes() {
				conn, err := stdtls.Dial("tcp", net.JoinHostPort(n.Addr(), "8443"), config)
				if err != nil {
					t.Fatal(err)
				}
				// A TLS 1.3 ticket comes after the handshake, with the first data.
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n")
				buffer := make([]byte, 12)
				if _, err := conn.Read(buffer); err != nil || string(buffer) != "HTTP/1.1 200" {
					t.Errorf("answer %q, %v", buffer, err)
				}
				if resumed := conn.ConnectionState().DidResume; resumed != (i > 0) {
					t.Errorf("on node %d: resumed %v", i, resumed)
				}
				conn.Close()
			}
		})
	}
}

// One authority, and one certificate per host, the same on all nodes.
func TestOneCertificatePerHost(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(site(c, testcluster.StartBackend(t, "one", nil)))
	serials := map[string]bool{}
	for _, n := range c.Nodes() {
		response := c.GetVia(n.Addr(), "https://shop.test:8443/").Want(http.StatusOK)
		serials[response.TLS.PeerCertificates[0].SerialNumber.String()] = true
		if response.Proto != "HTTP/2.0" {
			t.Errorf("answered by %s", response.Proto)
		}
	}
	if len(serials) != 1 {
		t.Errorf("%d different certificates for one host", len(serials))
	}
	for _, n := range c.Nodes() {
		if log := n.Log(); strings.Contains(log, "PRIVATE KEY") {
			t.Error("a private key in the log")
		}
	}
}
