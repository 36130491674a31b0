package testcluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"tripod/node"
	"tripod/node/api"
)

// Node is one node of a cluster, running or not.
type Node struct {
	cluster *Cluster
	index   int
	flags   []string // beside the cluster's

	mu      sync.Mutex
	process *exec.Cmd
	exited  chan struct{} // closed when it has ended
	inside  *node.Node
	opened  chan struct{} // closed when the inside's Open has returned
	log     *os.File
	paused  bool
	client  *api.Client
}

func newNode(c *Cluster, index int) *Node {
	n := &Node{cluster: c, index: index}
	n.client = api.NewSocketClient(filepath.Join(n.Folder(), node.SocketName))
	return n
}

// Name is the node's name, which is its address.
func (n *Node) Name() string { return n.Addr() }

// Addr is the node's own address.
func (n *Node) Addr() string { return n.cluster.address(n.index + 1) }

func (n *Node) addr() netip.Addr { return netip.MustParseAddr(n.Addr()) }

// Folder is the node's own data folder.
func (n *Node) Folder() string { return filepath.Join(n.cluster.dir, n.Addr()) }

// Client talks to the node over its socket.
func (n *Node) Client() *api.Client { return n.client }

// Admin is the URL of the admin pages.
func (n *Node) Admin() string { return fmt.Sprintf("http://%s:%d", n.Addr(), node.AdminPort) }

func (n *Node) logFile() string { return filepath.Join(n.cluster.dir, n.Addr()+".log") }

// Log is everything that the node has written to its log and its access log.
func (n *Node) Log() string {
	n.cluster.t.Helper()
	text, err := os.ReadFile(n.logFile())
	if err != nil {
		n.cluster.t.Fatal(err)
	}
	return string(text)
}

// SetFlags replaces the flags that this node has beside the cluster's, for its next start.
func (n *Node) SetFlags(flags ...string) { n.flags = flags }

// Args are the node's command line.
func (n *Node) Args() []string {
	args := []string{"run", "--nodes", n.cluster.List(), "--self", n.Addr(), "--data", n.cluster.dir}
	return append(append(args, n.cluster.options.flags...), n.flags...)
}

// Start starts the node, with the data that it has.
func (n *Node) Start() {
	n.cluster.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	log, err := os.OpenFile(n.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.cluster.t.Fatal(err)
	}
	n.log = log
	if n.cluster.options.inProcess {
		n.startInside()
	} else {
		n.startProcess()
	}
	n.cluster.recorder.follow(n)
}

func (n *Node) startInside() {
	logger := slog.New(slog.NewTextHandler(n.log, nil))
	n.inside = node.New(node.Config{
		Nodes: n.cluster.List(), Self: n.Addr(), Data: n.cluster.dir, Version: "test",
		Log: logger, AccessLog: n.log,
	})
	n.exited, n.opened = make(chan struct{}), make(chan struct{})
	go func(inside *node.Node, opened chan struct{}) {
		defer close(opened)
		ctx, cancel := context.WithTimeout(context.Background(), Patience)
		defer cancel()
		if err := inside.Open(ctx); err != nil {
			logger.Error("open", "error", err)
		}
	}(n.inside, n.opened)
}

func (n *Node) startProcess() {
	program := n.cluster.options.program
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			n.cluster.t.Fatal(err)
		}
		program = self
	}
	n.process = exec.Command(program, n.Args()...)
	n.process.Env = append(append(os.Environ(), programVariable+"=1"), n.cluster.options.env...)
	n.process.Stdout, n.process.Stderr = n.log, n.log
	n.process.SysProcAttr = dieWithParent()
	if err := n.process.Start(); err != nil {
		n.cluster.t.Fatal(err)
	}
	n.exited = make(chan struct{})
	go func(p *exec.Cmd, exited chan struct{}) {
		_ = p.Wait() // the state is in ProcessState
		close(exited)
	}(n.process, n.exited)
}

// PID is the node's process.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		return os.Getpid()
	}
	return n.process.Process.Pid
}

