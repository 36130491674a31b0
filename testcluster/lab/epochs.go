//go:build linux

package lab

import (
	"cmp"
	"context"
	stdtls "crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"tripod/election"
	"tripod/node"
	"tripod/node/etcd"
	"tripod/tls"
)

// Etcd is a client of the cluster's etcd, on the watcher, over its client port, with the files that a node keeps for
// etcdctl. The caller closes it.
func (l *Lab) Etcd() (*clientv3.Client, error) {
	if len(l.nodes) == 0 {
		return nil, fmt.Errorf("a lab without nodes has no etcd")
	}
	folder := filepath.Join(l.nodes[0].Folder(), "tls")
	pair, err := stdtls.LoadX509KeyPair(filepath.Join(folder, tls.CertFile), filepath.Join(folder, tls.KeyFile))
	if err != nil {
		return nil, fmt.Errorf("load the certificate of %s: %w", l.nodes[0].Name, err)
	}
	ca, err := os.ReadFile(filepath.Join(folder, tls.CAFile))
	if err != nil {
		return nil, fmt.Errorf("load the CA of %s: %w", l.nodes[0].Name, err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	var endpoints []string
	for _, n := range l.nodes {
		endpoints = append(endpoints, etcd.Voter{Name: n.Name, Addr: n.IP4}.HostPort(etcd.ClientPort))
	}
	return clientv3.New(clientv3.Config{
		Endpoints: endpoints, DialTimeout: 5 * time.Second, DialKeepAliveTime: 2 * time.Second, DialKeepAliveTimeout: time.Second,
		TLS: &stdtls.Config{Certificates: []stdtls.Certificate{pair}, RootCAs: roots},
		DialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return l.Watcher.Dial(ctx, "tcp", address)
		})},
	})
}

// Epochs are the holders that the VIP's record has named, in order, from the beginning to now, as etcd remembers them.
// It needs a majority of the nodes.
func (l *Lab) Epochs(vip string) ([]string, error) {
	records, err := l.Records(vip)
	var holders []string
	for _, r := range records {
		if r.Holder != "" {
			holders = append(holders, r.Holder)
		}
	}
	if err == nil && len(holders) == 0 {
		err = fmt.Errorf("the record of %s never named a holder", vip)
	}
	return holders, err
}

// Records is everything that was written as the VIP's record, in order, from the beginning to now, as etcd remembers it. It needs
// a majority of the nodes.
func (l *Lab) Records(vip string) ([]election.Record, error) {
	client, err := l.Etcd()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	key := node.VIPsPrefix + vip
	now, err := revision(ctx, client, key)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	history := client.Watch(ctx, key, clientv3.WithRev(1))
	ask := time.NewTicker(20 * time.Millisecond)
	defer ask.Stop()
	var records []election.Record
	for {
		select {
		case <-ask.C:
			// The answer comes when everything before it has.
			if err := client.RequestProgress(ctx); err != nil {
				return nil, fmt.Errorf("read the history of %s: %w", key, err)
			}
		case answer, ok := <-history:
			if err := answer.Err(); err != nil || !ok {
				return nil, fmt.Errorf("read the history of %s: %w", key, cmp.Or(err, ctx.Err()))
			}
			records = append(records, recordsIn(answer.Events)...)
			if answer.IsProgressNotify() && answer.Header.Revision >= now {
				return records, nil
			}
		}
	}
}

// RaftLeader is the node that leads etcd's raft now.
func (l *Lab) RaftLeader() *Node {
	l.t.Helper()
	var leader *Node
	l.Wait("a raft leader", func() error {
		for _, n := range l.nodes {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			local, err := n.Client().Local(ctx)
			cancel()
			if err == nil && local.RaftLeader != "" {
				leader = l.Named(local.RaftLeader)
				return nil
			}
		}
		return errors.New("no node knows one")
	})
	return leader
}

// revision is the store's, by a linearizable read.
func revision(ctx context.Context, client *clientv3.Client, key string) (int64, error) {
	for {
		try, done := context.WithTimeout(ctx, 3*time.Second)
		answer, err := client.Get(try, key)
		done()
		if err == nil {
			return answer.Header.Revision, nil
		}
		if ctx.Err() != nil {
			return 0, err
		}
	}
}

// recordsIn are the records that these events wrote.
func recordsIn(events []*clientv3.Event) []election.Record {
	var records []election.Record
	for _, e := range events {
		if e.Type != clientv3.EventTypePut {
			continue
		}
		// Rubbish names nobody, here as for the nodes.
		record, _ := election.ParseRecord(e.Kv.Value, e.Kv.ModRevision, e.Kv.CreateRevision, e.Kv.Version)
		records = append(records, record)
	}
	return records
}
