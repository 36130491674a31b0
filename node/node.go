// Package node is one tripod node: it opens the parts in order, connects them, and closes them in reverse. It
// is the only package that knows all of them.
//
// The order of opening follows from two promises. A node serves traffic from what it has on disk before, and
// whether or not, its cluster comes up (fail static); so the proxy opens before etcd. And the node API answers
// before etcd starts, because starting nodes ask each other for their phase; so it opens before both.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	stdtls "crypto/tls"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/node/etcd"
	"tripod/proxy"
	"tripod/tls"
)

const (
	// CloseTimeout bounds what a clean stop does besides waiting for connections to end.
	CloseTimeout = 15 * time.Second
	// leaveTimeout is how long a stopping node waits for its VIPs to be held elsewhere.
	leaveTimeout = 2 * time.Second
)

// Node is one node of a cluster.
type Node struct {
	cfg     Config
	log     *slog.Logger
	voters  []etcd.Voter
	claim   *claim
	started time.Time

	secret   tls.Secret
	identity *tls.Identity
	member   *etcd.Member
	proxy    *proxy.Proxy
	certs    *tls.Manager
	peers    *peers
	events   *events
	registry *prometheus.Registry

	rates    *rates
	server   *api.Server
	admin    *http.Server
	adminTLS net.Listener // the admin listener

	docs *documents
	reg  *registration
	// openReg is reg once it is open.
	openReg atomic.Pointer[registration]
	ground  *ground
	servers *servers
	// openServers is servers once it has been read from the store.
	openServers atomic.Pointer[servers]
	vips        *vips
	// openVIPs is vips once it is open, for whoever asks from outside.
	openVIPs atomic.Pointer[vips]

	ready  atomic.Bool
	failed chan error
	life   context.Context
	end    context.CancelFunc
	tasks  sync.WaitGroup
	closed sync.Once
	undo   []func(context.Context) error
}

// New makes a node; nothing happens before Open.
func New(cfg Config) *Node {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{cfg: cfg, log: cfg.Log, started: time.Now(), failed: make(chan error, 1), registry: prometheus.NewRegistry()}
	n.life, n.end = context.WithCancel(context.Background())
	return n
}

// Open starts the node and returns when it is ready: a member of its cluster that serves the document. That
// may take as long as it takes for other nodes to come; traffic is served from the node's disk meanwhile.
// When it fails, everything that was opened is closed again.
func (n *Node) Open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), CloseTimeout)
			defer cancel()
			err = errors.Join(err, n.Close(closing))
		}
	}()
	for _, open := range []func(context.Context) error{
		n.openIdentity, n.openGround, n.openMember, n.openProxy, n.openRates, n.openAPI, n.openAdmin, n.openCluster,
	} {
		if err := open(ctx); err != nil {
			return err
		}
	}
	return nil
}

// onClose adds a step of closing; the last added is the first to run.
func (n *Node) onClose(step func(context.Context) error) { n.undo = append(n.undo, step) }

// Close stops the node in reverse order: it gives up its VIPs and its key, lets running requests finish, and
// stops etcd last. It is idempotent, and bounded by ctx.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	n.closed.Do(func() {
		for _, step := range slices.Backward(n.undo) {
			errs = append(errs, step(ctx))
		}
		n.end()
		n.tasks.Wait()
	})
	return errors.Join(errs...)
}

// Failed tells when the node cannot go on: when etcd stopped by itself. Close it then; a new process finds
// out what to do.
func (n *Node) Failed() <-chan error { return n.failed }

// Name is the node's name; empty before Open has found it.
func (n *Node) Name() string {
	if n.claim == nil {
		return ""
	}
	return n.claim.self.Name
}

// Folder is where the node keeps its data.
func (n *Node) Folder() string { return n.claim.folder }

// AdminAddress is where the admin pages listen.
func (n *Node) AdminAddress() string { return n.adminTLS.Addr().String() }

// openIdentity finds out who this node is, and its place in the trust of the cluster.
func (n *Node) openIdentity(context.Context) error {
	voters, err := n.cfg.voters(n.log)
	if err != nil {
		return err
	}
	if n.cfg.Data == "" {
		n.cfg.Data = DefaultData()
	}
	if n.cfg.Data, err = filepath.Abs(n.cfg.Data); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	n.voters = voters
	if n.claim, err = newClaim(n.cfg, voters); err != nil {
		return err
	}
	n.onClose(func(context.Context) error { n.claim.release(); return nil })
	self := n.claim.self
	n.events = newEvents(self.Name)
	if n.secret, err = LoadSecret(n.cfg.Secret, n.cfg.SecretFile, n.cfg.Data, voters, n.log); err != nil {
		return err
	}
	n.identity, err = n.secret.Authority().NewIdentity(self.Name, []netip.Addr{self.Addr}, filepath.Join(n.claim.folder, "tls"), n.log)
	if err != nil {
		return err
	}
	n.tasks.Go(func() { n.identity.Run(n.life) })
	n.peers = newPeers(voters, self, n.identity)
	return nil
}

