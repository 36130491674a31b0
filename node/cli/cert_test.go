package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tripod/testcluster"
	tripodtls "tripod/tls"
)

// pair makes a self-signed certificate and its key, as PEM files.
func pair(t *testing.T, until time.Time, hosts ...string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "a certificate of ann's"}, DNSNames: hosts,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
}

// shown is the certificate that a node shows for a host.
func shown(t *testing.T, n *testcluster.Node, host string) *x509.Certificate {
	t.Helper()
	conn, err := tls.Dial("tcp", net.JoinHostPort(n.Addr(), "8443"), &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		t.Fatalf("%s: %v", n.Name(), err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// showing waits until every node shows a certificate of this issuer for the host.
func showing(t *testing.T, c *testcluster.Cluster, host, issuer string) {
	t.Helper()
	for _, n := range c.Nodes() {
		c.Wait(fmt.Sprintf("%s showing a certificate by %s", n.Name(), issuer), func() error {
			if got := shown(t, n, host).Issuer.CommonName; !strings.HasPrefix(got, issuer) {
				return fmt.Errorf("it is by %s", got)
			}
			return nil
		})
	}
}

const internalIssuer = "tripod internal CA"

func TestCertificates(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	c.Apply(site(c, testcluster.StartBackend(t, "one", nil)))
	holder := c.WaitHolder(c.VIP(0))

	t.Run("internal", func(t *testing.T) {
		// What a person does: curl --cacert.
		ca := ran(c.Command("cert", "ca")).want(t, 0).out
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM([]byte(ca)) {
			t.Fatalf("no PEM: %s", ca)
		}
		for _, address := range []string{c.Node(0).Addr(), c.Node(1).Addr(), c.Node(2).Addr(), c.VIP(0)} {
			transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
			client := &http.Client{Transport: transport, Timeout: testcluster.Patience}
			// By address: the nodes and the VIP have certificates, too.
			response, err := client.Get("https://" + address + ":8443/")
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != 404 {
				t.Errorf("https://%s:8443/: %s, and no route leads there", address, response.Status)
			}
			r := c.GetVia(address, "https://shop.test:8443/").Want(200)
			if strings.TrimSpace(r.Body) != "one" {
				t.Errorf("via %s: %q", address, r.Body)
			}
		}
		if e := ran(c.Command("cert", "ca", "--node", holder.Addr())); e.out != ca {
			t.Errorf("another authority by --node: %s%s", e.out, e.err)
		}
		ran(c.Command("cert", "list")).want(t, 0, "NAME", "EXPIRES", "shop.test", c.VIP(0), internalIssuer)
	})
	t.Run("added", func(t *testing.T) { testAdded(t, c) })
	t.Run("refused", func(t *testing.T) { testCertRefused(t, c) })
	t.Run("named by its host", func(t *testing.T) {
		cert, key := pair(t, time.Now().Add(24*time.Hour), "blog.test")
		ran(c.Command("cert", "add", cert, key)).want(t, 0, "blog.test: serves blog.test")
	})
}

func testAdded(t *testing.T, c *testcluster.Cluster) {
	until := time.Now().Add(30 * 24 * time.Hour)
	cert, key := pair(t, until, "shop.test", "www.shop.test")
	e := ran(c.Command("cert", "add", "--name", "shop", cert, key)).want(t, 0, "shop: serves shop.test, www.shop.test on every node, until "+until.Local().Format(time.DateOnly))
	if !strings.HasPrefix(e.err, "warning: ") || !strings.Contains(e.err, "self-signed") {
		t.Errorf("no warning of a self-signed certificate: %s", e.err)
	}
	showing(t, c, "shop.test", "a certificate of ann's")
	showing(t, c, "www.shop.test", "a certificate of ann's")

	list := decode[[]tripodtls.Info](t, ran(c.Command("cert", "list", "-o", "json")).want(t, 0).out)
	var found *tripodtls.Info
	for i := range list {
		if list[i].Name == "shop" {
			found = &list[i]
		}
	}
	if found == nil || found.Source != tripodtls.Added || len(found.Hosts) != 2 || found.NotAfter.Unix() != until.Unix() {
		t.Errorf("the added certificate in the list: %+v", list)
	}
	ran(c.Command("status")).want(t, 0, "All is well.", "www.shop.test")

	// One that is out of date is taken with a warning, and is a problem.
	oldCert, oldKey := pair(t, time.Now().Add(-time.Hour), "shop.test")
	e = ran(c.Command("cert", "add", "--name", "shop", oldCert, oldKey)).want(t, 0)
	if !strings.Contains(e.err, "warning: expired on ") {
		t.Errorf("no warning of an expired certificate: %s", e.err)
	}
	c.Wait("the problem", func() error {
		if s, code := status(t, c); code != 1 || !said(s.Problems, "certificate shop", "expired") {
			return fmt.Errorf("status exits with %d: %q", code, s.Problems)
		}
		return nil
	})

	ran(c.Command("cert", "remove", "shop")).want(t, 0, "shop removed")
	showing(t, c, "shop.test", internalIssuer)
	ran(c.Command("status")).want(t, 0, "All is well.")
	ran(c.Command("cert", "remove", "shop")).refused(t, `"shop"`, "no such certificate")
}

func testCertRefused(t *testing.T, c *testcluster.Cluster) {
	cert, key := pair(t, time.Now().Add(24*time.Hour), "shop.test")
	_, otherKey := pair(t, time.Now().Add(24*time.Hour), "shop.test")
	rubbish := write(t, "rubbish.pem", "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n")
	before := ran(c.Command("cert", "list")).want(t, 0).out
	add := func(cert, key string) ended { return ran(c.Command("cert", "add", "--name", "mine", cert, key)) }

	add(cert, otherKey).refused(t, "mine", "the key does not belong to the certificate")
	add(rubbish, key).refused(t, "mine", "certificate 1")
	add(key, key).refused(t, "no PEM certificate")
	add(cert, cert).refused(t, "no PEM private key")
	add(cert, filepath.Join(t.TempDir(), "nosuch")).refused(t, "nosuch", "no such file")
	add(write(t, "big.pem", strings.Repeat("x", 70<<10)), key).refused(t, "big.pem", "larger than 65536 bytes")
	add(write(t, "nobody.pem", ""), key).refused(t, "no PEM certificate")
	nobody, nobodyKey := pair(t, time.Now().Add(24*time.Hour))
	add(nobody, nobodyKey).refused(t, "names no host")
	ran(c.Command("cert", "add", "--name", "../up", cert, key)).refused(t, `"../up"`)
	ran(c.Command("cert", "add", cert)).want(t, 2, `<key>`)

	if after := ran(c.Command("cert", "list")).out; after != before {
		t.Errorf("something refused was added:\n%s", after)
	}
	showing(t, c, "shop.test", internalIssuer)
}
