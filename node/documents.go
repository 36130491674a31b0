package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/node/config"
)

const (
	bindRetry    = 2 * time.Second
	recordDelay  = time.Second // a follower gives the leader the first chance to write history
	storeTimeout = 5 * time.Second
	fileMode     = 0o600
)

// documents serves the newest document that compiles: from the disk at start, then from the store.
type documents struct {
	node   *Node
	client *clientv3.Client
	store  *config.Store

	mu      sync.Mutex
	served  config.Version   // what the proxy serves; revision 0 is nothing
	parsed  *config.Document // of served
	newest  int64            // revision of the newest document seen
	refused error            // why newest is not served
	checked struct {         // the last document that Apply compiled, so that the watch need not again
		text     string
		document *config.Document
	}

	stop context.CancelFunc
	done sync.WaitGroup
}

func newDocuments(n *Node) *documents { return &documents{node: n} }

func (d *documents) cacheFile() string {
	return filepath.Join(d.node.claim.folder, "cache", "document.json")
}

// openCached serves the document that was last good, before the cluster is there.
func (d *documents) openCached(ctx context.Context) error {
	text, err := os.ReadFile(d.cacheFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var v config.Version
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		d.node.log.Warn("the document on disk is not usable; it is read from the cluster", "file", d.cacheFile(), "error", err)
		return nil
	}
	if err := d.serve(ctx, v); err != nil {
		d.node.log.Warn("the document on disk is not served", "revision", v.Revision, "error", err)
	}
	return nil
}