// openGround prepares this node to answer for VIPs.
func (n *Node) openGround(ctx context.Context) error {
	n.ground = newGround(n)
	if err := n.ground.open(ctx); err != nil {
		return err
	}
	n.onClose(func(ctx context.Context) error { n.end(); return n.ground.close(ctx) })
	return nil
}

// openMember reads what the disk knows of the cluster. Etcd itself starts later, in openCluster.
func (n *Node) openMember(context.Context) error {
	ca, cert, key := n.identity.Files()
	n.member = etcd.New(etcd.Config{
		Self: n.claim.self, Voters: n.voters, Folder: n.claim.folder,
		CAFile: ca, CertFile: cert, KeyFile: key,
		Key: n.secret.Token("cluster token"), Fingerprint: n.secret.Fingerprint(),
		Peers: n.peers, Log: n.log,
	})
	return n.member.Prepare()
}

// openProxy serves what the disk has, before and without the cluster.
func (n *Node) openProxy(ctx context.Context) error {
	n.certs = tls.New(tls.Options{
		Sealer: n.secret.Sealer(),
		Cache:  filepath.Join(n.claim.folder, "cache", "certificates"),
		Log:    n.log,
	})
	if err := n.certs.OpenCached(); err != nil {
		n.log.Warn("certificates on disk are not usable; they are read from the cluster", "error", err)
	}
	n.onClose(n.certs.Close)
	options := proxy.Options{
		Node: n.claim.self.Name, Zone: n.cfg.Zone, TLS: n.certs.Config(), StickyKey: n.secret.Token("sticky cookies"),
		Log: n.log, AccessLog: n.cfg.AccessLog, Registry: n.registry,
	}
	if etcd.AllLoopback(n.voters) {
		options.Local = n.claim.self.Addr
	}
	n.proxy = proxy.New(options)
	if err := n.proxy.Open(ctx); err != nil {
		return err
	}
	n.onClose(n.proxy.Close)
	n.servers = newServers(n)
	n.servers.openCached()
	n.docs = newDocuments(n)
	return n.docs.openCached(ctx)
}

// openAPI answers other nodes, and the commands on this machine.
func (n *Node) openAPI(context.Context) error {
	socket, err := n.claim.listenSocket()
	if err != nil {
		return err
	}
	n.server = api.NewServer(n, n.identity.ErrorLog(), n.log)
	n.server.Serve(socket)
	n.server.Serve(stdtls.NewListener(n.claim.listener, n.identity.Server()))
	n.onClose(n.server.Close)
	return nil
}

// openAdmin serves the admin pages.
func (n *Node) openAdmin(context.Context) error {
	address, err := n.cfg.adminAddress(n.claim.self.Addr)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("the admin address %s is taken: choose another with --admin", address)
	}
	if err != nil {
		return fmt.Errorf("listen for admin pages: %w: choose another address with --admin", err)
	}
	n.adminTLS = l
	n.registry.MustRegister(newMetrics(n))
	gatherers := prometheus.Gatherers{n.registry}
	if n.cfg.Gatherer != nil {
		gatherers = append(gatherers, n.cfg.Gatherer)
	}
	n.admin = api.NewAdmin(n, gatherers, n.log)
	n.tasks.Go(func() {
		if err := n.admin.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.log.Error("admin pages stopped", "error", err)
		}
	})
	n.onClose(func(context.Context) error { return n.admin.Close() })
	return nil
}

