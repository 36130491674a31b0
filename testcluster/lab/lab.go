//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"tripod/election"
	"tripod/node/api"
)

// Patience is how long the waiting methods wait before they fail the test. It bounds a hang; it is no figure.
const Patience = 30 * time.Second

// The last numbers of the hosts' addresses. Nodes have 1, 2, 3 and so on.
const (
	clientNumber  = 50
	watcherNumber = 51
	serversNumber = 60
	foreignNumber = 70
	vipNumber     = 100
	sourceNumber  = 200 // of the client's further addresses
	mostNodes     = 9
)

// Lab is a LAN with its hosts.
type Lab struct {
	// Client is where the requests of a Probe come from.
	Client *Host
	// Watcher is where a Probe asks for the VIP's station. It is a host of its own, so that its questions
	// do not freshen the client's neighbour table, which would hide that a new holder did not announce itself.
	Watcher *Host
	// Servers is where the servers behind the cluster are.
	Servers *Host

	t       T
	options options
	dir     string
	lan     *lanSwitch
	nodes   []*Node
	clock   func() time.Duration

	mu      sync.Mutex
	foreign []*Host
	notes   []note
	probes  []*Probe
}

// note is what the story did, and when.
type note struct {
	at         Moment
	host, what string
}

type options struct {
	program string
	flags   []string
	env     []string
	stopped bool
	disk    int64
}

// Option changes how Start starts a lab.
type Option func(*options)

// Program runs another binary than the test's own.
func Program(path string) Option { return func(o *options) { o.program = path } }

// Flags adds flags of tripod run to every node.
func Flags(flags ...string) Option { return func(o *options) { o.flags = append(o.flags, flags...) } }

// Env adds environment variables, as NAME=value, to every node.
func Env(variables ...string) Option {
	return func(o *options) { o.env = append(o.env, variables...) }
}

// Stopped makes the hosts without starting tripod on them.
func Stopped() Option { return func(o *options) { o.stopped = true } }

// SmallDisk gives every node a disk of its own for its data, in memory, which FillDisk can fill; etcd takes 128 MB
// of it from the start. Without the option the data is in a folder on the machine's disk, whose fsync is as slow as
// it really is.
func SmallDisk(bytes int64) Option { return func(o *options) { o.disk = bytes } }

// Start makes a LAN with n nodes, a client, a watcher and a host of servers, starts tripod on the nodes, and
// returns when all are ready. It all ends with the test. Without root it skips the test.
func Start(t T, n int, opts ...Option) *Lab {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("needs root, to make network namespaces")
	}
	l := &Lab{t: t, clock: election.Clock()}
	for _, o := range opts {
		o(&l.options)
	}
	if n < 0 || n > mostNodes {
		t.Fatalf("a lab of %d nodes: want at most %d", n, mostNodes)
	}
	if err := l.open(n); err != nil {
		l.end()
		t.Fatalf("make the lab: %v", err)
	}
	t.Cleanup(l.end)
	if l.options.stopped {
		return l
	}
	for _, node := range l.nodes {
		node.Start()
	}
	l.WaitReady()
	return l
}

func (l *Lab) open(n int) error {
	var err error
	if l.options.program == "" {
		if l.options.program, err = os.Executable(); err != nil {
			return err
		}
	}
	// Not t.TempDir: the path of a unix socket is short.
	if l.dir, err = os.MkdirTemp("", "lab"); err != nil {
		return err
	}
	if l.lan, err = newSwitch(); err != nil {
		return err
	}
	for i := range n {
		node := newNode(l, i+1)
		l.nodes = append(l.nodes, node)
		if err := l.lan.filter.know(node.Name, true); err != nil {
			return err
		}
		if err := node.boot(); err != nil {
			return err
		}
	}
	for _, o := range []struct {
		host   **Host
		name   string
		number int
	}{{&l.Client, "client", clientNumber}, {&l.Watcher, "watcher", watcherNumber}, {&l.Servers, "servers", serversNumber}} {
		if *o.host, err = l.addHost(o.name, o.number); err != nil {
			return err
		}
	}
	return l.serve()
}

func (l *Lab) addHost(name string, number int) (*Host, error) {
	h := newHost(l, name, number)
	if err := l.lan.filter.know(name, false); err != nil {
		return nil, err
	}
	return h, h.boot()
}

// VIP is the LAN's address for the i-th virtual IP, 10.77.0.100 and on.
func (l *Lab) VIP(i int) string { return address4(vipNumber + i).String() }

// VIP6 is the LAN's IPv6 address for the i-th virtual IP, fd77::100 and on.
func (l *Lab) VIP6(i int) string { return address6(vipNumber + i).String() }