// open serves the store's document, and follows it until close.
func (d *documents) open(ctx context.Context, client *clientv3.Client) error {
	d.client, d.store = client, config.NewStore(client, d.node.log)
	if err := d.offerFile(ctx); err != nil {
		return err
	}
	life, stop := context.WithCancel(d.node.life)
	d.stop = stop
	first := make(chan struct{})
	var once sync.Once
	versions := make(chan config.Version)
	d.done.Go(func() {
		err := d.store.Watch(life, func(v config.Version) {
			select {
			case versions <- v:
			case <-life.Done():
			}
		})
		if err != nil && life.Err() == nil {
			d.node.log.Error("the document is no longer watched", "error", err)
		}
	})
	d.done.Go(func() { d.follow(life, versions, func() { once.Do(func() { close(first) }) }) })
	// Ready means that the document of now is served. With none there is nothing to wait for.
	if _, err := d.store.Get(ctx); errors.Is(err, config.ErrNone) {
		return nil
	}
	select {
	case <-first:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *documents) close(context.Context) error {
	d.stop()
	d.done.Wait()
	return nil
}

// follow owns what is served: it takes every version in order, and tries again what could not be bound.
func (d *documents) follow(ctx context.Context, versions <-chan config.Version, turned func()) {
	retry := time.NewTicker(bindRetry)
	defer retry.Stop()
	var current config.Version
	var failed bool
	for {
		select {
		case <-ctx.Done():
			return
		case current = <-versions:
			failed = !d.turn(ctx, current)
			turned()
		case <-retry.C:
			// What did not compile will not; a port that was taken may be free.
			var problems config.Problems
			if why := d.why(); failed && !errors.As(why, &problems) && !errors.Is(why, errDeleted) {
				failed = !d.turn(ctx, current)
			}
		}
	}
}

// turn serves a version, or refuses it, and tells the cluster which.
func (d *documents) turn(ctx context.Context, v config.Version) bool {
	log := d.node.log.With("revision", v.Revision)
	err := d.serve(ctx, v)
	d.mu.Lock()
	repeated := d.newest == v.Revision && err != nil && d.refused != nil && d.refused.Error() == err.Error()
	d.newest, d.refused = v.Revision, err
	served := d.served.Revision
	d.mu.Unlock()
	if err != nil && !repeated {
		log.Error("the new document is refused; the last good one goes on", "serving", served, "error", err)
		d.node.events.tell(api.Event{Kind: "refused", Subject: fmt.Sprint(v.Revision), Text: err.Error()})
	}
	if err != nil && served == 0 {
		served = d.fallBack(ctx)
	}
	d.node.reg.update(func(k *api.NodeKey) {
		k.Applied, k.Error, k.Refused = served, "", 0
		if err != nil {
			k.Error, k.Refused = err.Error(), v.Revision
		}
	})
	if err != nil {
		return false
	}
	log.Info("document applied", "author", v.Author, "message", v.Message)
	d.node.events.tell(api.Event{Kind: "applied", Subject: fmt.Sprint(v.Revision)})
	if v := d.node.openVIPs.Load(); v != nil {
		v.wake()
	}
	d.done.Go(func() { d.record(ctx, v) })
	return true
}

// fallBack serves the newest document of the history that compiles, on a node that has nothing else.
func (d *documents) fallBack(ctx context.Context) int64 {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	history, err := d.store.History(ctx)
	if err != nil {
		d.node.log.Error("no earlier document to go on with", "error", err)
		return 0
	}
	for _, past := range history {
		if past.Text == "" {
			if past, err = d.store.At(ctx, past.Revision); err != nil {
				continue
			}
		}
		if d.serve(ctx, past) == nil {
			d.node.log.Warn("serving an earlier document", "revision", past.Revision)
			return past.Revision
		}
	}
	return 0
}

// errDeleted is why nothing new is served after somebody deleted the document. Taking every listener down for a
// deleted key is what nobody can have meant; an empty document does it.
var errDeleted = errors.New("the document was deleted: tripod config history and rollback bring it back, and applying an empty one serves nothing")

// serve makes a version the one that the proxy serves, whole or not at all.
func (d *documents) serve(ctx context.Context, v config.Version) error {
	if v.Deleted {
		return errDeleted
	}
	document, err := d.compile(v)
	if err != nil {
		return err
	}
	if err := d.node.proxy.Apply(ctx, document.Proxy()); err != nil {
		return err
	}
	d.mu.Lock()
	d.served, d.parsed = v, document
	d.mu.Unlock()
	d.node.setCertificateHosts(document)
	d.node.ground.configure(document)
	d.save(v)
	return nil
}

func (d *documents) compile(v config.Version) (*config.Document, error) {
	d.mu.Lock()
	checked := d.checked
	d.mu.Unlock()
	if checked.document != nil && checked.text == v.Text {
		return checked.document, nil
	}
	return d.node.parse(fmt.Sprintf("revision %d", v.Revision), v.Text)
}

// parse compiles a document for this cluster: what no document may say of it is an error too.
func (n *Node) parse(file, text string) (*config.Document, error) {
	document, err := config.Parse(file, []byte(text))
	if err != nil {
		return nil, err
	}
	for i, prefix := range document.Addresses() {
		for _, v := range n.voters {
			if v.Addr == prefix.Addr() {
				return nil, config.Problems{{File: file, Path: fmt.Sprintf("vips[%d].address", i),
					Message: fmt.Sprintf("%s is the own address of node %s: choose one that no machine has", v.Addr, v.Name)}}
			}
		}
	}
	return document, nil
}

// save keeps the document on disk for a start without the cluster. A failure costs that, and nothing now.
func (d *documents) save(v config.Version) {
	text, err := json.Marshal(v)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(d.cacheFile()), 0o700)
	}
	if err == nil {
		err = replaceFile(d.cacheFile(), text)
	}
	if err != nil {
		d.node.log.Warn("the document is not kept on disk", "error", err)
	}
}

