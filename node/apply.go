package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/node/config"
)

// serveTimeout is how long an apply waits for the live nodes to serve the document.
const serveTimeout = 10 * time.Second

// maxRaces bounds how often an apply that is based on no particular revision lets another go first.
const maxRaces = 5

// Apply implements api.Documents: check, compare, swap, and wait until every live node serves the document or
// has said why not.
func (n *Node) Apply(ctx context.Context, request api.ApplyRequest) (api.ApplyReply, error) {
	for race := 1; ; race++ {
		reply, err := n.apply(ctx, request)
		var stale *config.StaleError
		if request.IfRevision != nil || race == maxRaces || !errors.As(err, &stale) {
			return reply, err
		}
	}
}

func (n *Node) apply(ctx context.Context, request api.ApplyRequest) (api.ApplyReply, error) {
	var reply api.ApplyReply
	store, err := n.documentStore(ctx)
	if err != nil {
		return reply, err
	}
	document, err := n.parse(request.File, request.Text)
	if err != nil {
		return reply, err
	}
	reply.Warnings = document.Warnings()
	current, err := n.currentDocument(ctx, store)
	if err != nil {
		return reply, err
	}
	if request.IfRevision != nil && *request.IfRevision != current.Revision {
		return reply, &config.StaleError{Want: *request.IfRevision, Current: current}
	}
	reply.Former = current.Revision
	reply.Diff = config.Diff(fmt.Sprintf("revision %d", current.Revision), request.File, []byte(current.Text), []byte(request.Text))
	reply.Unchanged = current.Revision != 0 && current.Text == request.Text
	if request.DryRun {
		return reply, nil
	}
	reply.Revision = current.Revision
	if !reply.Unchanged {
		n.docs.remember(request.Text, document)
		reply.Revision, err = n.put(ctx, store, request, current.Revision)
		if err != nil {
			return reply, err
		}
	}
	client, err := n.client(ctx)
	if err != nil {
		return reply, err
	}
	reply.Served, reply.Missing, err = awaitServed(ctx, client, reply.Revision)
	return reply, err
}

func (n *Node) currentDocument(ctx context.Context, store *config.Store) (config.Version, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	current, err := ask(ctx, store.Get)
	switch {
	case errors.Is(err, config.ErrNone):
		return config.Version{}, nil
	case errors.Is(err, context.DeadlineExceeded):
		return current, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	}
	return current, err
}

func (n *Node) put(ctx context.Context, store *config.Store, request api.ApplyRequest, former int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	attempts := 0
	revision, err := ask(ctx, func(ctx context.Context) (int64, error) {
		attempts++
		revision, err := store.Put(ctx, []byte(request.Text), config.Change{
			Author: request.Author, Message: request.Message, IfRevision: former,
		})
		var stale *config.StaleError
		if attempts > 1 && errors.As(err, &stale) && stale.Current.Text == request.Text && stale.Current.Author == request.Author {
			return stale.Current.Revision, nil // an attempt that seemed to fail has done it
		}
		return revision, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return 0, api.Fail(http.StatusServiceUnavailable, fmt.Errorf("the cluster did not confirm the change within %s: it may still come into effect; see tripod config get", storeTimeout))
	}
	return revision, err
}

// remember keeps a document that was just compiled for the watch, which is about to see it.
func (d *documents) remember(text string, document *config.Document) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checked.text, d.checked.document = text, document
}

// awaitServed waits until every live node serves the revision, or refuses it, or the time is up.
func awaitServed(ctx context.Context, client *clientv3.Client, revision int64) (served []string, missing []api.Missing, err error) {
	ctx, cancel := context.WithTimeout(ctx, serveTimeout)
	defer cancel()
	var nodes map[string]api.NodeKey
	var seen int64
	look := func(ctx context.Context) (err error) { nodes, seen, err = readNodes(ctx, client); return err }
	if err := persist(ctx, look); err != nil {
		return nil, nil, err
	}
	changes := client.Watch(ctx, NodesPrefix, clientv3.WithPrefix(), clientv3.WithRev(seen+1))
	for {
		var pending bool
		if served, missing, pending = whoServes(nodes, revision); !pending {
			return served, missing, nil
		}
		change, ok := <-changes
		if !ok || change.Err() != nil {
			return served, missing, nil // the time is up: missing names who did not answer
		}
		// Etcd tells watchers of a write a moment before its own store shows it: only a linearizable read is
		// sure to see what the event was about.
		if persist(ctx, look) != nil {
			return served, missing, nil
		}
	}
}

// whoServes sorts the live nodes by what they say of a revision. pending: some have not said yet.
func whoServes(nodes map[string]api.NodeKey, revision int64) (served []string, missing []api.Missing, pending bool) {
	for name, key := range nodes {
		switch {
		case key.Applied >= revision:
			served = append(served, name)
		case key.Refused >= revision:
			missing = append(missing, api.Missing{Node: name, Why: key.Error})
		default:
			pending = true
			missing = append(missing, api.Missing{Node: name, Why: fmt.Sprintf("still serves revision %d", key.Applied)})
		}
	}
	slices.Sort(served)
	slices.SortFunc(missing, func(a, b api.Missing) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return served, missing, pending
}
