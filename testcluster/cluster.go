package testcluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/node/cli"
)

// programVariable makes the test binary act as tripod.
const programVariable = "TESTCLUSTER_PROGRAM"

// Patience is how long the waiting methods wait before they fail the test. It bounds a hang; it is no figure.
const Patience = 30 * time.Second

// IsProgram says whether this process is to act as tripod: it was started as a node.
func IsProgram() bool { return os.Getenv(programVariable) != "" }

// Main runs a package's tests, or, in a process that Start has started, tripod.
func Main(m *testing.M) {
	if IsProgram() {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// Cluster is a running cluster.
type Cluster struct {
	t         testing.TB
	options   options
	block     [2]byte // 127.x.y.0/24
	claim     net.Listener
	dir       string
	nodes     []*Node
	recorder  *recorder
	authority string // PEM, once asked for
	client    *clientv3.Client
}

type options struct {
	inProcess bool
	flags     []string
	env       []string
	program   string
	stopped   bool
}

// Option changes how Start starts a cluster.
type Option func(*options)

// InProcess runs the nodes inside the test. They cannot be killed or paused.
func InProcess() Option { return func(o *options) { o.inProcess = true } }

// Flags adds flags of tripod run to every node.
func Flags(flags ...string) Option {
	return func(o *options) { o.flags = append(o.flags, flags...) }
}

// Env adds environment variables, as NAME=value, to every node.
func Env(variables ...string) Option {
	return func(o *options) { o.env = append(o.env, variables...) }
}

// Program runs another binary than the test's own.
func Program(path string) Option { return func(o *options) { o.program = path } }

// Stopped makes the cluster without starting its nodes.
func Stopped() Option { return func(o *options) { o.stopped = true } }

// Start starts a cluster of n nodes and returns when all are ready. It ends with the test.
func Start(t testing.TB, n int, opts ...Option) *Cluster {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux, where all of 127.0.0.0/8 is local")
	}
	c := &Cluster{t: t, recorder: newRecorder()}
	for _, o := range opts {
		o(&c.options)
	}
	c.block, c.claim = claimBlock(t)
	// Not t.TempDir: the path of a unix socket is short.
	dir, err := os.MkdirTemp("", "tripod")
	if err != nil {
		t.Fatal(err)
	}
	c.dir = dir
	t.Cleanup(c.end)
	for i := range n {
		c.nodes = append(c.nodes, newNode(c, i))
	}
	if c.options.stopped {
		return c
	}
	for _, node := range c.nodes {
		node.Start()
	}
	c.WaitReady()
	return c
}

// claimBlock finds a block of loopback addresses that no other cluster uses; the listener keeps it.
func claimBlock(t testing.TB) ([2]byte, net.Listener) {
	t.Helper()
	seed := os.Getpid()
	for i := range 1000 {
		block := [2]byte{byte(20 + (seed+i)%200), byte(1 + (seed/200+7*i)%250)}
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.%d.254:2381", block[0], block[1]))
		if err == nil {
			return block, l
		}
	}
	t.Fatal("no free block of loopback addresses")
	return [2]byte{}, nil
}

func (c *Cluster) address(host int) string {
	return fmt.Sprintf("127.%d.%d.%d", c.block[0], c.block[1], host)
}

// VIP is the cluster's address for its i-th virtual IP.
func (c *Cluster) VIP(i int) string { return c.address(100 + i) }

// Dir is the data folder that all nodes share, each with a subfolder.
func (c *Cluster) Dir() string { return c.dir }

// Nodes are all nodes, running or not.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Node is the i-th node.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Named is the node of that name.
func (c *Cluster) Named(name string) *Node {
	c.t.Helper()
	for _, n := range c.nodes {
		if n.Name() == name {
			return n
		}
	}
	c.t.Fatalf("no node %q", name)
	return nil
}

// List is the cluster's --nodes.
func (c *Cluster) List() string {
	var list []string
	for _, n := range c.nodes {
		list = append(list, n.Addr())
	}
	return strings.Join(list, ",")
}

// running are the nodes that are meant to answer.
func (c *Cluster) running() []*Node {
	var nodes []*Node
	for _, n := range c.nodes {
		if n.answers() {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) == 0 {
		c.t.Helper()
		c.t.Fatal("no node runs")
	}
	return nodes
}

// WaitReady waits until every running node is ready.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	for _, n := range c.running() {
		n.WaitReady()
	}
}