// answers says whether the node is meant to answer: running and not paused.
func (n *Node) answers() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return (n.process != nil || n.inside != nil) && !n.paused
}

// Exited waits until the process has ended by itself, and returns its exit code.
func (n *Node) Exited() int {
	n.cluster.t.Helper()
	n.mu.Lock()
	process, exited := n.process, n.exited
	n.mu.Unlock()
	select {
	case <-exited:
		n.forget()
		return process.ProcessState.ExitCode()
	case <-time.After(Patience):
		n.cluster.t.Fatalf("%s still runs after %s", n.Name(), Patience)
		return -1
	}
}

func (n *Node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.process, n.inside, n.paused = nil, nil, false
	n.log.Close()
}

func (n *Node) signal(s syscall.Signal) {
	n.cluster.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.process == nil {
		n.cluster.t.Fatalf("%s: %s needs a node that runs as a process", n.Name(), s)
	}
	if err := n.process.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		n.cluster.t.Fatalf("%s: %s: %v", n.Name(), s, err)
	}
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (n *Node) Kill() {
	n.cluster.t.Helper()
	n.signal(syscall.SIGKILL)
	<-n.exited
	n.cluster.recorder.ended(n.Name())
	n.forget()
}

// Pause stops the process with SIGSTOP.
func (n *Node) Pause() {
	n.cluster.t.Helper()
	n.signal(syscall.SIGSTOP)
	n.mu.Lock()
	n.paused = true
	n.mu.Unlock()
}

// Resume lets a paused process go on.
func (n *Node) Resume() {
	n.cluster.t.Helper()
	n.signal(syscall.SIGCONT)
	n.mu.Lock()
	n.paused = false
	n.mu.Unlock()
}

// Stop ends the node as an operator would, and returns when it is gone.
func (n *Node) Stop() {
	n.cluster.t.Helper()
	if n.closeInside() {
		return
	}
	n.signal(syscall.SIGTERM)
	if code := n.Exited(); code != 0 {
		n.cluster.t.Errorf("%s ended with code %d", n.Name(), code)
	}
}

// Restart starts the node again, with its data, and waits until it is ready.
func (n *Node) Restart() {
	n.cluster.t.Helper()
	n.Start()
	n.WaitReady()
}

// Wipe removes the data of a stopped node, as a new disk would.
func (n *Node) Wipe() {
	n.cluster.t.Helper()
	if err := os.RemoveAll(n.Folder()); err != nil {
		n.cluster.t.Fatal(err)
	}
}

// WaitReady waits until /readyz says so.
func (n *Node) WaitReady() {
	n.cluster.t.Helper()
	n.mu.Lock()
	exited := n.exited
	n.mu.Unlock()
	client := &http.Client{Timeout: time.Second}
	n.cluster.Wait(n.Name()+" ready", func() error {
		select {
		case <-exited:
			n.cluster.t.Fatalf("%s has ended", n.Name())
		default:
		}
		response, err := client.Get(n.Admin() + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			var body bytes.Buffer
			_, err := body.ReadFrom(response.Body)
			return errors.Join(fmt.Errorf("%s: %s", response.Status, body.String()), err)
		}
		return nil
	})
}

// end ends whatever runs, at the end of the test.
func (n *Node) end() {
	n.mu.Lock()
	process, exited := n.process, n.exited
	n.mu.Unlock()
	if process != nil {
		_ = process.Process.Kill() // it may have ended by itself
		<-exited
		n.forget()
	}
	n.closeInside()
	n.client.Close()
}

// closeInside closes a node that runs inside the test, if it does.
func (n *Node) closeInside() bool {
	n.cluster.t.Helper()
	n.mu.Lock()
	inside, opened, exited := n.inside, n.opened, n.exited
	n.mu.Unlock()
	if inside == nil {
		return false
	}
	<-opened
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := inside.Close(ctx); err != nil {
		n.cluster.t.Errorf("close %s: %v", n.Name(), err)
	}
	close(exited)
	n.forget()
	return true
}
