package tls

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the files of an Identity with a folder.
const (
	CAFile   = "ca.crt"
	CertFile = "node.crt"
	KeyFile  = "node.key"
)

// identityCheck is how often a running identity looks at the clock. A timer up to the renewal would not
// do: it does not count the time that a machine sleeps, nor see that the clock was set.
const identityCheck = 10 * time.Minute

// Identity is what one node shows to the others on the cluster's own ports: a key for the life of the
// process, and a certificate that is renewed at two thirds of its life. Safe for concurrent use.
type Identity struct {
	authority *Authority
	name      string
	addrs     []netip.Addr
	folder    string
	log       *slog.Logger
	now       func() time.Time

	key     ed25519.PrivateKey
	current atomic.Pointer[stdtls.Certificate]
	renewal sync.Mutex // one at a time
}

// NewIdentity makes a key and a certificate for the node of this name at these addresses. With a folder
// it also writes ca.crt, node.crt and node.key there, for etcd, which reads them at every handshake,
// and for etcdctl; "" keeps all in memory. Run renews the certificate.
func (a *Authority) NewIdentity(name string, addrs []netip.Addr, folder string, log *slog.Logger) (*Identity, error) {
	return a.newIdentity(name, addrs, folder, log, time.Now)
}

func (a *Authority) newIdentity(name string, addrs []netip.Addr, folder string, log *slog.Logger, now func() time.Time) (*Identity, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of node %s: %w", name, err)
	}
	i := &Identity{authority: a, name: name, addrs: slices.Clone(addrs), folder: folder, log: log, now: now, key: key}
	if folder != "" {
		if err := i.writeKey(); err != nil {
			return nil, err
		}
	}
	if err := i.Renew(); err != nil {
		return nil, err
	}
	return i, nil
}

// Run renews the certificate at two thirds of its life until the context ends.
func (i *Identity) Run(ctx context.Context) {
	ticker := time.NewTicker(identityCheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		i.check()
	}
}

// check renews the certificate if it is due, or if the clock was set to before its time.
func (i *Identity) check() {
	leaf, now := i.current.Load().Leaf, i.now()
	if now.Before(renewalTime(leaf)) && now.After(leaf.NotBefore) {
		return
	}
	if err := i.Renew(); err != nil {
		i.log.Error("node certificate not renewed, trying again", "node", i.name, "expires", leaf.NotAfter, "error", err)
		return
	}
	i.log.Info("node certificate renewed", "node", i.name, "expires", i.current.Load().Leaf.NotAfter)
}

// Renew replaces the certificate now. The key stays: node.crt and node.key can not be replaced in one
// step, and a reader between two steps would find a pair that does not match.
func (i *Identity) Renew() error {
	i.renewal.Lock()
	defer i.renewal.Unlock()
	der, err := i.authority.sign(i.name, i.addrs, i.key.Public(), i.now())
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("make certificate of node %s: %w", i.name, err)
	}
	if i.folder != "" {
		data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
		if err := writeFile(filepath.Join(i.folder, CertFile), data); err != nil {
			return err
		}
	}
	i.current.Store(&stdtls.Certificate{Certificate: [][]byte{der}, PrivateKey: i.key, Leaf: leaf})
	return nil
}

// writeKey writes what stays as long as the process.
func (i *Identity) writeKey() error {
	if err := os.MkdirAll(i.folder, 0o700); err != nil {
		return fmt.Errorf("make folder of the node certificate: %w", err)
	}
	keyPEM, err := encodeKey(i.key)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(i.folder, KeyFile), keyPEM); err != nil {
		return err
	}
	return writeFile(filepath.Join(i.folder, CAFile), i.authority.certPEM)
}

// Certificate returns the current certificate; Leaf is set.
func (i *Identity) Certificate() *stdtls.Certificate { return i.current.Load() }

// Files returns the paths of the files, or "" three times without a folder.
func (i *Identity) Files() (ca, cert, key string) {
	if i.folder == "" {
		return "", "", ""
	}
	return filepath.Join(i.folder, CAFile), filepath.Join(i.folder, CertFile), filepath.Join(i.folder, KeyFile)
}

// Server returns the configuration of a port that only nodes of this cluster may use: TLS 1.3, and a
// client certificate of our authority is demanded. A client of another cluster is refused with an error
// that wraps ErrWrongSecret and names both fingerprints. Each call returns a new one, to be changed freely.
func (i *Identity) Server() *stdtls.Config {
	return &stdtls.Config{
		MinVersion: stdtls.VersionTLS13,
		// The chain is checked in VerifyConnection, which crypto/tls calls for every handshake, resumed
		// ones included: its own check can not be made to say which secret the peer has.
		ClientAuth:       stdtls.RequireAnyClientCert,
		ClientCAs:        i.authority.pool,
		VerifyConnection: i.verifyClient,
		GetCertificate: func(*stdtls.ClientHelloInfo) (*stdtls.Certificate, error) {
			return i.current.Load(), nil
		},
		SessionTicketsDisabled: true, // few and long connections
		Time:                   i.now,
	}
}

// Client returns the configuration to dial a node with: it shows our certificate, and demands one of our
// authority that names the address dialled. As the callbacks of crypto/tls are not told an IP address that
// was dialled, the check is crypto/tls's own, and its error does not speak of secrets: pass it through
// ExplainPeer, or use ClientFor. Each call returns a new one, to be changed freely.
func (i *Identity) Client() *stdtls.Config {
	return &stdtls.Config{
		MinVersion: stdtls.VersionTLS13,
		RootCAs:    i.authority.pool,
		GetClientCertificate: func(*stdtls.CertificateRequestInfo) (*stdtls.Certificate, error) {
			return i.current.Load(), nil
		},
		Time: i.now,
	}
}

// ClientFor is Client for one address, "host" or "host:port": its handshake fails with the clear error itself.
func (i *Identity) ClientFor(address string) *stdtls.Config {
	config := i.Client()
	host := hostOf(address)
	config.ServerName = host
	// Checked in full by VerifyConnection, in every handshake.
	config.InsecureSkipVerify = true
	config.VerifyConnection = func(state stdtls.ConnectionState) error {
		return i.verifyServer(address, host, state)
	}
	return config
}

// renewalTime is two thirds of a certificate's life.
func renewalTime(leaf *x509.Certificate) time.Time {
	return leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) * 2 / 3)
}
