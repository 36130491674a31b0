package tls_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tripod/tls"
)

func TestAddedCertificates(t *testing.T) {
	storage, client := store(t)
	a, b := open(t, tls.Options{Storage: storage}), open(t, tls.Options{Storage: storage})
	wake(a, "a.test", "x.wild.test")
	wake(b, "a.test", "x.wild.test")
	at, bt := serve(t, a.Config()), serve(t, b.Config())
	waitFor(t, "internal certificates", complete(b, 3))
	internal := leaf(t, bt, "a.test")

	mine := selfSigned(t, "A.test", "*.wild.test")
	info, warnings, err := a.Add(t.Context(), "mine", mine.cert, mine.key)
	if err != nil {
		t.Fatal(err)
	}
	if info.Name != "mine" || info.Source != tls.Added || !slices.Equal(info.Hosts, []string{"a.test", "*.wild.test"}) || info.Error != "" {
		t.Errorf("%+v", info)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "self-signed") {
		t.Errorf("warnings %q", warnings)
	}
	if !leaf(t, at, "a.test").Equal(mine.parsed) {
		t.Error("not served at once where it was added")
	}
	waitFor(t, "certificate on the other node", func() bool { return leaf(t, bt, "a.test").Equal(mine.parsed) })
	// A wildcard that was added goes before an exact one of ours.
	for host, want := range map[string]bool{"x.wild.test": true, "y.wild.test": true, "wild.test": false, "y.x.wild.test": false} {
		if got := leaf(t, bt, host).Equal(mine.parsed); got != want {
			t.Errorf("%s: added certificate %v, want %v", host, got, want)
		}
	}
	// A new host that it covers needs none of ours.
	wake(a, "new.wild.test")
	waitFor(t, "list without it", func() bool { list := a.List(); return len(list) == 2 && list[0].Name == "mine" && list[1].Error == "" })
	if got := count(t, client, tls.KeyInternal+"new.wild.test"); got != 0 {
		t.Error("an internal certificate was made for a host that has an added one")
	}

	// One for the node's address serves those who send no name.
	addr := sign(t, newKey(t), nil, &x509.Certificate{IPAddresses: []net.IP{home.AsSlice()}})
	if _, _, err := a.Add(t.Context(), "address", addr.cert, addr.key); err != nil {
		t.Fatal(err)
	}
	if !leaf(t, at, "").Equal(addr.parsed) {
		t.Error("the certificate for the address is not served")
	}

	if err := b.Remove(t.Context(), "other"); !errors.Is(err, tls.ErrNotFound) || !strings.Contains(err.Error(), "mine") {
		t.Errorf("removed what is not there: %v", err)
	}
	if err := b.Remove(t.Context(), "mine"); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{at, bt} {
		waitFor(t, "internal certificate again", func() bool { return leaf(t, address, "a.test").Equal(internal) })
	}
	if got := count(t, client, tls.KeyAdded); got != 1 {
		t.Errorf("%d added certificates stored", got)
	}
}

