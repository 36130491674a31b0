//go:build linux

package peer

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tripod/node"
	"tripod/node/api"
)

// Tripod says how tripod is started.
type Tripod struct {
	// Role makes a command line of this binary's one of tripod's.
	Role func(args ...string) (*exec.Cmd, error)
	// Last is the last number of the node's address; zero is 1.
	Last int
	// Nodes are how many the cluster has, whose first node has Last; zero is one.
	Nodes int
	// Document is what all nodes serve; empty is both ports, and one route to one service with all origins. It has to
	// lead Host somewhere, and if it has no https listener, Plain says so.
	Document string
	Plain    bool
}

// StartTripod starts the nodes of a new cluster.
func StartTripod(ctx context.Context, s *Setup, t Tripod) ([]*Peer, error) {
	t.Last, t.Nodes = max(t.Last, 1), max(t.Nodes, 1)
	folder, err := os.MkdirTemp(s.Folder, "t")
	if err != nil {
		return nil, err
	}
	if t.Document == "" {
		t.Document = fmt.Sprintf(`listeners:
  http: { address: ":%s" }
  https: { address: ":%s", tls: true }
access_log: "off"
routes: [ { host: %s, service: origins } ]
services: { origins: { servers: [ %s ] } }
`, plainPort, securePort, Host, strings.Join(s.Origins, ", "))
	}
	document, err := write(folder, "site.yaml", t.Document)
	if err != nil {
		return nil, err
	}
	var all []*Peer
	if err := t.nodes(ctx, s, folder, document, &all); err != nil {
		for _, p := range all {
			p.Stop()
		}
		return nil, err
	}
	return all, nil
}

func (t *Tripod) nodes(ctx context.Context, s *Setup, folder, document string, all *[]*Peer) error {
	var list []string
	for i := range t.Nodes {
		list = append(list, s.Address(t.Last+i))
	}
	for i, address := range list {
		cmd, err := t.Role("run", "--nodes", strings.Join(list, ","), "--self", address, "--data", filepath.Join(folder, "d"), "--config", document, "--drain-timeout", "1s")
		if err != nil {
			return err
		}
		process, err := start(cmd, filepath.Join(folder, fmt.Sprintf("stderr%d", i)), syscall.SIGKILL)
		if err != nil {
			return err
		}
		p := &Peer{Name: "tripod", Plain: net.JoinHostPort(address, plainPort), process: process}
		if !t.Plain {
			p.Secure = net.JoinHostPort(address, securePort)
		}
		*all = append(*all, p)
	}
	for i, p := range *all {
		err := p.until(ctx, func() error { return get(p.Admin() + "/readyz") })
		if err == nil && i == 0 && !t.Plain {
			err = upload(ctx, filepath.Join(folder, "d", list[i]), s.Certificate)
		}
		if err == nil {
			err = p.ready(ctx, s.Certificate)
		}
		if err != nil {
			return fmt.Errorf("tripod does not serve: %w; it said:\n%s", err, p.process.tail())
		}
	}
	return nil
}

// upload gives tripod the certificate, as tripod cert add does.
func upload(ctx context.Context, folder string, c *Certificate) error {
	client := api.NewSocketClient(filepath.Join(folder, node.SocketName))
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	_, err := client.AddCertificate(ctx, api.CertificateUpload{Cert: string(c.CertPEM), Key: string(c.KeyPEM)})
	return err
}

// Admin is the URL of a tripod's admin pages.
func (p *Peer) Admin() string {
	host, _, _ := net.SplitHostPort(p.Plain)
	return fmt.Sprintf("http://%s:%d", host, node.AdminPort)
}

func get(url string) error {
	response, err := (&http.Client{Timeout: 5 * time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

// Signal sends the process of a proxy a signal.
func (p *Peer) Signal(s syscall.Signal) error { return p.process.cmd.Process.Signal(s) }
