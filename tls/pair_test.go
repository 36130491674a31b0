package tls_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// pair is a certificate and key as a user has them.
type pair struct {
	cert, key      []byte // PEM
	keyDER, scalar []byte
	parsed         *x509.Certificate
	signer         crypto.Signer
}

func selfSigned(t testing.TB, hosts ...string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, key, nil, &x509.Certificate{DNSNames: hosts})
}

// sign completes the template and has it signed by the issuer, or by its own key.
func sign(t testing.TB, key crypto.Signer, issuer *pair, template *x509.Certificate) pair {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.Subject.CommonName == "" {
		template.Subject = pkix.Name{CommonName: "test"}
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(100*24*time.Hour)
	}
	parent, signer := template, key
	if issuer != nil {
		parent, signer = issuer.parsed, issuer.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	made := pair{
		cert:   pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:    pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		keyDER: keyDER,
		parsed: parsed,
		signer: key,
	}
	if ec, ok := key.(*ecdsa.PrivateKey); ok {
		if made.scalar, err = ec.Bytes(); err != nil {
			t.Fatal(err)
		}
	}
	return made
}

// decodeCacheLine returns what a line of the cache holds in base64.
func decodeCacheLine(line []byte) []byte {
	var item struct {
		Value []byte `json:"value"`
	}
	if json.Unmarshal(line, &item) != nil {
		return nil
	}
	return item.Value
}