// Wait waits until the condition holds, and fails the test with its last error when it does not in time.
func (c *Cluster) Wait(what string, condition func() error) {
	c.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s: %v", what, Patience, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TryApply applies a document through the first running node.
func (c *Cluster) TryApply(document string) (api.ApplyReply, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return c.running()[0].Client().Apply(ctx, api.ApplyRequest{File: "test.yaml", Text: document, Author: "test"})
}

// Apply applies a document; when it returns, every running node serves it.
func (c *Cluster) Apply(document string) api.ApplyReply {
	c.t.Helper()
	reply, err := c.TryApply(document)
	if err != nil {
		c.t.Fatalf("apply: %v", err)
	}
	if len(reply.Missing) > 0 {
		c.t.Fatalf("apply: not served everywhere: %+v", reply.Missing)
	}
	return reply
}

// Status is the cluster as the first running node sees it.
func (c *Cluster) Status() api.Status {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	status, err := c.running()[0].Client().Status(ctx)
	if err != nil {
		c.t.Fatalf("status: %v", err)
	}
	return status
}

// Holder is the node that holds the VIP now, or nil.
func (c *Cluster) Holder(vip string) *Node {
	address := netip.MustParseAddr(vip)
	for _, n := range c.running() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		local, err := n.Client().Local(ctx)
		cancel()
		if err != nil {
			continue
		}
		for _, h := range local.Held {
			if h.Address == address {
				return n
			}
		}
	}
	return nil
}

// Condition is what WaitHolder asks of the holder.
type Condition func(*Node) bool

// Not is any other node.
func Not(other *Node) Condition { return func(n *Node) bool { return n != other } }

// Is is this node.
func Is(one *Node) Condition { return func(n *Node) bool { return n == one } }

// WaitHolder waits until a node that meets the conditions holds the VIP, and returns it.
func (c *Cluster) WaitHolder(vip string, conditions ...Condition) *Node {
	c.t.Helper()
	var holder *Node
	c.Wait("a holder of "+vip, func() error {
		if holder = c.Holder(vip); holder == nil {
			return fmt.Errorf("nobody holds it")
		}
		for _, meets := range conditions {
			if !meets(holder) {
				return fmt.Errorf("%s holds it", holder.Name())
			}
		}
		return nil
	})
	return holder
}

// NeverTwoHolders fails the test if at any moment since the start two nodes held one VIP, or if nothing was
// recorded, which would prove nothing.
func (c *Cluster) NeverTwoHolders() {
	c.t.Helper()
	if err := c.recorder.check(); err != nil {
		c.t.Error(err)
	}
}

// end stops everything that was started, and tells what happened if the test failed.
func (c *Cluster) end() {
	if c.t.Failed() {
		c.dump()
	}
	for _, n := range c.nodes {
		n.end()
	}
	c.recorder.close()
	c.claim.Close()
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Logf("remove data: %v", err)
	}
}

// dump prints the cluster's state and the ends of the nodes' logs.
func (c *Cluster) dump() {
	for _, n := range c.nodes {
		if !n.answers() {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		status, err := n.Client().Status(ctx)
		cancel()
		var text strings.Builder
		if err == nil {
			status.WriteText(&text, time.Now())
		}
		c.t.Logf("status by %s: %v\n%s", n.Name(), err, text.String())
		break
	}
	c.t.Logf("timeline of the VIPs:\n%s", c.recorder.text())
	for _, n := range c.nodes {
		c.t.Logf("log of %s:\n%s", n.Name(), tail(n.logFile(), 60))
	}
}

func tail(file string, lines int) string {
	text, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// File writes a file into the cluster's folder and returns its path.
func (c *Cluster) File(name, text string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}
