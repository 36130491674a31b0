package etcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

const (
	tick            = 50 * time.Millisecond
	electionTimeout = 500 * time.Millisecond
	askInterval     = 100 * time.Millisecond
	askTimeout      = time.Second
	sayInterval     = 5 * time.Second
	turnTimeout     = 2 * time.Second
	turnInterval    = 10 * time.Millisecond
	// patience with starts that end the process, before the data is held to be the reason
	mostUnfinished = 2
	closeTimeout   = 10 * time.Second
)

// MaxRequestBytes is the largest request that the members take: a document of the largest size and its
// history entry in one transaction, with room for JSON's escapes.
const MaxRequestBytes = 8 << 20

// quotaBytes is the size of the store at which etcd stops taking writes. Etcd's own default.
const quotaBytes = 2 << 30

// Peers is how a starting node talks with the others: the node API.
type Peers interface {
	// Ask returns the phase of a voter. An error means that it did not answer.
	Ask(ctx context.Context, to Voter) (Report, error)
	// Join asks a member to admit this node as a learner. An error is worth a later retry, possibly elsewhere.
	Join(ctx context.Context, to Voter, request JoinRequest) (JoinReply, error)
}

// Config says who this voter is and who the others are.
type Config struct {
	Self   Voter
	Voters []Voter // all, with Self
	Folder string  // of this node; must exist
	// CAFile, CertFile and KeyFile are read by etcd at every handshake, so they may be renewed in place.
	CAFile, CertFile, KeyFile string
	// Key makes cluster tokens; Fingerprint names the secret. Both come from the cluster's secret.
	Key         []byte
	Fingerprint string
	Peers       Peers
	Log         *slog.Logger // nil discards
}

// Member is the etcd member of this voter.
type Member struct {
	cfg  Config
	log  *slog.Logger
	disk *disk

	mu      sync.Mutex // guards disk.state and admit's order
	admits  sync.Mutex // one membership change at a time
	running atomic.Pointer[running]
	waiting atomic.Pointer[string]
	quiet   atomic.Bool

	stop   context.CancelFunc
	tended sync.WaitGroup
}

// running is an etcd server that was started.
type running struct {
	etcd   *embed.Etcd
	client *clientv3.Client
	ready  atomic.Bool // a voter that has seen a majority
}

var (
	errBroken  = errors.New("etcd data does not open")
	errRemoved = errors.New("removed from the cluster")
	errStale   = errors.New("forming a cluster that the other voters have given up")
)

// New makes a member; nothing happens before Prepare and Open.
func New(cfg Config) *Member {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Member{cfg: cfg, log: cfg.Log}
}

// Prepare reads the node's folder, so that Report can answer other nodes. It fails with ErrOtherCluster when
// the folder is not this node's.
func (m *Member) Prepare() error {
	d, err := openDisk(m.cfg.Folder, m.cfg.Self, m.cfg.Fingerprint)
	m.disk = d
	return err
}

// Open starts the member and returns when it is a voter and a majority is there, however long that takes;
// Waiting says what it waits for. It returns early with ctx's error, with ErrOtherCluster, or with what
// makes starting impossible.
func (m *Member) Open(ctx context.Context) error {
	for {
		err := m.start(ctx)
		switch {
		case err == nil:
			life, stop := context.WithCancel(context.WithoutCancel(ctx))
			m.stop = stop
			m.tended.Go(func() { m.tend(life) })
			return nil
		case errors.Is(err, errRemoved), errors.Is(err, errStale), errors.Is(err, errBroken) && m.clusterLives(ctx):
			m.stopServer(ctx)
			m.mu.Lock()
			aside, moveErr := m.disk.moveAside(time.Now())
			m.mu.Unlock()
			if moveErr != nil {
				return errors.Join(err, moveErr)
			}
			m.log.Warn("joining again as a blank node", "reason", err, "former_data", aside)
		case errors.Is(err, errBroken) && len(m.cfg.Voters) > 1:
			m.stopServer(ctx)
			return fmt.Errorf("%w; no other voter has a majority to join: start the other nodes first, or restore %s from a backup", err, m.disk.data())
		default:
			m.stopServer(ctx)
			return err
		}
	}
}

// start makes one attempt, by what the disk and the other voters say.
func (m *Member) start(ctx context.Context) error {
	if m.disk.hasLog() {
		return m.restart(ctx)
	}
	return m.bootstrap(ctx)
}

