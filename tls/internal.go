package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net/netip"
	"time"
)

const (
	internalCALife   = 10 * 365 * 24 * time.Hour
	internalLife     = 90 * 24 * time.Hour
	internalBackdate = 24 * time.Hour // for clients whose clock is behind
)

// internalCA is the authority for users' hosts. Unlike an [Authority] it is random: people put its certificate into
// their browsers, and what they trust there must not follow from a secret that more people may have seen.
type internalCA struct {
	cert *x509.Certificate
	pem  []byte
	key  crypto.Signer
}

// newInternalCA makes an authority and returns it sealed, as the storage keeps it.
func newInternalCA(sealer *Sealer, now time.Time) (Item, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Item{}, fmt.Errorf("make key of the internal authority: %w", err)
	}
	serial := newSerial()
	template := &x509.Certificate{
		SerialNumber: serial,
		// Two clusters' authorities must be told apart in a browser's list.
		Subject:               pkix.Name{CommonName: "tripod internal CA " + hex.EncodeToString(serial.Bytes())[:8]},
		NotBefore:             now.Add(-internalBackdate),
		NotAfter:              now.Add(internalCALife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Item{}, fmt.Errorf("make certificate of the internal authority: %w", err)
	}
	value, err := sealBundle(sealer, KeyCA, [][]byte{der}, key)
	return Item{Key: KeyCA, Value: value}, err
}

func openInternalCA(sealer *Sealer, item Item) (*internalCA, error) {
	opened, err := openBundle(sealer, item)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(opened.Chain[0])
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", item.Key, err)
	}
	key, err := opened.signer()
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", item.Key, err)
	}
	return &internalCA{
		cert: cert,
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}),
		key:  key,
	}, nil
}

// issue makes a certificate for exactly this host, wildcard or address, and seals it.
func (ca *internalCA) issue(sealer *Sealer, host string, now time.Time) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key for %s: %w", host, err)
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		NotBefore:    now.Add(-internalBackdate),
		NotAfter:     now.Add(internalLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if len(host) <= 64 { // RFC 5280 appendix A.1, ub-common-name
		template.Subject.CommonName = host
	}
	if template.NotAfter.After(ca.cert.NotAfter) {
		template.NotAfter = ca.cert.NotAfter
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return nil, fmt.Errorf("make certificate for %s: %w", host, err)
	}
	name := KeyInternal + host
	value, err := sealBundle(sealer, name, [][]byte{der}, key)
	if err != nil {
		return nil, err
	}
	return openCertificate(sealer, Item{Key: name, Value: value}, host, Internal)
}