// Of several for one host, the client's abilities decide, then the one that lasts longest.
func TestSeveralForOneHost(t *testing.T) {
	storage, _ := store(t)
	m := open(t, tls.Options{Storage: storage})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name string, key pair) {
		t.Helper()
		if _, _, err := m.Add(t.Context(), name, key.cert, key.key); err != nil {
			t.Fatal(err)
		}
	}
	until := func(d time.Duration) *x509.Certificate {
		return &x509.Certificate{DNSNames: []string{"a.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(d)}
	}
	long, short, other := sign(t, newKey(t), nil, until(20*time.Hour)), sign(t, newKey(t), nil, until(10*time.Hour)), sign(t, rsaKey, nil, until(time.Hour))
	add("b-rsa", other)
	add("c-long", long)
	add("a-short", short)
	address := serve(t, m.Config())
	if !leaf(t, address, "a.test").Equal(long.parsed) {
		t.Error("not the one that lasts longest")
	}
	state, err := shake(address, &stdtls.Config{
		ServerName: "a.test", InsecureSkipVerify: true, MaxVersion: stdtls.VersionTLS12,
		CipherSuites: []uint16{stdtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	})
	if err != nil || !state.PeerCertificates[0].Equal(other.parsed) {
		t.Errorf("a client that knows RSA only: %v", err)
	}
}

func TestAddRefuses(t *testing.T) {
	storage, client := store(t)
	m := open(t, tls.Options{Storage: storage})
	good, other := selfSigned(t, "a.test"), selfSigned(t, "a.test")
	nameless := sign(t, newKey(t), nil, &x509.Certificate{})
	for name, c := range map[string]struct {
		name      string
		cert, key []byte
		want      string
	}{
		"no name":         {"", good.cert, good.key, "the name"},
		"path":            {"../ca", good.cert, good.key, "the name"},
		"mismatch":        {"x", good.cert, other.key, "does not belong"},
		"no certificate":  {"x", []byte("rubbish"), good.key, "no PEM certificate"},
		"no key":          {"x", good.cert, good.cert, "no PEM private key"},
		"broken":          {"x", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), good.key, "certificate 1"},
		"broken key":      {"x", good.cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "private key"},
		"no hosts":        {"x", nameless.cert, nameless.key, "names no host"},
		"large":           {"x", append(slices.Clone(good.cert), bytes.Repeat([]byte("\n"), 64<<10)...), good.key, "64 KiB"},
		"large key":       {"x", good.cert, append(slices.Clone(good.key), bytes.Repeat([]byte("\n"), 64<<10)...), "64 KiB"},
		"long chain":      {"x", bytes.Repeat(good.cert, 17), good.key, "more than 16"},
		"password":        {"x", good.cert, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "password"},
		"former password": {"x", good.cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x")}), "password"},
	} {
		_, _, err := m.Add(t.Context(), c.name, c.cert, c.key)
		if !errors.Is(err, tls.ErrBadCertificate) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := count(t, client, tls.KeyAdded); got != 0 {
		t.Errorf("%d stored", got)
	}
}

func TestAddTakes(t *testing.T) {
	storage, _ := store(t)
	m := open(t, tls.Options{Storage: storage})
	root := sign(t, newKey(t), nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true})
	ecKey := newKey(t).(*ecdsa.PrivateKey)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	template := func() *x509.Certificate { return &x509.Certificate{DNSNames: []string{"a.test"}} }
	issued := sign(t, ecKey, &root, template())
	ec := selfSigned(t, "a.test")
	rsaPair := sign(t, rsaKey, nil, template())
	ed := sign(t, edKey, nil, template())
	now := time.Now()
	old := sign(t, newKey(t), &root, &x509.Certificate{DNSNames: []string{"a.test"}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
	young := sign(t, newKey(t), &root, &x509.Certificate{DNSNames: []string{"a.test"}, NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, []byte("text between\n")) }
	for name, c := range map[string]struct {
		cert, key []byte
		warnings  []string
	}{
		"chain":          {join(issued.cert, root.cert), issued.key, nil},
		"wrong order":    {join(root.cert, issued.cert), issued.key, []string{"put in front"}},
		"without issuer": {issued.cert, issued.key, []string{"without the certificate of its issuer"}},
		"one file":       {join(issued.key, issued.cert, root.cert), join(issued.cert, issued.key), nil},
		"SEC 1 key":      {join(issued.cert, root.cert), join(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 0}}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: sec1})), nil},
		"PKCS 1 key":     {rsaPair.cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)}), []string{"self-signed", "1024 bits"}},
		"Ed25519":        {ed.cert, ed.key, []string{"self-signed"}},
		"expired":        {join(old.cert, root.cert), old.key, []string{"expired on"}},
		"not yet valid":  {join(young.cert, root.cert), young.key, []string{"not valid before"}},
		"self-signed":    {ec.cert, ec.key, []string{"self-signed"}},
	} {
		_, warnings, err := m.Add(t.Context(), "x", c.cert, c.key)
		if err != nil || len(warnings) != len(c.warnings) {
			t.Errorf("%s: %q, %v", name, warnings, err)
			continue
		}
		for i, want := range c.warnings {
			if !strings.Contains(warnings[i], want) {
				t.Errorf("%s: %q, want %q", name, warnings[i], want)
			}
		}
	}
	for name, want := range map[string]pair{"expired": old, "not valid yet": young} {
		info, _, err := m.Add(t.Context(), "x", want.cert, want.key)
		if err != nil || info.Error != name || m.List()[0].Error != name {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	// What is served is the chain, the leaf first.
	if _, _, err := m.Add(t.Context(), "x", join(root.cert, issued.cert), issued.key); err != nil {
		t.Fatal(err)
	}
	m.SetHosts(nil, []netip.Addr{home})
	state, err := shake(serve(t, m.Config()), &stdtls.Config{ServerName: "a.test", InsecureSkipVerify: true})
	if err != nil || len(state.PeerCertificates) != 2 || !state.PeerCertificates[0].Equal(issued.parsed) {
		t.Errorf("%d certificates shown: %v", len(state.PeerCertificates), err)
	}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
