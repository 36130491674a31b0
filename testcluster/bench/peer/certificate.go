//go:build linux

package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// Host is the name that the proxies serve.
const Host = "bench.test"

// Certificate is the one that all proxies have, so that they do the same work: ECDSA with P-256.
type Certificate struct {
	// DER is what clients see.
	DER []byte
	// CertPEM and KeyPEM are its texts.
	CertPEM, KeyPEM []byte
	// CertFile and KeyFile are files with them, and BothFile is one with both, which HAProxy wants.
	CertFile, KeyFile, BothFile string
}

// NewCertificate makes a certificate that has signed itself, and its files in a folder.
func NewCertificate(folder string) (*Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: Host}, DNSNames: []string{Host},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(240 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	c := &Certificate{CertFile: filepath.Join(folder, "cert.pem"), KeyFile: filepath.Join(folder, "key.pem"), BothFile: filepath.Join(folder, "both.pem")}
	if c.DER, err = x509.CreateCertificate(rand.Reader, template, template, key.Public(), key); err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a key: %w", err)
	}
	c.CertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER})
	c.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for file, text := range map[string][]byte{c.CertFile: c.CertPEM, c.KeyFile: c.KeyPEM, c.BothFile: append(append([]byte{}, c.CertPEM...), c.KeyPEM...)} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return nil, err
		}
	}
	return c, nil
}
