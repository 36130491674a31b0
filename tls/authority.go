package tls

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"strings"
	"time"
)

const (
	authoritySubject = "tripod cluster "

	// leafLife is how long a node's certificate is good for; it lives no longer than the process anyway.
	leafLife = 30 * 24 * time.Hour
	// leafBackdate makes a certificate good for peers whose clock is behind, or was set to local time
	// by mistake (up to 14 hours).
	leafBackdate = 24 * time.Hour
)

// Authority is the certificate authority of the cluster's own three ports. It is derived from the secret, so
// every node has the same one without asking. Safe for concurrent use.
type Authority struct {
	fingerprint string
	cert        *x509.Certificate
	certPEM     []byte
	key         ed25519.PrivateKey
	pool        *x509.CertPool
}

// Authority returns the authority of this secret. Key, subject, serial number and validity are fixed and
// Ed25519 signs without randomness, so it is the same on every node.
func (s Secret) Authority() *Authority {
	key := ed25519.NewKeyFromSeed(s.derive(labelAuthority, ed25519.SeedSize))
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: authoritySubject + s.Fingerprint()},
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2120, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		// Given here because Go's way to compute it differs between releases.
		SubjectKeyId: s.derive(labelAuthority+" id", 20),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic("tls: make authority: " + err.Error()) // nothing in it depends on input
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic("tls: make authority: " + err.Error())
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &Authority{
		fingerprint: s.Fingerprint(),
		cert:        cert,
		certPEM:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:         key,
		pool:        pool,
	}
}

// CAPEM returns the authority's certificate.
func (a *Authority) CAPEM() []byte { return append([]byte(nil), a.certPEM...) }

// Fingerprint returns that of the secret.
func (a *Authority) Fingerprint() string { return a.fingerprint }

// Leaf makes a new key and a certificate for it, for both ends of a connection, good for 30 days. It
// names the addresses, localhost, and the node's name if that can be a DNS name.
func (a *Authority) Leaf(name string, addrs []netip.Addr) (certPEM, keyPEM []byte, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key of node %s: %w", name, err)
	}
	der, err := a.sign(name, addrs, key.Public(), time.Now())
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = encodeKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyPEM, nil
}

// sign makes a node's certificate.
func (a *Authority) sign(name string, addrs []netip.Addr, public crypto.PublicKey, now time.Time) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-leafBackdate),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{"localhost"},
	}
	if isDNSName(name) && !strings.EqualFold(name, "localhost") {
		template.DNSNames = append(template.DNSNames, name)
	}
	for _, addr := range addrs {
		if addr.IsValid() {
			template.IPAddresses = append(template.IPAddresses, addr.Unmap().WithZone("").AsSlice())
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate of node %s: %w", name, err)
	}
	return der, nil
}

// newSerial returns a random serial number (CA/Browser Forum baseline requirements §7.1: at least 64 bits).
func newSerial() *big.Int {
	serial := make([]byte, 16)
	rand.Read(serial)
	serial[0] &= 0x7f // RFC 5280 §4.1.2.2: positive
	serial[15] |= 1   // and not zero
	return new(big.Int).SetBytes(serial)
}

func encodeKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// dnsName is RFC 1123 §2.1 with underscores, which people use, and without the final dot.
var dnsName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// isDNSName tells whether a certificate may carry the name as a DNS name.
func isDNSName(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil {
		return false
	}
	return len(name) <= 253 && dnsName.MatchString(name)
}
