package node

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	followRetry  = 200 * time.Millisecond
	followReread = 5 * time.Second
)

// follow calls f with all keys below a prefix: at once, whenever one of them changed, and every few seconds in
// any case, so that a lost watch costs time and never truth. The options bound what is read. It returns when ctx ends.
func follow(ctx context.Context, client *clientv3.Client, prefix string, f func([]*mvccpb.KeyValue), options ...clientv3.OpOption) {
	options = append(options, clientv3.WithPrefix(), clientv3.WithSerializable())
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, storeTimeout)
		reply, err := client.Get(call, prefix, options...)
		cancel()
		if err != nil {
			pause(ctx, followRetry)
			continue
		}
		f(reply.Kvs)
		awaitChange(ctx, client, prefix, reply.Header.Revision)
	}
}

// awaitChange returns when a key below the prefix changed after the revision, or when it is time to look again.
func awaitChange(ctx context.Context, client *clientv3.Client, prefix string, revision int64) {
	ctx, cancel := context.WithTimeout(ctx, followReread)
	defer cancel()
	<-client.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(revision+1))
}

// pause sleeps, unless ctx ends before.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
