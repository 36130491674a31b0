//go:build linux

// Package peer starts the proxies that are measured side by side, each as its own documentation says that it is fast,
// and all for the same work: round robin over the same servers, connections to them kept open, X-Forwarded-For, -Proto
// and -Host set, no access log, one certificate, two threads or processes.
//
// A proxy has a loopback address of its own, and the ports 8080 and 8443 of it. It needs no root.
package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	plainPort  = "8080"
	securePort = "8443"
	// startTime is how long a proxy may take until it answers.
	startTime = 20 * time.Second
)

// Setup is what all proxies are started with.
type Setup struct {
	// Folder is for their files. Its path is short, for unix sockets.
	Folder string
	// Address makes a loopback address from its last number; nobody else uses these.
	Address func(last int) string
	// Origins are the servers, host:port.
	Origins []string
	*Certificate
}

// Peer is a proxy that runs.
type Peer struct {
	// Name of the program.
	Name string
	// Plain and Secure are the host:port for HTTP and for HTTPS, if it has that.
	Plain, Secure string

	process *process
}

// MissingError says that a proxy is not installed.
type MissingError struct{ Name, Package string }

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed, and so not beside the others: apt-get install %s", e.Name, e.Package)
}

// program is how a proxy is started.
type program struct {
	name string
	last int // number of its address
	// command writes its configuration into a folder of its own.
	command func(s *Setup, folder, address string) (*exec.Cmd, error)
	// orphan is the signal that it gets when this process dies.
	orphan syscall.Signal
}

// Installed is a MissingError if a proxy is not installed, and another error if there is none of this name.
func Installed(name string) error {
	_, err := find(name)
	return err
}

func find(name string) (*program, error) {
	for _, p := range []*program{&haproxy, &nginx, &caddy} {
		if p.name != name {
			continue
		}
		if executable(name) == "" {
			return nil, &MissingError{Name: name, Package: name}
		}
		return p, nil
	}
	return nil, fmt.Errorf("no proxy %q: have haproxy, nginx, caddy", name)
}

// executable finds a program, also where root has its own, which others may run too; empty is nowhere.
func executable(name string) string {
	for _, folder := range []string{"", "/usr/local/sbin", "/usr/sbin"} {
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path
		}
	}
	return ""
}

// Start starts one of HAProxy, nginx and Caddy by its name, haproxy, nginx or caddy, which is also that of its Debian
// package. The error is a MissingError if it is not installed.
func Start(ctx context.Context, s *Setup, name string) (*Peer, error) {
	p, err := find(name)
	if err != nil {
		return nil, err
	}
	return p.start(ctx, s)
}

func (p *program) start(ctx context.Context, s *Setup) (*Peer, error) {
	folder, err := os.MkdirTemp(s.Folder, p.name)
	if err != nil {
		return nil, err
	}
	address := s.Address(p.last)
	cmd, err := p.command(s, folder, address)
	if err != nil {
		return nil, err
	}
	return launch(ctx, s, p.name, address, cmd, filepath.Join(folder, "stderr"), p.orphan)
}

// launch starts a proxy and returns when it serves as it should.
func launch(ctx context.Context, s *Setup, name, address string, cmd *exec.Cmd, said string, orphan syscall.Signal) (*Peer, error) {
	process, err := start(cmd, said, orphan)
	if err != nil {
		return nil, err
	}
	p := &Peer{Name: name, Plain: net.JoinHostPort(address, plainPort), Secure: net.JoinHostPort(address, securePort), process: process}
	if err := p.ready(ctx, s.Certificate); err != nil {
		p.Stop()
		return nil, fmt.Errorf("%s does not serve: %w; it said:\n%s", name, err, process.tail())
	}
	return p, nil
}

// ready waits until the proxy serves on its ports.
func (p *Peer) ready(ctx context.Context, c *Certificate) error {
	return p.until(ctx, func() error {
		err := p.check("http://"+p.Plain, c)
		if err == nil && p.Secure != "" {
			err = p.check("https://"+p.Secure, c)
		}
		return err
	})
}

// until tries until it works, the proxy has ended or the time is over.
func (p *Peer) until(ctx context.Context, try func() error) error {
	deadline := time.Now().Add(startTime)
	for {
		err := try()
		if err == nil {
			return nil
		}
		if ended := p.process.ended(); ended != nil {
			return ended
		}
		if time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// check asks a server for what it got from the proxy.
func (p *Peer) check(url string, c *Certificate) error {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{
		ServerName: Host, InsecureSkipVerify: true, // compared below
	}}}
	request, err := http.NewRequest(http.MethodGet, url+"/echo", nil)
	if err != nil {
		return err
	}
	request.Host = Host
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	head, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	for _, field := range []string{"x-forwarded-for: 127.", "x-forwarded-proto: " + request.URL.Scheme, "x-forwarded-host: " + Host} {
		if !bytes.Contains(bytes.ToLower(head), []byte("\r\n"+field)) {
			return fmt.Errorf("%s: no %q in what the server got:\n%s", url, field, head)
		}
	}
	if s := response.TLS; s != nil && !bytes.Equal(s.PeerCertificates[0].Raw, c.DER) {
		return fmt.Errorf("%s: another certificate than the one given", url)
	}
	return nil
}

// CPU is the processor time that the proxy has taken, with its workers.
func (p *Peer) CPU() (time.Duration, error) { return sum(p.process.pid(), cpu) }

// Resident is the memory of the proxy and its workers that is in RAM, in bytes.
func (p *Peer) Resident() (int64, error) { return sum(p.process.pid(), resident) }

func sum[N int64 | time.Duration](pid int, of func(int) (N, error)) (N, error) {
	all, err := family(pid)
	if err != nil {
		return 0, err
	}
	var total N
	for _, one := range all {
		n, err := of(one)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// Running is an error if the proxy has ended.
func (p *Peer) Running() error {
	if err := p.process.ended(); err != nil {
		return fmt.Errorf("%w; it said:\n%s", err, p.process.tail())
	}
	return nil
}

// Stop ends the proxy, and returns when it has ended.
func (p *Peer) Stop() { p.process.stop() }

// write writes a file of a proxy.
func write(folder, name, text string) (string, error) {
	file := filepath.Join(folder, name)
	return file, os.WriteFile(file, []byte(text), 0o644)
}