// openCluster joins the cluster and takes up its work.
func (n *Node) openCluster(ctx context.Context) error {
	n.log.Info("starting", "version", n.cfg.Version, "node", n.claim.self.String(), "data", n.claim.folder,
		"secret", n.secret.Fingerprint(), "admin", "http://"+n.AdminAddress())
	if err := n.checkConfigFile(); err != nil {
		return err
	}
	n.onClose(n.member.Close)
	if err := n.member.Open(ctx); err != nil {
		return err
	}
	client := n.member.Client()
	n.tasks.Go(n.watchMember)
	n.certs.Attach(etcd.NewStorage(client))
	if err := n.certs.Open(ctx); err != nil {
		return err
	}
	n.reg = newRegistration(n, client)
	if err := n.reg.open(ctx); err != nil {
		return err
	}
	n.onClose(n.reg.close)
	n.openReg.Store(n.reg)
	n.ground.publish()
	// Before the document: a server that operators took out gets nothing from a node that starts.
	if err := n.servers.open(ctx, client); err != nil {
		return err
	}
	n.openServers.Store(n.servers)
	n.onClose(n.servers.close)
	if err := n.docs.open(ctx, client); err != nil {
		return err
	}
	n.onClose(n.docs.close)
	n.vips = newVIPs(n, client)
	if err := n.vips.open(ctx); err != nil {
		return err
	}
	n.openVIPs.Store(n.vips)
	n.onClose(n.vips.close)
	n.ready.Store(true)
	n.reg.update(func(k *api.NodeKey) { k.State = n.vips.readyState() })
	n.onClose(n.leave)
	n.events.tell(api.Event{Kind: "ready"})
	n.log.Info("ready", "after", time.Since(n.started).Round(time.Millisecond).String())
	return nil
}

// watchMember reports that etcd stopped while nobody asked it to.
func (n *Node) watchMember() {
	select {
	case <-n.life.Done():
	case <-n.member.Done():
		if n.life.Err() == nil {
			n.failed <- errors.New("etcd stopped by itself: the cluster may have removed this member; start the node again, it finds out and joins as needed")
		}
	}
}

// leave tells the cluster that this node is about to stop, and waits a moment for its VIPs to be held elsewhere.
func (n *Node) leave(ctx context.Context) error {
	n.ready.Store(false)
	n.log.Info("stopping")
	n.events.tell(api.Event{Kind: "stopping"})
	n.reg.update(func(k *api.NodeKey) { k.State = api.Stopping })
	moving, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	n.vips.awaitNone(moving)
	// Connections go on until they end or the time is up, also those to a VIP that is held elsewhere now; etcd
	// keeps its vote so long.
	draining, cancel := context.WithTimeout(ctx, cmp.Or(n.cfg.DrainTimeout, CloseTimeout))
	defer cancel()
	return n.proxy.Close(draining)
}

// Live implements api.Health.
func (n *Node) Live() error {
	if n.life.Err() != nil {
		return errors.New("stopping")
	}
	return nil
}

// Started implements api.Observer.
func (n *Node) Started() error {
	if n.openVIPs.Load() == nil {
		return api.Fail(http.StatusServiceUnavailable, errors.New("starting"))
	}
	return nil
}

// Ready implements api.Health.
func (n *Node) Ready() error {
	switch {
	case n.member.Client() == nil:
		why := n.member.Waiting()
		if why == "" {
			why = "etcd is starting"
		}
		return fmt.Errorf("not a member of the cluster yet: %s", why)
	case !n.ready.Load():
		return errors.New("starting or stopping")
	case n.member.Leader() == "":
		return errors.New("no quorum: a majority of the voters does not answer; traffic goes on with the last document")
	}
	return nil
}

// Report implements api.Membership.
func (n *Node) Report() etcd.Report { return n.member.Report() }

// Admit implements api.Membership.
func (n *Node) Admit(ctx context.Context, request etcd.JoinRequest) (etcd.JoinReply, error) {
	return n.member.Admit(ctx, request)
}

// Subscribe implements api.Observer.
func (n *Node) Subscribe() (<-chan api.Event, func()) { return n.events.subscribe() }

// client returns the cluster's store, or why there is none.
func (n *Node) client(ctx context.Context) (*clientv3.Client, error) {
	n.awaitLeader(ctx)
	client := n.member.Client()
	if client == nil {
		return nil, api.Fail(http.StatusServiceUnavailable, n.Ready())
	}
	if n.member.Leader() == "" {
		return nil, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	}
	return client, nil
}

// noQuorum says in words who is missing.
func (n *Node) noQuorum() error {
	ctx, cancel := context.WithTimeout(n.life, peerTimeout)
	defer cancel()
	_, failures := n.peers.locals(ctx)
	missing := make([]string, 0, len(failures))
	for name := range failures {
		missing = append(missing, name)
	}
	slices.Sort(missing)
	who := "the others answer, but are no members of the cluster"
	switch len(missing) {
	case 0:
	case 1:
		who = missing[0] + " does not answer: start it again"
	default:
		who = strings.Join(missing, " and ") + " do not answer: start them again"
	}
	return fmt.Errorf("no quorum: %d of %d voters are needed, and %s; nothing was changed, and nothing can be until then", len(n.voters)/2+1, len(n.voters), who)
}
