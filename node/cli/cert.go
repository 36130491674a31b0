package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"tripod/node/api"
)

type certCmd struct {
	List   certListCmd   `cmd:"" help:"List the certificates."`
	Add    certAddCmd    `cmd:"" help:"Use a certificate of your own for the hosts that it names."`
	Remove certRemoveCmd `cmd:"" help:"Remove a certificate of your own."`
	CA     certCACmd     `cmd:"" name:"ca" help:"Print the cluster-internal authority, for curl --cacert and trust stores."`
}

type certListCmd struct {
	output
	access
}

// Run lists the certificates.
func (c *certListCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	certificates, err := client.Certificates(ctx)
	if err != nil {
		return err
	}
	if c.json() {
		return writeJSON(t.out, certificates)
	}
	rows := [][]string{{"NAME", "HOSTS", "FROM", "ISSUER", "EXPIRES"}}
	for _, i := range certificates {
		rows = append(rows, []string{i.Name, strings.Join(i.Hosts, " "), string(i.Source), i.Issuer, i.NotAfter.Local().Format(time.DateOnly)})
	}
	return writeTable(t.out, rows)
}

type certAddCmd struct {
	Cert string `arg:"" help:"PEM file with the certificate and its chain." type:"path"`
	Key  string `arg:"" help:"PEM file with the private key." type:"path"`
	Name string `help:"Name in listings (default: the certificate's first host)."`
	access
}

// maxPEM is the largest certificate or key file that is read.
const maxPEM = 64 << 10

// Run adds a certificate.
func (c *certAddCmd) Run(ctx context.Context, t *terminal) error {
	upload := api.CertificateUpload{Name: c.Name}
	for _, f := range []struct {
		path string
		text *string
	}{{c.Cert, &upload.Cert}, {c.Key, &upload.Key}} {
		text, err := readBounded(f.path, maxPEM)
		if err != nil {
			return err
		}
		*f.text = text
	}
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := client.AddCertificate(ctx, upload)
	if err != nil {
		return err
	}
	for _, w := range reply.Warnings {
		fmt.Fprintln(t.err, "warning:", w)
	}
	fmt.Fprintf(t.out, "%s: serves %s on every node, until %s\n", reply.Certificate.Name,
		strings.Join(reply.Certificate.Hosts, ", "), reply.Certificate.NotAfter.Local().Format(time.DateOnly))
	return nil
}

func readBounded(path string, limit int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(text)) > limit {
		return "", fmt.Errorf("%s is larger than %d bytes: it is no certificate or key", path, limit)
	}
	return string(text), nil
}

type certRemoveCmd struct {
	Name string `arg:"" help:"Name of the certificate, from cert list."`
	access
}

// Run removes a certificate.
func (c *certRemoveCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := client.RemoveCertificate(ctx, c.Name); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s removed\n", c.Name)
	return nil
}

type certCACmd struct{ access }

// Run prints the authority's certificate.
func (c *certCACmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	pem, err := client.Authority(ctx)
	if err != nil {
		return err
	}
	_, err = io.WriteString(t.out, pem)
	return err
}
