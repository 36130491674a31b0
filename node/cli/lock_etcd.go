package cli

import (
	"context"
	stdtls "crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"tripod/election/lock"
	"tripod/node/api"
	"tripod/node/etcd"
	"tripod/tls"
)

// How soon a node that does not answer any more is noticed, and another one asked.
const (
	lockPing        = 2 * time.Second
	lockPingTimeout = time.Second
)

// locks finds the cluster and returns what takes locks there, over the client port of etcd as etcdctl does. close releases what is held.
func (c *lockCmd) locks(ctx context.Context) (locks *lock.Manager, close func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	client, err := c.etcd(ctx)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	host, _ := os.Hostname() // for people; it may be unknown
	locks, err = lock.NewManager(lock.Config{Store: client, Leases: client, Holder: fmt.Sprint("pid ", os.Getpid()), Host: host})
	if err != nil {
		cancel()
		_ = client.Close()
		return nil, nil, err
	}
	return locks, func() {
		defer cancel()
		ctx, stop := context.WithTimeout(context.Background(), releaseTimeout)
		defer stop()
		_ = locks.Close(ctx) // what is left ends with its lease
		_ = client.Close()
	}, nil
}

// etcd connects to all voters: with the files of a node on this machine, or with --node by the secret. The connection is good until ctx ends.
func (c *lockCmd) etcd(ctx context.Context) (*clientv3.Client, error) {
	node, config, err := c.identify(ctx)
	if err != nil {
		return nil, err
	}
	defer node.Close()
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	report, err := node.Report(call)
	if err != nil {
		return nil, err
	}
	voters, err := etcd.ParseVoters(report.Voters)
	if err != nil {
		return nil, err
	}
	var endpoints []string
	for _, v := range voters {
		endpoints = append(endpoints, "https://"+v.HostPort(etcd.ClientPort))
	}
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, TLS: config, DialTimeout: probeTimeout, DialKeepAliveTime: lockPing, DialKeepAliveTimeout: lockPingTimeout,
		Logger: zap.NewNop(), // what matters comes as an error
	})
}

func (c *lockCmd) identify(ctx context.Context) (*api.Client, *stdtls.Config, error) {
	if c.Node != "" {
		secret, err := c.secret()
		if err != nil {
			return nil, nil, err
		}
		identity, err := secret.Authority().NewIdentity("command", nil, "", nil)
		if err != nil {
			return nil, nil, err
		}
		node, err := c.connectRemote()
		if err != nil {
			return nil, nil, err
		}
		go identity.Run(ctx) // a lock may be held for longer than a certificate is good
		return node, identity.Client(), nil
	}
	node, folder, err := c.connectLocal(ctx)
	if err != nil {
		return nil, nil, err
	}
	folder = filepath.Join(folder, "tls")
	files := transport.TLSInfo{
		CertFile: filepath.Join(folder, tls.CertFile), KeyFile: filepath.Join(folder, tls.KeyFile), TrustedCAFile: filepath.Join(folder, tls.CAFile),
	}
	config, err := files.ClientConfig() // reads the certificate again for every connection
	if err != nil {
		node.Close()
		return nil, nil, fmt.Errorf("read the certificates of a node in %s: %w", folder, err)
	}
	return node, config, nil
}
