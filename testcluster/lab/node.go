//go:build linux

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"tripod/node"
	"tripod/node/api"
)

// programVariable makes a test binary whose TestMain calls testcluster.Main act as tripod.
const programVariable = "TESTCLUSTER_PROGRAM"

// Node is a host that runs tripod.
type Node struct {
	*Host
	disk   *disk // nil: the data is in the lab's folder
	client *api.Client
	lacks  string // capabilities that tripod does not get, as setpriv(1) writes a bounding set

	running sync.Mutex
	process *exec.Cmd     // nil: none was started, or its end was seen
	exited  chan struct{} // of the latest process, closed when it has ended
}

func newNode(l *Lab, number int) *Node {
	return &Node{Host: newHost(l, fmt.Sprintf("n%d", number), number)}
}

// data is the node's --data, as its own processes see it.
func (n *Node) data() string { return filepath.Join(n.lab.dir, n.Name) }

// Folder is the node's own data folder, for the test. With SmallDisk, processes other than the test and the
// node's do not see what is in it.
func (n *Node) Folder() string {
	if n.disk != nil {
		return filepath.Join(n.disk.path(), n.Name)
	}
	return filepath.Join(n.data(), n.Name)
}

func (n *Node) logFile() string { return filepath.Join(n.lab.dir, n.Name+".log") }

func (n *Node) accessFile() string { return filepath.Join(n.lab.dir, n.Name+".access.log") }

func openLog(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Log is everything that tripod has written to its log, and to its access log, on this node.
func (n *Node) Log() (log, access string) {
	n.lab.t.Helper()
	var texts [2]string
	for i, file := range []string{n.logFile(), n.accessFile()} {
		text, err := os.ReadFile(file)
		if err != nil {
			n.lab.t.Fatalf("log of %s: %v", n.Name, err)
		}
		texts[i] = string(text)
	}
	return texts[0], texts[1]
}

// Apply applies a document through this node; when it returns, every live node serves it.
func (n *Node) Apply(document string) api.ApplyReply {
	n.lab.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	reply, err := n.Client().Apply(ctx, api.ApplyRequest{File: "lab.yaml", Text: document, Author: "lab"})
	if err != nil {
		n.lab.t.Fatalf("apply through %s: %v", n.Name, err)
	}
	if len(reply.Missing) > 0 {
		n.lab.t.Fatalf("apply through %s: not served everywhere: %+v", n.Name, reply.Missing)
	}
	return reply
}

// Client talks to the node over its unix socket, which no fault of the network touches.
func (n *Node) Client() *api.Client { return n.client }

// boot makes the host, with its disk.
func (n *Node) boot() error {
	if err := os.MkdirAll(n.data(), 0o700); err != nil {
		return err
	}
	if n.lab.options.disk > 0 && n.disk == nil {
		var err error
		if n.disk, err = newDisk(n.lab.lan.ns, n.data(), n.lab.options.disk); err != nil {
			return err
		}
	}
	if n.client == nil {
		n.client = api.NewSocketClient(filepath.Join(n.Folder(), node.SocketName))
	}
	if err := n.Host.boot(); err != nil {
		return err
	}
	if n.disk != nil {
		return n.disk.mount(n.namespace())
	}
	return nil
}

// Command is a command of tripod with this node's data, which has not been started; Spawn starts it on the node.
func (n *Node) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(n.lab.options.program, args...)
	cmd.Env = n.lab.environment(n.data())
	return cmd
}

// Tripod runs a command of tripod on the node, and returns what it said, on both outputs.
func (n *Node) Tripod(args ...string) (string, error) {
	cmd := n.Command(args...)
	text := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = text, text
	if err := n.Spawn(cmd); err != nil {
		return "", err
	}
	late := time.AfterFunc(Patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	err := cmd.Wait()
	return text.String(), err
}

// Without takes capabilities from tripod, from its next start on; their names are as in net_admin. None gives all back.
func (n *Node) Without(capabilities ...string) {
	n.lacks = ""
	for i, c := range capabilities {
		if i > 0 {
			n.lacks += ","
		}
		n.lacks += "-" + c
	}
}

// Start starts tripod with the data that the node has, and does not wait until it is ready.
func (n *Node) Start() Moment {
	n.lab.t.Helper()
	return n.fault("start", n.start)
}

func (n *Node) start() error {
	n.running.Lock()
	defer n.running.Unlock()
	if n.current() != nil {
		return errors.New("tripod runs already")
	}
	log, err := openLog(n.logFile())
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	access, err := openLog(n.accessFile())
	if err != nil {
		return err
	}
	defer access.Close()
	cmd := n.Command(append([]string{"run", "--nodes", n.lab.list(), "--data", n.data()}, n.lab.options.flags...)...)
	if n.lacks != "" {
		limited := exec.Command("setpriv", append([]string{"--bounding-set", n.lacks, "--"}, cmd.Args...)...)
		limited.Env, cmd = cmd.Env, limited
	}
	cmd.Stdout, cmd.Stderr = access, log
	if err := n.Spawn(cmd); err != nil {
		return err
	}
	exited := make(chan struct{})
	n.process, n.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // the state is in ProcessState
		close(exited)
	}()
	return nil
}