// restart starts from the log. A restarted voter first waits one election timeout: the cluster may be in the
// middle of an election in which its former self has voted, and by then it is over. The time is used to ask
// the others whether they still know this member.
func (m *Member) restart(ctx context.Context) error {
	if n := m.disk.state.Unfinished; n >= mostUnfinished && len(m.cfg.Voters) > 1 && m.clusterLives(ctx) {
		return fmt.Errorf("%w: the process died in the last %d starts", errBroken, n)
	}
	m.mu.Lock()
	m.disk.state.Unfinished++
	err := m.disk.save()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := preflight(m.disk.data()); err != nil {
		return err
	}
	if len(m.cfg.Voters) > 1 {
		wait := time.NewTimer(electionTimeout)
		defer wait.Stop()
		reports, _ := m.askAll(ctx)
		for _, r := range reports {
			if own := FormatVoters(m.cfg.Voters); r.Voters != own {
				m.log.Warn("another node was started with other --nodes: give all nodes the same list", "node", r.Name, "its", r.Voters, "ours", own)
			}
		}
		if err := m.checkMembership(reports); err != nil {
			return err
		}
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return m.run(ctx, embed.ClusterStateFlagExisting, m.cfg.Self.Name+"="+m.cfg.Self.peerURL(), m.disk.state.Token)
}

// checkMembership compares what the disk says with what members that have a leader say.
func (m *Member) checkMembership(reports map[string]Report) error {
	s := m.disk.state
	for _, r := range reports {
		if r.Phase != Joined || r.ClusterID == "" || s.ClusterID == "" {
			continue
		}
		if r.ClusterID != s.ClusterID {
			return fmt.Errorf("%w: %s holds cluster %s, but %s is a member of cluster %s: give this node the right --data or --nodes, or move %s away to join that cluster as a blank node",
				ErrOtherCluster, m.cfg.Folder, s.ClusterID, r.Voter, r.ClusterID, m.disk.data())
		}
		if r.Leader != "" && s.MemberID != "" && !slices.Contains(r.Members, s.MemberID) {
			return fmt.Errorf("%w: %s no longer lists member %s", errRemoved, r.Voter, s.MemberID)
		}
	}
	return nil
}

// bootstrap is the start of a node without a log.
func (m *Member) bootstrap(ctx context.Context) error {
	var said string
	saidAt := time.Now().Add(askInterval*10 - sayInterval) // the first second is for nodes that start together
	for {
		reports, failures := m.askAll(ctx)
		d := decide(m.Report(), m.cfg.Voters, m.cfg.Key, reports, failures)
		switch d.step {
		case stepForm:
			return m.form(ctx, d.token)
		case stepJoin:
			reply, err := m.askAdmission(ctx, d.peers)
			if err == nil {
				m.log.Info("admitted as a learner", "members", reply.InitialCluster)
				m.say("")
				return m.run(ctx, embed.ClusterStateFlagExisting, reply.InitialCluster, "")
			}
			d.why = []string{fmt.Sprintf("a cluster is there, but does not admit this node yet (%v)", err)}
		}
		why := strings.Join(d.why, "; ")
		m.say(why)
		if (why != said && time.Since(saidAt) > time.Second) || time.Since(saidAt) > sayInterval {
			m.log.Info("waiting to form or join the cluster", "for", why)
			said, saidAt = why, time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start etcd: %w (was waiting: %s)", ctx.Err(), why)
		case <-time.After(askInterval):
		}
	}
}

// form starts a new cluster, the same on all voters. The token is on disk before etcd may vote.
func (m *Member) form(ctx context.Context, token string) error {
	m.mu.Lock()
	m.disk.state.Token = token
	err := m.disk.save()
	m.mu.Unlock()
	if err != nil {
		return err
	}
	entries := make([]string, len(m.cfg.Voters))
	for i, v := range m.cfg.Voters {
		entries[i] = v.Name + "=" + v.peerURL()
	}
	m.log.Info("forming a cluster", "voters", FormatVoters(m.cfg.Voters))
	m.say("")
	m.awaitTurn(ctx)
	return m.run(ctx, embed.ClusterStateFlagNew, strings.Join(entries, ","), token)
}

// awaitTurn lets the voters of a new cluster start etcd one after the other. A starting etcd asks its peers
// whether it has been a member before, and gives each a second to answer; peers that start at the same moment
// listen already but do not answer yet, so that all would wait for each other.
func (m *Member) awaitTurn(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	for _, v := range sorted(m.cfg.Voters) {
		if v == m.cfg.Self {
			return
		}
		for ctx.Err() == nil {
			if r, err := m.cfg.Peers.Ask(ctx, v); err == nil && r.Started {
				break
			}
			select {
			case <-ctx.Done():
			case <-time.After(turnInterval):
			}
		}
	}
}

// askAll asks every other voter for its phase, at once.
func (m *Member) askAll(ctx context.Context) (map[string]Report, map[string]error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var (
		mu       sync.Mutex
		wg       sync.WaitGroup
		reports  = map[string]Report{}
		failures = map[string]error{}
	)
	for _, v := range m.cfg.Voters {
		if v == m.cfg.Self {
			continue
		}
		wg.Go(func() {
			r, err := m.cfg.Peers.Ask(ctx, v)
			if err == nil && r.Name != v.Name {
				err = fmt.Errorf("calls itself %s: give all nodes the same --nodes", r.Voter)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures[v.Name] = err
				return
			}
			reports[v.Name] = r
		})
	}
	wg.Wait()
	return reports, failures
}

// clusterLives says whether another voter is a member of a cluster that has a leader.
func (m *Member) clusterLives(ctx context.Context) bool {
	reports, _ := m.askAll(ctx)
	for _, r := range reports {
		if r.Phase == Joined && r.Leader != "" {
			return true
		}
	}
	return false
}

func (m *Member) say(why string) { m.waiting.Store(&why) }

// Waiting says in words what Open waits for; empty when it does not wait for others.
func (m *Member) Waiting() string {
	if why := m.waiting.Load(); why != nil {
		return *why
	}
	return ""
}

// Report is this node's answer to a peer that asks for its phase.
func (m *Member) Report() Report {
	m.mu.Lock()
	s, log := m.disk.state, m.disk.hasLog()
	m.mu.Unlock()
	r := Report{Voter: m.cfg.Self, Phase: Blank, Incarnation: s.Incarnation, Voters: FormatVoters(m.cfg.Voters), Token: s.Token}
	switch {
	case s.Formed || log && s.Token == "":
		r.Phase = Joined
	case s.Token != "":
		r.Phase = Bootstrapping
	}
	run := m.running.Load()
	r.Started = run != nil
	if run != nil && run.ready.Load() {
		server := run.etcd.Server
		r.ClusterID, r.MemberID = server.Cluster().ID().String(), server.MemberID().String()
		r.Leader = m.Leader()
		for _, member := range server.Cluster().Members() {
			r.Members = append(r.Members, member.ID.String())
		}
	}
	return r
}

// Client is a client of this member, in the same process; nil before Open has returned.
func (m *Member) Client() *clientv3.Client {
	if run := m.running.Load(); run != nil && run.ready.Load() {
		return run.client
	}
	return nil
}

// Leader is the name of etcd's raft leader as this member knows it; empty when there is none, which is what
// a node without a majority sees after an election timeout.
func (m *Member) Leader() string {
	run := m.running.Load()
	if run == nil {
		return ""
	}
	if member := run.etcd.Server.Cluster().Member(run.etcd.Server.Leader()); member != nil {
		return member.Name
	}
	return ""
}

// Leading says whether this member is etcd's raft leader.
func (m *Member) Leading() bool {
	run := m.running.Load()
	return run != nil && run.ready.Load() && run.etcd.Server.Leader() == run.etcd.Server.MemberID()
}

// MoveLeader hands raft leadership to another voter. Only the leader can.
func (m *Member) MoveLeader(ctx context.Context, to string) error {
	run := m.running.Load()
	if run == nil {
		return errors.New("move raft leadership: etcd is not running")
	}
	for _, member := range run.etcd.Server.Cluster().Members() {
		if member.Name == to && !member.IsLearner {
			return run.etcd.Server.MoveLeader(ctx, uint64(run.etcd.Server.MemberID()), uint64(member.ID))
		}
	}
	return fmt.Errorf("move raft leadership: %s is not a voter", to)
}

// Done is closed when etcd stopped by itself, as it does when the cluster removed this member. Nil before
// Open has returned.
func (m *Member) Done() <-chan struct{} {
	if run := m.running.Load(); run != nil {
		return run.etcd.Server.StopNotify()
	}
	return nil
}

// Close stops the member, handing leadership over first. It is bounded by ctx and by ten seconds.
func (m *Member) Close(ctx context.Context) error {
	if m.stop != nil {
		m.stop()
		m.tended.Wait()
	}
	return m.stopServer(ctx)
}

func (m *Member) stopServer(ctx context.Context) error {
	run := m.running.Swap(nil)
	if run == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.handOver(ctx, run)
		m.quiet.Store(true)
		run.client.Close()
		// Etcd would try again to hand leadership over, to a peer that may be stopping too, for six
		// seconds; a server that has stopped does not.
		run.etcd.Server.HardStop()
		run.etcd.Close()
		m.quiet.Store(false)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop etcd: %w", ctx.Err())
	}
}

// handOver gives raft leadership to another voter, so that the cluster needs no election. It is a courtesy.
func (m *Member) handOver(ctx context.Context, run *running) {
	ctx, cancel := context.WithTimeout(ctx, electionTimeout)
	defer cancel()
	server := run.etcd.Server
	if server.Leader() != server.MemberID() {
		return
	}
	for _, member := range server.Cluster().Members() {
		if member.ID == server.MemberID() || member.IsLearner {
			continue
		}
		v, ok := findVoter(m.cfg.Voters, member.Name)
		if !ok {
			continue
		}
		if r, err := m.cfg.Peers.Ask(ctx, v); err != nil || !r.Started {
			continue
		}
		if server.MoveLeader(ctx, uint64(server.MemberID()), uint64(member.ID)) == nil {
			return
		}
	}
}

// tend is the raft leader's housekeeping for as long as the member runs.
func (m *Member) tend(ctx context.Context) {
	seen := map[uint64]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(tendInterval):
		}
		if m.Leading() {
			m.promote(ctx, seen)
		} else {
			clear(seen)
		}
	}
}

// v3 is the in-process client of a server.
func v3(e *embed.Etcd) *clientv3.Client { return v3client.New(e.Server) }