// Nodes are all nodes, running or not.
func (l *Lab) Nodes() []*Node { return l.nodes }

// Node is the i-th node, from 0.
func (l *Lab) Node(i int) *Node { return l.nodes[i] }

// Named is the node of that name, or nil.
func (l *Lab) Named(name string) *Node {
	for _, n := range l.nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// hosts are all hosts.
func (l *Lab) hosts() []*Host {
	var hosts []*Host
	for _, n := range l.nodes {
		hosts = append(hosts, n.Host)
	}
	for _, h := range []*Host{l.Client, l.Watcher, l.Servers} {
		if h != nil {
			hosts = append(hosts, h)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(hosts, l.foreign...)
}

// list is the cluster's --nodes.
func (l *Lab) list() string {
	var list []string
	for _, n := range l.nodes {
		list = append(list, fmt.Sprintf("%s=%s", n.Name, n.IP4))
	}
	return strings.Join(list, ",")
}

func (l *Lab) environment(data string) []string {
	var env []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "TRIPOD_") && !strings.HasPrefix(name, "ETCDCTL_") {
			env = append(env, v)
		}
	}
	env = append(env, programVariable+"=1", "TRIPOD_DATA="+data, "TRIPOD_SECRET="+secret)
	return append(env, l.options.env...)
}

// secret is the clusters' secret; they are on no network but their own.
const secret = "the laboratory's secret, 32 bytes or more"

// Now is the time.
func (l *Lab) Now() Moment { return Moment(l.clock()) }

// Note adds a line to the timeline that a failed test prints.
func (l *Lab) Note(what string) Moment { return l.note("story", what) }

func (l *Lab) note(host, what string) Moment {
	at := l.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, note{at: at, host: host, what: what})
	return at
}

// Wait waits until the condition holds, and fails the test with its last error when it does not in time.
func (l *Lab) Wait(what string, condition func() error) {
	l.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatalf("%s: not within %s: %v", what, Patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// WaitReady waits until every node on which tripod was started is ready.
func (l *Lab) WaitReady() {
	l.t.Helper()
	for _, n := range l.nodes {
		if n.PID() != 0 {
			n.WaitReady()
		}
	}
}

// Apply applies a document through the first node that runs tripod; when it returns, every live node serves it.
func (l *Lab) Apply(document string) api.ApplyReply {
	l.t.Helper()
	for _, n := range l.nodes {
		if n.PID() != 0 {
			return n.Apply(document)
		}
	}
	l.t.Fatalf("apply: no node runs")
	return api.ApplyReply{}
}

// ForeignStation adds a host that is no part of the cluster but has the address, and answers for it as its kernel
// does. Its name is foreign1 and so on.
func (l *Lab) ForeignStation(address string) *Host {
	l.t.Helper()
	ip, err := netip.ParseAddr(address)
	if err != nil {
		l.t.Fatalf("foreign station: %v", err)
	}
	l.mu.Lock()
	count := len(l.foreign) + 1
	l.mu.Unlock()
	name := fmt.Sprintf("foreign%d", count)
	l.note(name, "appears with "+address)
	h, err := l.addHost(name, foreignNumber+count)
	if h != nil {
		l.mu.Lock()
		l.foreign = append(l.foreign, h)
		l.mu.Unlock()
	}
	if err == nil {
		err = h.addAddress(netip.PrefixFrom(ip, ip.BitLen()))
	}
	if err != nil {
		l.t.Fatalf("foreign station: %v", err)
	}
	return h
}

// Remove takes a host off the LAN for good.
func (h *Host) Remove() Moment {
	h.lab.t.Helper()
	return h.fault("disappears", h.halt)
}

// end ends everything, and tells what happened if the test failed.
func (l *Lab) end() {
	l.mu.Lock()
	probes := l.probes
	l.mu.Unlock()
	for _, p := range probes {
		p.Stop()
	}
	if l.t.Failed() {
		l.Dump()
	}
	for _, n := range l.nodes {
		if err := n.kill(); err != nil {
			l.t.Logf("end %s: %v", n.Name, err)
		}
	}
	for _, h := range l.hosts() {
		if err := h.halt(); err != nil {
			l.t.Logf("end %s: %v", h.Name, err)
		}
	}
	for _, n := range l.nodes {
		n.forget()
	}
	if l.lan != nil {
		l.lan.close()
	}
	if l.dir != "" {
		if err := os.RemoveAll(l.dir); err != nil {
			l.t.Logf("remove data: %v", err)
		}
	}
}
