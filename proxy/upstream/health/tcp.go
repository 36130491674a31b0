package health

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// askTCP connects; nothing is said.
func (p *Probe) askTCP(ctx context.Context, t Target) error {
	l, err := t.connect(ctx)
	if err == nil {
		l.end()
	}
	return err
}

// askTLS connects and agrees on TLS.
func (p *Probe) askTLS(ctx context.Context, t Target) error {
	l, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer l.end()
	c := t.TLS.Clone()
	name := p.config.Host
	if c == nil {
		// Nothing is sent that anybody could read: the certificate, and how old a version of TLS may be, are for the clients to judge.
		c = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10}
		if name == "" {
			name = t.Name
		}
	}
	if name != "" {
		c.ServerName = name
		if host, _, err := net.SplitHostPort(name); err == nil {
			c.ServerName = host
		}
	}
	secure := tls.Client(l, c)
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	secure.Close() // says that this was all, so that the server need not log a broken connection
	return nil
}