// current is the process, if it has not ended. The caller holds the lock.
func (n *Node) current() *exec.Cmd {
	if n.process != nil {
		select {
		case <-n.exited:
			n.process = nil
		default:
		}
	}
	return n.process
}

// PID is tripod's process, or 0 if none runs.
func (n *Node) PID() int {
	n.running.Lock()
	defer n.running.Unlock()
	if cmd := n.current(); cmd != nil {
		return cmd.Process.Pid
	}
	return 0
}

func (n *Node) signal(s syscall.Signal) error {
	n.running.Lock()
	defer n.running.Unlock()
	cmd := n.current()
	if cmd == nil {
		return fmt.Errorf("%s: tripod does not run", s)
	}
	return cmd.Process.Signal(s)
}

// gone waits until the process has ended.
func (n *Node) gone() error {
	n.running.Lock()
	defer n.running.Unlock()
	if n.process == nil {
		return nil
	}
	select {
	case <-n.exited:
		n.process = nil
		return nil
	case <-time.After(Patience):
		return fmt.Errorf("tripod still runs after %s", Patience)
	}
}

// Kill ends tripod with SIGKILL. The host and its kernel live on.
func (n *Node) Kill() Moment {
	n.lab.t.Helper()
	return n.fault("kill -9", n.kill)
}

// Pause stops tripod with SIGSTOP.
func (n *Node) Pause() Moment {
	n.lab.t.Helper()
	return n.fault("pause", func() error { return n.signal(syscall.SIGSTOP) })
}

// Resume lets a paused tripod go on.
func (n *Node) Resume() Moment {
	n.lab.t.Helper()
	return n.fault("resume", func() error { return n.signal(syscall.SIGCONT) })
}

// Stop ends tripod as systemd would, and returns when it has ended.
func (n *Node) Stop() Moment {
	n.lab.t.Helper()
	return n.fault("stop", func() error { return errors.Join(n.signal(syscall.SIGTERM), n.gone()) })
}

// Restart starts tripod again, after Stop if it runs, and waits until it is ready.
func (n *Node) Restart() Moment {
	n.lab.t.Helper()
	if n.PID() != 0 {
		n.Stop()
	}
	at := n.Start()
	n.WaitReady()
	return at
}

// PowerOff ends everything on the host at once: its link goes down first, so that nothing is heard of the end of
// its processes, and its kernel forgets all. The disk stays.
func (n *Node) PowerOff() Moment {
	n.lab.t.Helper()
	return n.fault("power off", func() error { return errors.Join(n.halt(), n.gone()) })
}

// PowerOn boots the host and starts tripod, unless the lab is Stopped, and does not wait until it is ready.
func (n *Node) PowerOn() Moment {
	n.lab.t.Helper()
	return n.fault("power on", func() error {
		if n.namespace() != nil {
			return errors.New("it is on")
		}
		if err := n.boot(); err != nil || n.lab.options.stopped {
			return err
		}
		return n.start()
	})
}

// FillDisk fills the rest of the node's disk. The lab needs the option SmallDisk.
func (n *Node) FillDisk() Moment {
	n.lab.t.Helper()
	return n.fault("fill disk", func() error {
		if n.disk == nil {
			return errors.New("the node has no disk of its own: start the lab with SmallDisk")
		}
		return n.disk.fill()
	})
}

// FreeDisk takes FillDisk back.
func (n *Node) FreeDisk() Moment {
	n.lab.t.Helper()
	return n.fault("free disk", func() error {
		if n.disk == nil {
			return errors.New("the node has no disk of its own: start the lab with SmallDisk")
		}
		return n.disk.free()
	})
}

// WaitReady waits until /readyz says so, asked on the host itself.
func (n *Node) WaitReady() {
	n.lab.t.Helper()
	client := n.HTTPClient()
	defer client.CloseIdleConnections()
	client.Timeout = time.Second
	n.lab.Wait(n.Name+" ready", func() error {
		n.running.Lock()
		exited := n.exited
		n.running.Unlock()
		select {
		case <-exited:
			n.lab.t.Fatalf("%s: tripod has ended", n.Name)
		default:
		}
		response, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", node.AdminPort))
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
			return errors.Join(fmt.Errorf("%s: %s", response.Status, body), err)
		}
		return nil
	})
}

// HTTPClient makes HTTP requests from the host, to URLs with addresses in numbers.
func (h *Host) HTTPClient() *http.Client {
	return &http.Client{Timeout: Patience, Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return h.Dial(ctx, network, address)
		},
	}}
}

// kill ends tripod without a word.
func (n *Node) kill() error {
	if n.PID() == 0 {
		return nil
	}
	if err := n.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return n.gone()
}

// forget closes what the test has of a node that has ended.
func (n *Node) forget() {
	if n.client != nil {
		n.client.Close()
	}
	if n.disk != nil {
		n.disk.close()
	}
}
