package tls

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	addedMax   = 64 << 10 // bytes of PEM, of the certificate and of the key each
	addedChain = 16       // certificates in a chain
)

var (
	// ErrBadCertificate is wrapped by the errors of Add about what was given.
	ErrBadCertificate = errors.New("certificate refused")
	// ErrNotFound means that there is no added certificate of that name.
	ErrNotFound = errors.New("no such certificate")
)

var addedName = regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9._*-]{0,127}$`)

// addedSet finds added certificates by host. It is immutable.
type addedSet struct {
	byName []*certificate
	exact  map[string][]*certificate // by host, the best first
	wild   map[string][]*certificate // by what follows "*.", the best first
}

func newAddedSet(certs []*certificate) *addedSet {
	set := &addedSet{byName: certs, exact: make(map[string][]*certificate), wild: make(map[string][]*certificate)}
	slices.SortFunc(set.byName, func(a, b *certificate) int { return strings.Compare(a.info.Name, b.info.Name) })
	for _, cert := range set.byName {
		for _, host := range cert.info.Hosts {
			if parent, isWild := strings.CutPrefix(host, "*."); isWild {
				set.wild[parent] = append(set.wild[parent], cert)
			} else {
				set.exact[host] = append(set.exact[host], cert)
			}
		}
	}
	// Of several for one host the one that lasts longest: a renewed certificate under a new name takes over.
	best := func(certs []*certificate) {
		slices.SortStableFunc(certs, func(a, b *certificate) int { return b.info.NotAfter.Compare(a.info.NotAfter) })
	}
	for _, certs := range set.exact {
		best(certs)
	}
	for _, certs := range set.wild {
		best(certs)
	}
	return set
}

// covers tells whether some certificate is good for the host; a wildcard host needs the wildcard itself.
func (s *addedSet) covers(host string) bool {
	if len(s.byName) == 0 {
		return false
	}
	if parent, isWild := strings.CutPrefix(host, "*."); isWild {
		return len(s.wild[parent]) > 0
	}
	return len(s.exact[host]) > 0 || len(s.wild[parentOf(host)]) > 0
}

// choose returns the best certificate for the host that the client can use, or nil.
func (s *addedSet) choose(hello *stdtls.ClientHelloInfo, host string) *certificate {
	if len(s.byName) == 0 {
		return nil
	}
	if cert := supported(hello, s.exact[host]); cert != nil {
		return cert
	}
	return supported(hello, s.wild[parentOf(host)])
}

func supported(hello *stdtls.ClientHelloInfo, certs []*certificate) *certificate {
	if len(certs) == 0 {
		return nil
	}
	if len(certs) > 1 { // say an RSA and an ECDSA one
		for _, cert := range certs {
			if ready, err := cert.use(); err == nil && hello.SupportsCertificate(ready) == nil {
				return cert
			}
		}
	}
	return certs[0]
}

// Add stores a user's certificate, with its chain, and key under a name; one of the same name is replaced. From then on
// all nodes serve it for every host that it covers. Warnings are for the user: it was added all the same.
// What can not work is refused with ErrBadCertificate.
func (m *Manager) Add(ctx context.Context, name string, certPEM, keyPEM []byte) (Info, []string, error) {
	if !addedName.MatchString(name) {
		return Info{}, nil, fmt.Errorf("%w: the name %.140q may have letters, digits and . _ - *, at most 128", ErrBadCertificate, name)
	}
	pair, warnings, err := parsePair(certPEM, keyPEM, m.now())
	if err != nil {
		return Info{}, nil, fmt.Errorf("%w: %s: %w", ErrBadCertificate, name, err)
	}
	storage, err := m.mustStorage()
	if err != nil {
		return Info{}, nil, fmt.Errorf("add certificate %s: %w", name, err)
	}
	key := KeyAdded + name
	value, err := sealBundle(m.sealer, key, pair.Certificate, pair.PrivateKey)
	if err != nil {
		return Info{}, nil, fmt.Errorf("add certificate %s: %w", name, err)
	}
	revision, err := storage.Put(ctx, key, value, AnyRevision)
	if err != nil {
		return Info{}, nil, fmt.Errorf("add certificate %s: %w", name, err)
	}
	item := Item{Key: key, Value: value, Revision: revision}
	m.apply([]Event{{Item: item}})
	cert, err := openCertificate(m.sealer, item, name, Added)
	if err != nil {
		return Info{}, nil, fmt.Errorf("add certificate %s: %w", name, err)
	}
	return cert.describeAt(m.now()), warnings, nil
}

// Remove deletes an added certificate; its hosts get internal ones again. ErrNotFound: there is none.
func (m *Manager) Remove(ctx context.Context, name string) error {
	storage, err := m.mustStorage()
	if err != nil {
		return fmt.Errorf("remove certificate %s: %w", name, err)
	}
	set := m.added.Load()
	names := make([]string, 0, len(set.byName))
	for _, cert := range set.byName {
		names = append(names, cert.info.Name)
	}
	if !slices.Contains(names, name) {
		have := "there is none"
		if len(names) > 0 {
			have = "have " + strings.Join(names[:min(len(names), 20)], ", ")
		}
		return fmt.Errorf("remove certificate %.140q: %w (%s)", name, ErrNotFound, have)
	}
	if err := storage.Delete(ctx, KeyAdded+name, AnyRevision); err != nil {
		return fmt.Errorf("remove certificate %s: %w", name, err)
	}
	return nil
}

// parsePair reads what a user gave: the leaf may be anywhere in the chain, keys may be of any common format.
func parsePair(certPEM, keyPEM []byte, now time.Time) (stdtls.Certificate, []string, error) {
	none := stdtls.Certificate{}
	if len(certPEM) > addedMax || len(keyPEM) > addedMax {
		return none, nil, fmt.Errorf("more than %d KiB", addedMax>>10)
	}
	chain, err := parseChain(certPEM)
	if err != nil {
		return none, nil, err
	}
	key, err := parseKey(keyPEM)
	if err != nil {
		return none, nil, err
	}
	at := slices.IndexFunc(chain, func(cert *x509.Certificate) bool { return sameKey(cert.PublicKey, key.Public()) })
	if at < 0 {
		return none, nil, errors.New("the key does not belong to the certificate")
	}
	leaf := chain[at]
	chain = slices.Insert(slices.Delete(chain, at, at+1), 0, leaf)
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		return none, nil, errors.New("the certificate names no host: clients look at its subject alternative names only (RFC 9110 §4.3.4)")
	}
	warnings := warningsFor(leaf, len(chain), now)
	if at != 0 {
		warnings = append(warnings, "the certificate that belongs to the key was not the first: put in front")
	}
	pair := stdtls.Certificate{PrivateKey: key, Leaf: leaf}
	for _, cert := range chain {
		pair.Certificate = append(pair.Certificate, cert.Raw)
	}
	return pair, warnings, nil
}

func parseChain(data []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		switch {
		case block == nil && len(chain) == 0:
			return nil, errors.New("no PEM certificate (-----BEGIN CERTIFICATE-----) found")
		case block == nil:
			return chain, nil
		case block.Type != "CERTIFICATE":
			continue // a key in the same file
		case len(chain) == addedChain:
			return nil, fmt.Errorf("more than %d certificates", addedChain)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(chain)+1, err)
		}
		chain = append(chain, cert)
	}
}

func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return nil, errors.New("no PEM private key (-----BEGIN PRIVATE KEY-----) found")
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
			return nil, errors.New("the key has a password: remove it with \"openssl pkey -in KEY -out NEWKEY\"")
		}
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue // parameters, or certificates in the same file
		}
		return parseKeyDER(block.Bytes)
	}
}

func parseKeyDER(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		if rsaKey, rsaErr := x509.ParsePKCS1PrivateKey(der); rsaErr == nil {
			return rsaKey, nil
		}
		if ecKey, ecErr := x509.ParseECPrivateKey(der); ecErr == nil {
			return ecKey, nil
		}
		return nil, fmt.Errorf("private key: %w", err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("private key: of type %T, which can not sign", key)
	}
	return signer, nil
}

func sameKey(a, b crypto.PublicKey) bool {
	comparable, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(b)
}

func warningsFor(leaf *x509.Certificate, chain int, now time.Time) []string {
	var warnings []string
	if now.After(leaf.NotAfter) {
		warnings = append(warnings, "expired on "+leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if now.Before(leaf.NotBefore) {
		warnings = append(warnings, "not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil {
		warnings = append(warnings, "self-signed: clients trust it only if they are told to")
	} else if chain == 1 {
		warnings = append(warnings, "without the certificate of its issuer: if that is an intermediate one, many clients will refuse it")
	}
	if key, ok := leaf.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		warnings = append(warnings, fmt.Sprintf("RSA key of %d bits: clients demand 2048", key.N.BitLen()))
	}
	return warnings
}
