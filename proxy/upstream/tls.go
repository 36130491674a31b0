package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"net"
)

// faults are what is wrong with the rules for servers that speak a protocol.
func (c *TLSConfig) faults(p Protocol) []error {
	var errs []error
	if p != H2 {
		errs = append(errs, Errorf("tls", "the servers speak no TLS: that goes with protocol: %s", H2))
	}
	if c.Name != "" && !ValidHost(c.Name) {
		errs = append(errs, Errorf("tls.name", "%q is no host name", c.Name))
	}
	if c.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CA)) {
		errs = append(errs, Errorf("tls.ca", "no certificate in it: it is the text of a PEM file, beginning with -----BEGIN CERTIFICATE-----"))
	}
	if c.Insecure && (c.CA != "" || c.Name != "") {
		errs = append(errs, Errorf("tls.insecure", "with it nothing is checked: leave out ca and name, or insecure"))
	}
	return errs
}

// Client is the configuration for a connection to the server at address, host:port. A nil TLSConfig asks for a certificate
// that the system trusts, for the address's host.
func (c *TLSConfig) Client(address string) *tls.Config {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	t := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if c == nil {
		return t
	}
	if c.Name != "" {
		t.ServerName = c.Name
	}
	if c.CA != "" {
		t.RootCAs = x509.NewCertPool()
		t.RootCAs.AppendCertsFromPEM([]byte(c.CA))
	}
	t.InsecureSkipVerify = c.Insecure
	return t
}
