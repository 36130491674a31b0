package node

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"tripod/node/api"
	"tripod/node/config"
	"tripod/tls"
)

// setCertificateHosts says what shall have certificates: the routes' hosts, and for clients that connect to an
// address, the nodes' and the VIPs'.
func (n *Node) setCertificateHosts(document *config.Document) {
	addresses := []netip.Addr{n.claim.self.Addr} // the first is for clients that name no host
	for _, v := range n.voters {
		if v != n.claim.self {
			addresses = append(addresses, v.Addr)
		}
	}
	for _, p := range document.Addresses() {
		addresses = append(addresses, p.Addr())
	}
	for _, l := range document.Listeners {
		if l.TLS {
			n.certs.SetHosts(document.TLSHosts(), addresses)
			return
		}
	}
	n.certs.SetHosts(nil, nil)
}

// ListCertificates implements api.Certificates.
func (n *Node) ListCertificates() []tls.Info { return n.certs.List() }

// AuthorityPEM implements api.Certificates.
func (n *Node) AuthorityPEM() ([]byte, error) {
	pem := n.certs.CAPEM()
	if len(pem) == 0 {
		return nil, api.Fail(http.StatusServiceUnavailable, errors.New("the cluster's certificate authority is not there yet: the node is not a member of the cluster"))
	}
	return pem, nil
}

// AddCertificate implements api.Certificates.
func (n *Node) AddCertificate(ctx context.Context, upload api.CertificateUpload) (api.CertificateReply, error) {
	if _, err := n.client(ctx); err != nil {
		return api.CertificateReply{}, err
	}
	if upload.Name == "" {
		upload.Name = nameFor([]byte(upload.Cert))
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	info, warnings, err := n.certs.Add(ctx, upload.Name, []byte(upload.Cert), []byte(upload.Key))
	if errors.Is(err, tls.ErrBadCertificate) {
		err = api.Fail(http.StatusUnprocessableEntity, err)
	}
	if err != nil {
		return api.CertificateReply{}, err
	}
	return api.CertificateReply{Certificate: info, Warnings: warnings}, nil
}

// nameFor is what a certificate is called that was given no name: the first host of the chain. Of a chain that has
// none Add says what is wrong.
func nameFor(chain []byte) string {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			continue
		case len(cert.DNSNames) > 0:
			return cert.DNSNames[0]
		case len(cert.IPAddresses) > 0:
			return strings.ReplaceAll(cert.IPAddresses[0].String(), ":", "-")
		}
	}
	return "unnamed"
}

// RemoveCertificate implements api.Certificates.
func (n *Node) RemoveCertificate(ctx context.Context, name string) error {
	if _, err := n.client(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := n.certs.Remove(ctx, name)
	if errors.Is(err, tls.ErrNotFound) {
		return api.Fail(http.StatusNotFound, err)
	}
	return err
}
