package tls

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// ErrWrongSecret is wrapped by what the handshake of two nodes with different secrets fails with.
var ErrWrongSecret = errors.New("another secret")

const sameSecret = "put the same secret file on every node"

// The alerts by which a peer says that it does not take our certificate (RFC 8446 §6.2).
const (
	alertBadCertificate      stdtls.AlertError = 42
	alertCertificateExpired  stdtls.AlertError = 45
	alertCertificateUnknown  stdtls.AlertError = 46
	alertUnknownCA           stdtls.AlertError = 48
	alertCertificateRequired stdtls.AlertError = 116
)

// peerError is a handshake error in words that help. It keeps the original for errors.Is and errors.As.
type peerError struct {
	text   string
	causes []error
}

func (e *peerError) Error() string   { return e.text }
func (e *peerError) Unwrap() []error { return e.causes }

// verifyClient is the whole check of a client's certificate.
func (i *Identity) verifyClient(state stdtls.ConnectionState) error {
	leaf, err := i.verifyChain(state, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return i.explainLeaf("", leaf, err)
	}
	return nil
}

// verifyServer is the whole check of a server's certificate.
func (i *Identity) verifyServer(address, host string, state stdtls.ConnectionState) error {
	leaf, err := i.verifyChain(state, x509.ExtKeyUsageServerAuth)
	if err == nil {
		err = leaf.VerifyHostname(host)
	}
	if err != nil {
		return i.explainLeaf(address, leaf, err)
	}
	return nil
}

func (i *Identity) verifyChain(state stdtls.ConnectionState, usage x509.ExtKeyUsage) (*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("no certificate")
	}
	leaf := state.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         i.authority.pool,
		Intermediates: x509.NewCertPool(), // the authority signs the leaves itself
		CurrentTime:   i.now(),
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	return leaf, err
}

// ExplainPeer turns the error of a connection to or from another node into one that says what is wrong and
// what to do, if it is about certificates: both refusals by our side and the alerts in which the other side's
// refusal arrives (in TLS 1.3 a client sees it at its first read). Errors that gRPC made into text
// are recognised too. Anything else, and nil, is returned as it is. The address may be "".
func (i *Identity) ExplainPeer(address string, err error) error {
	if err == nil || errors.Is(err, ErrWrongSecret) {
		return err
	}
	if _, done := errors.AsType[*peerError](err); done {
		return err
	}
	if refused, ok := errors.AsType[*stdtls.CertificateVerificationError](err); ok && len(refused.UnverifiedCertificates) > 0 {
		return i.explainLeaf(address, refused.UnverifiedCertificates[0], err)
	}
	if text, secret := i.explainText(orPeer(address), err.Error()); text != "" {
		if secret {
			return &peerError{text, []error{ErrWrongSecret, err}}
		}
		return &peerError{text, []error{err}}
	}
	return err
}

// explainLeaf says why a peer's certificate was refused. What it quotes of the certificate is not trusted.
func (i *Identity) explainLeaf(address string, leaf *x509.Certificate, cause error) error {
	ours := i.authority.fingerprint
	if leaf == nil {
		return &peerError{fmt.Sprintf("%s shows no certificate: only nodes with the secret %s may connect", orPeer(address), ours), []error{cause}}
	}
	peer := address
	if peer == "" {
		peer = fmt.Sprintf("node %.80q", leaf.Subject.CommonName)
	}
	theirs, isTripod := issuerFingerprint(leaf)
	expired, _ := errors.AsType[x509.CertificateInvalidError](cause)
	var hostname x509.HostnameError
	switch {
	case !isTripod:
		return &peerError{fmt.Sprintf("%s is not a tripod node: its certificate is from %.80q", peer, leaf.Issuer.CommonName), []error{cause}}
	case theirs != ours:
		text := fmt.Sprintf("%s has %v: ours is %s, theirs is %s: %s", peer, ErrWrongSecret, ours, theirs, sameSecret)
		return &peerError{text, []error{ErrWrongSecret, cause}}
	case expired.Cert != nil && expired.Reason == x509.Expired:
		return &peerError{fmt.Sprintf("the certificate of %s is good from %s to %s, and here it is %s: set the clocks right on both nodes", peer,
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339), i.now().UTC().Format(time.RFC3339)), []error{cause}}
	case errors.As(cause, &hostname):
		return &peerError{fmt.Sprintf("%s answers as node %.80q at %v: it is listed under another address than it serves", peer, leaf.Subject.CommonName, leaf.IPAddresses), []error{cause}}
	default:
		return &peerError{fmt.Sprintf("certificate of %s refused: %v", peer, cause), []error{cause}}
	}
}

// explainText explains an error of which only the text is left; secret tells whether the secrets differ.
func (i *Identity) explainText(peer, text string) (explained string, secret bool) {
	has := func(alert stdtls.AlertError) bool { return strings.Contains(text, "remote error: "+alert.Error()) }
	switch {
	case has(alertUnknownCA), has(alertBadCertificate), has(alertCertificateUnknown):
		return fmt.Sprintf("%s refused our certificate, so it has %v than ours, %s (or its clock is wrong): %s", peer, ErrWrongSecret, i.authority.fingerprint, sameSecret), true
	case has(alertCertificateExpired):
		return fmt.Sprintf("%s says that our certificate is out of date; here it is %s: set the clocks right on both nodes", peer, i.now().UTC().Format(time.RFC3339)), false
	case has(alertCertificateRequired):
		return fmt.Sprintf("%s demands a client certificate, and none was shown", peer), false
	case strings.Contains(text, x509.UnknownAuthorityError{}.Error()):
		return fmt.Sprintf("%s has %v than ours, %s: %s", peer, ErrWrongSecret, i.authority.fingerprint, sameSecret), true
	}
	return "", false
}

// issuerFingerprint returns which secret a node's certificate claims to come from.
func issuerFingerprint(leaf *x509.Certificate) (fingerprint string, ok bool) {
	fingerprint, ok = strings.CutPrefix(leaf.Issuer.CommonName, authoritySubject)
	if !ok || len(fingerprint) != 8 {
		return "", false
	}
	_, err := hex.DecodeString(fingerprint)
	return fingerprint, err == nil
}

func orPeer(address string) string {
	if address == "" {
		return "the other node"
	}
	return address
}

func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.Trim(address, "[]")
}
