package tls

import (
	"crypto"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// Source tells where a certificate comes from.
type Source string

const (
	// Internal certificates are made by the cluster's own authority.
	Internal Source = "internal"
	// Added certificates came from a user.
	Added Source = "added"
)

// Info describes a certificate to people.
type Info struct {
	Name      string    `json:"name"`  // the name it was added under, or the host
	Hosts     []string  `json:"hosts"` // names and addresses that it covers
	Issuer    string    `json:"issuer"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Source    Source    `json:"source"`
	Error     string    `json:"error,omitempty"` // what is wrong with it, or ""
}

// bundle is what is sealed: a certificate chain and the leaf's key.
type bundle struct {
	Chain [][]byte `json:"chain"` // DER, the leaf first
	Key   []byte   `json:"key"`   // PKCS #8
}

func sealBundle(sealer *Sealer, name string, chain [][]byte, key crypto.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key of %s: %w", name, err)
	}
	plain, err := json.Marshal(bundle{Chain: chain, Key: der})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", name, err)
	}
	return sealer.Seal(name, plain), nil
}

func openBundle(sealer *Sealer, item Item) (bundle, error) {
	plain, err := sealer.Open(item.Key, item.Value)
	if err != nil {
		return bundle{}, err
	}
	var opened bundle
	if err := json.Unmarshal(plain, &opened); err != nil {
		return bundle{}, fmt.Errorf("decode %s: %w", item.Key, err)
	}
	if len(opened.Chain) == 0 {
		return bundle{}, fmt.Errorf("decode %s: no certificate", item.Key)
	}
	return opened, nil
}

// signer returns the private key.
func (b bundle) signer() (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(b.Key)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of type %T can not sign", key)
	}
	return signer, nil
}

// certificate is a stored certificate. Of the many that a node knows, few are used in any hour: only what
// decides about it is kept open, the rest stays sealed until the first handshake.
type certificate struct {
	item      Item // Revision 0: made here and not stored yet
	info      Info // Error is set if the value does not open
	renew     time.Time
	authority string // the issuer's key id
	sealer    *Sealer
	ready     atomic.Pointer[stdtls.Certificate]
}

// openCertificate reads a stored certificate. It never returns nil: with an error, info tells it as well.
func openCertificate(sealer *Sealer, item Item, name string, source Source) (*certificate, error) {
	cert := &certificate{item: item, sealer: sealer, info: Info{Name: name, Source: source}}
	opened, err := openBundle(sealer, item)
	if err != nil {
		cert.info.Error = err.Error()
		return cert, err
	}
	leaf, err := x509.ParseCertificate(opened.Chain[0])
	if err != nil {
		err = fmt.Errorf("decode %s: %w", item.Key, err)
		cert.info.Error = err.Error()
		return cert, err
	}
	cert.describe(leaf)
	return cert, nil
}

func (c *certificate) describe(leaf *x509.Certificate) {
	c.info.Hosts = certificateHosts(leaf)
	c.info.Issuer = leaf.Issuer.CommonName
	if c.info.Issuer == "" {
		c.info.Issuer = leaf.Issuer.String()
	}
	c.info.NotBefore, c.info.NotAfter = leaf.NotBefore, leaf.NotAfter
	c.renew = renewalTime(leaf)
	c.authority = string(leaf.AuthorityKeyId)
}

// certificateHosts returns the names and addresses that a certificate covers, in their normal form.
func certificateHosts(leaf *x509.Certificate) []string {
	hosts := make([]string, 0, len(leaf.DNSNames)+len(leaf.IPAddresses))
	for _, name := range leaf.DNSNames {
		hosts = append(hosts, normalHost(name))
	}
	for _, address := range leaf.IPAddresses {
		hosts = append(hosts, address.String())
	}
	return hosts
}

// use returns the certificate for a handshake; the first call opens it.
func (c *certificate) use() (*stdtls.Certificate, error) {
	if ready := c.ready.Load(); ready != nil {
		return ready, nil
	}
	opened, err := openBundle(c.sealer, c.item)
	if err != nil {
		return nil, err
	}
	key, err := opened.signer()
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", c.item.Key, err)
	}
	leaf, err := x509.ParseCertificate(opened.Chain[0])
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", c.item.Key, err)
	}
	// Two handshakes at once may both get here; the results are equal.
	ready := &stdtls.Certificate{Certificate: opened.Chain, PrivateKey: key, Leaf: leaf}
	c.ready.Store(ready)
	return ready, nil
}

// describeAt returns the info as people should see it now.
func (c *certificate) describeAt(now time.Time) Info {
	info := c.info
	switch {
	case info.Error != "":
	case now.After(info.NotAfter):
		info.Error = "expired"
	case now.Before(info.NotBefore):
		info.Error = "not valid yet"
	}
	return info
}
