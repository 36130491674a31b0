package testcluster

import (
	stdtls "crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/etcd"
	"tripod/tls"
)

// Etcd is a client of the cluster's etcd, over its client port, with the files that a node keeps for etcdctl.
func (c *Cluster) Etcd() *clientv3.Client {
	c.t.Helper()
	if c.client != nil {
		return c.client
	}
	folder := filepath.Join(c.running()[0].Folder(), "tls")
	pair, err := stdtls.LoadX509KeyPair(filepath.Join(folder, tls.CertFile), filepath.Join(folder, tls.KeyFile))
	if err != nil {
		c.t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(folder, tls.CAFile))
	if err != nil {
		c.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var endpoints []string
	for _, n := range c.nodes {
		endpoints = append(endpoints, etcd.Voter{Name: n.Name(), Addr: n.addr()}.HostPort(etcd.ClientPort))
	}
	c.client, err = clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second,
		TLS: &stdtls.Config{Certificates: []stdtls.Certificate{pair}, RootCAs: roots},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { c.client.Close() })
	return c.client
}