// replaceFile writes a file as a whole: after a power cut there is the old one or the new one.
func replaceFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// record writes the version to the history, whoever put it. One node is enough: the raft leader goes first.
func (d *documents) record(ctx context.Context, v config.Version) {
	if !d.node.member.Leading() {
		select {
		case <-ctx.Done():
			return
		case <-time.After(recordDelay):
		}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	// Again and again: while raft leadership changes hands all nodes' attempts may be lost.
	err := persist(ctx, func(ctx context.Context) error { return d.store.Record(ctx, v.Revision, []byte(v.Text)) })
	if err != nil && ctx.Err() == nil {
		d.node.log.Warn("document not recorded in the history", "revision", v.Revision, "error", err)
	}
}

// snapshot is what is served, and what is newest and why it is not served.
func (d *documents) snapshot() (served config.Version, document *config.Document, newest int64, refused error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.served, d.parsed, d.newest, d.refused
}

func (d *documents) why() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// readConfigFile reads the file of --config, bounded.
func readConfigFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, config.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	return text, nil
}

// checkConfigFile refuses a --config that does not compile while the cluster may still need it; a member of a
// cluster does not.
func (n *Node) checkConfigFile() error {
	if n.cfg.ConfigFile == "" {
		return nil
	}
	text, err := readConfigFile(n.cfg.ConfigFile)
	if err == nil {
		_, err = config.Parse(n.cfg.ConfigFile, text)
	}
	if err != nil && n.member.Report().Phase == "member" {
		n.log.Warn("--config is ignored: the cluster has its document already, and the file is not usable", "error", err)
		n.cfg.ConfigFile = ""
		return nil
	}
	return err
}

// offerFile makes the file of --config the document of a cluster that has none.
func (d *documents) offerFile(ctx context.Context) error {
	if d.node.cfg.ConfigFile == "" {
		return nil
	}
	text, err := readConfigFile(d.node.cfg.ConfigFile)
	if err != nil {
		return err
	}
	for {
		err := d.offer(ctx, text)
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		d.node.log.Warn("--config not offered to the cluster, trying again", "error", err)
	}
}

func (d *documents) offer(ctx context.Context, text []byte) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	current, err := d.store.Get(ctx)
	if errors.Is(err, config.ErrNone) {
		_, err = d.store.Put(ctx, text, config.Change{
			Author: "--config of " + d.node.Name(), Message: "first document, from " + filepath.Base(d.node.cfg.ConfigFile), IfRevision: 0,
		})
		var stale *config.StaleError
		if !errors.As(err, &stale) {
			return err
		}
		current, err = stale.Current, nil // another node was first
	}
	if err == nil && current.Text != "" && current.Text != string(text) {
		d.node.log.Info("--config is ignored: the cluster has a document already; tripod config apply changes it",
			"file", d.node.cfg.ConfigFile, "revision", current.Revision)
	}
	return err
}

// Document implements api.Documents.
func (n *Node) Document(ctx context.Context) (config.Version, error) {
	store, err := n.documentStore(ctx)
	if err != nil {
		return config.Version{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	v, err := ask(ctx, store.Get)
	if errors.Is(err, config.ErrNone) {
		return v, api.Fail(http.StatusNotFound, errors.New("there is no document yet: tripod config apply FILE makes the first"))
	}
	return v, err
}

// History implements api.Documents.
func (n *Node) History(ctx context.Context) ([]config.Version, error) {
	store, err := n.documentStore(ctx)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return ask(ctx, store.History)
}

// DocumentAt implements api.Documents.
func (n *Node) DocumentAt(ctx context.Context, revision int64) (config.Version, error) {
	store, err := n.documentStore(ctx)
	if err != nil {
		return config.Version{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	v, err := ask(ctx, func(ctx context.Context) (config.Version, error) { return store.At(ctx, revision) })
	if errors.Is(err, config.ErrNotKept) {
		return v, api.Fail(http.StatusNotFound, err)
	}
	return v, err
}

// documentStore is the store, once this node is a member with a majority behind it.
func (n *Node) documentStore(ctx context.Context) (*config.Store, error) {
	client, err := n.client(ctx)
	if err != nil {
		return nil, err
	}
	return config.NewStore(client, n.log), nil
}
