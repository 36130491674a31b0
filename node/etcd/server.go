package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// staleInterval is the time between two questions whether this cluster can still come to be.
const staleInterval = time.Second

// run starts etcd and returns when this member is a voter that has seen a majority.
func (m *Member) run(ctx context.Context, state, initialCluster, token string) error {
	if err := m.checkPorts(); err != nil {
		return err
	}
	m.mu.Lock()
	m.disk.state.Started, m.disk.state.Token = true, token
	err := m.disk.save()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	e, err := startServer(m.embedConfig(state, initialCluster, token))
	if err != nil {
		return fmt.Errorf("start etcd with the data in %s: %w", m.disk.data(), err)
	}
	run := &running{etcd: e, client: v3(e)}
	m.running.Store(run)
	m.mu.Lock()
	m.disk.state.ClusterID = e.Server.Cluster().ID().String()
	m.disk.state.MemberID = e.Server.MemberID().String()
	err = m.disk.save()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := m.awaitMajority(ctx, run); err != nil {
		return err
	}
	m.mu.Lock()
	m.disk.state.Formed, m.disk.state.Unfinished = true, 0
	err = m.disk.save()
	m.mu.Unlock()
	run.ready.Store(true)
	m.say("")
	return err
}

// awaitMajority waits until etcd has published itself through the log, and until it has a vote.
func (m *Member) awaitMajority(ctx context.Context, run *running) error {
	began, saidAt, askedAt := time.Now(), time.Now(), time.Now()
	ready := run.etcd.Server.ReadyNotify()
	poll := time.NewTicker(tick / 2)
	defer poll.Stop()
	published := false
	for {
		if published && !run.etcd.Server.IsLearner() {
			return nil
		}
		select {
		case <-ready:
			published, ready = true, nil
			continue
		case <-poll.C:
		case <-run.etcd.Server.StopNotify():
			if run.etcd.Server.IsIDRemoved(uint64(run.etcd.Server.MemberID())) {
				return fmt.Errorf("%w: while it was away", errRemoved)
			}
			return fmt.Errorf("%w: etcd stopped while starting", errBroken)
		case <-ctx.Done():
			return fmt.Errorf("start etcd: %w", ctx.Err())
		}
		if time.Since(askedAt) > staleInterval {
			askedAt = time.Now()
			if m.stale(ctx, run) {
				return errStale
			}
		}
		if time.Since(began) > sayInterval {
			m.survived()
		}
		if time.Since(saidAt) > sayInterval {
			saidAt = time.Now()
			what := "a majority of the voters"
			if published {
				what = "the leader to promote this learner"
			}
			m.say(what)
			m.log.Info("etcd is up and waits", "for", what, "voters", FormatVoters(m.cfg.Voters))
		}
	}
}

// survived notes that etcd has opened its data and lives, though it has no majority yet.
func (m *Member) survived() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disk.state.Unfinished == 0 {
		return
	}
	m.disk.state.Unfinished = 0
	if err := m.disk.save(); err != nil {
		m.log.Warn("member state not written", "error", err)
	}
}

// stale tells whether this voter forms a cluster that can never come to be: it started etcd, and before there was
// a majority, other voters lost what they knew and began a new life. All of them must say so, none may be a
// member, and nothing may have been written: then nobody can miss this member's log.
func (m *Member) stale(ctx context.Context, run *running) bool {
	m.mu.Lock()
	token, formed := m.disk.state.Token, m.disk.state.Formed
	m.mu.Unlock()
	if formed || token == "" || run.etcd.Server.KV().Rev() > 1 {
		return false
	}
	reports, failures := m.askAll(ctx)
	if len(failures) > 0 {
		return false
	}
	for _, r := range reports {
		if r.Phase == Joined {
			return false
		}
	}
	return clusterToken(m.Report(), m.cfg.Voters, m.cfg.Key, reports) != token
}

// checkPorts tells a taken port from data that does not open, which etcd reports alike.
func (m *Member) checkPorts() error {
	for _, p := range []struct {
		port int
		what string
	}{{PeerPort, "etcd peers"}, {ClientPort, "etcd clients"}} {
		l, err := net.Listen("tcp", m.cfg.Self.HostPort(p.port))
		if errors.Is(err, syscall.EADDRINUSE) {
			return fmt.Errorf("port %d for %s is taken on %s: stop the program that listens there, or give this node another address with --nodes (and --self)",
				p.port, p.what, m.cfg.Self.Addr)
		}
		if err != nil {
			return fmt.Errorf("listen for %s: %w: the address comes from --nodes and --self", p.what, err)
		}
		l.Close()
	}
	return nil
}

func (m *Member) embedConfig(state, initialCluster, token string) *embed.Config {
	cfg := embed.NewConfig()
	cfg.Name = m.cfg.Self.Name
	cfg.Dir = m.disk.data()
	peer, client := mustURL(m.cfg.Self.peerURL()), mustURL(m.cfg.Self.clientURL())
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.InitialCluster, cfg.ClusterState = initialCluster, state
	if token != "" {
		cfg.InitialClusterToken = token
	}
	info := transport.TLSInfo{
		CertFile: m.cfg.CertFile, KeyFile: m.cfg.KeyFile, TrustedCAFile: m.cfg.CAFile,
		ClientCertAuth: true,
		// A connection between two addresses of one machine may come from either, so the client's
		// address proves nothing; its certificate does.
		SkipClientSANVerify: true,
	}
	cfg.PeerTLSInfo, cfg.ClientTLSInfo = info, info
	cfg.TickMs, cfg.ElectionMs = uint(tick.Milliseconds()), uint(electionTimeout.Milliseconds())
	cfg.PreVote = true
	cfg.StrictReconfigCheck = true
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, "5000"
	cfg.QuotaBackendBytes = quotaBytes
	cfg.MaxRequestBytes = MaxRequestBytes
	cfg.SnapshotCount, cfg.SnapshotCatchUpEntries = 200, 50 // entries kept in memory; ours are few, and some large
	cfg.EnableGRPCGateway = false
	cfg.Logger = "zap"
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newZap(m.log, &m.quiet))
	return cfg
}

// startServer starts etcd. Data that does not open makes etcd return an error in some places and call Fatal,
// here a panic, in others.
func startServer(cfg *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, err = nil, fmt.Errorf("etcd gave up: %v", r)
		}
	}()
	return embed.StartEtcd(cfg)
}

// mustURL parses a URL that this package has made from a checked address.
func mustURL(s string) url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return *u
}
