package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"tripod/node"
	"tripod/node/api"
	"tripod/node/etcd"
	"tripod/tls"
)

const (
	probeTimeout = 2 * time.Second
	callTimeout  = 30 * time.Second
)

// access says which node a command talks to.
type access struct {
	Node       string `help:"Address of the node to ask, over mutual TLS with the secret; default is a node on this machine." placeholder:"ADDR"`
	Data       string `help:"Data folder of the nodes on this machine (default: /var/lib/tripod for root, else the XDG state folder)." type:"path" placeholder:"DIR"`
	SecretFile string `help:"File with the cluster's secret, for --node; or TRIPOD_SECRET with the secret itself." type:"path" placeholder:"FILE"`
}

func (a access) data() string {
	if a.Data == "" {
		return node.DefaultData()
	}
	return a.Data
}

// connect finds the node and returns a client for it.
func (a access) connect(ctx context.Context) (*api.Client, error) {
	if a.Node != "" {
		return a.connectRemote()
	}
	client, _, err := a.connectLocal(ctx)
	return client, err
}

func (a access) connectRemote() (*api.Client, error) {
	secret, err := a.secret()
	if err != nil {
		return nil, err
	}
	identity, err := secret.Authority().NewIdentity("command", nil, "", nil)
	if err != nil {
		return nil, err
	}
	address := a.Node
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, strconv.Itoa(etcd.APIPort))
	}
	return api.NewClient(address, identity), nil
}

// secret reads the secret from where the flags say, or where an all-loopback cluster has put it.
func (a access) secret() (tls.Secret, error) {
	text, file := os.Getenv("TRIPOD_SECRET"), a.SecretFile
	if text == "" && file == "" {
		file = filepath.Join(a.data(), "secret")
		if _, err := os.Stat(file); err != nil {
			return tls.Secret{}, errors.New("--node needs the cluster's secret: --secret-file FILE, or TRIPOD_SECRET")
		}
	}
	return node.LoadSecret(text, file, a.data(), nil, slog.New(slog.DiscardHandler))
}

// connectLocal tries the sockets in the data folder. Several nodes may run on one machine: one that sees a
// majority is preferred.
func (a access) connectLocal(ctx context.Context) (client *api.Client, folder string, err error) {
	data := a.data()
	sockets, err := filepath.Glob(filepath.Join(data, "*", node.SocketName))
	if err != nil {
		return nil, "", fmt.Errorf("look for nodes in %s: %w", data, err)
	}
	slices.Sort(sockets)
	var failure error
	for _, socket := range sockets {
		c := api.NewSocketClient(socket)
		probe, cancel := context.WithTimeout(ctx, probeTimeout)
		report, err := c.Report(probe)
		cancel()
		switch {
		case err != nil:
			failure = err
		case report.Leader != "":
			return c, filepath.Dir(socket), nil
		case client == nil:
			client, folder = c, filepath.Dir(socket)
		}
	}
	switch {
	case client != nil:
		return client, folder, nil
	case errors.Is(failure, os.ErrPermission):
		return nil, "", fmt.Errorf("the socket in %s is closed to this user: %w: run the command as the user that runs the node", data, failure)
	}
	return nil, "", fmt.Errorf("no node runs here (no socket in %s answers): start one with tripod run, give its folder with --data, or ask another with --node ADDR", filepath.Join(data, "*"))
}
