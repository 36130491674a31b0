//go:build linux

package vip

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

// The tests run in a network namespace of their own, which is the switch and the client at once: a bridge with
// addresses. Hosts are this program once more, each in its own namespace, told what to do over a pipe.
const (
	labVariable  = "VIP_TEST_LAB"
	hostVariable = "VIP_TEST_HOST"

	clientAddress  = "10.9.0.250"
	clientAddress6 = "fd09::250"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(hostVariable) != "":
		os.Exit(serveHost())
	case os.Getenv(labVariable) != "" || os.Geteuid() != 0:
		os.Exit(m.Run())
	}
	lab := exec.Command("/proc/self/exe", os.Args[1:]...)
	lab.Env = append(os.Environ(), labVariable+"=1")
	lab.Stdin, lab.Stdout, lab.Stderr = os.Stdin, os.Stdout, os.Stderr
	lab.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := lab.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "a network namespace cannot be made here, so nothing is tested:", err)
		os.Setenv(hostVariable, "") // fall through to what needs none
		os.Exit(m.Run())
	}
	os.Exit(0)
}

// needLab skips where there is no namespace to play in.
func needLab(t testing.TB) {
	t.Helper()
	if os.Getenv(labVariable) == "" {
		t.Skip("needs root, to make network namespaces")
	}
}

// lab is a bridge with hosts on it.
type lab struct {
	t      testing.TB
	bridge *netlink.Bridge
	hosts  int
}

func newLab(t testing.TB) *lab {
	needLab(t)
	l := &lab{t: t, bridge: &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan"}}}
	l.must(netlink.LinkAdd(l.bridge))
	t.Cleanup(func() { _ = netlink.LinkDel(l.bridge) })
	l.must(os.WriteFile("/proc/sys/net/ipv6/conf/lan/accept_dad", []byte("0"), 0))
	for _, address := range []string{clientAddress + "/24", clientAddress6 + "/64"} {
		parsed, err := netlink.ParseAddr(address)
		l.must(err)
		l.must(netlink.AddrAdd(l.bridge, parsed))
	}
	l.must(netlink.LinkSetUp(l.bridge))
	return l
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// host is a namespace with an interface eth0, and a process in it.
type host struct {
	l       *lab
	n       int
	name    string
	mac     net.HardwareAddr
	port    netlink.Link // on the bridge
	process *exec.Cmd
	in      io.WriteCloser
	keeper  *exec.Cmd // keeps the namespace when the process is killed

	mu      sync.Mutex
	answers chan answer
	events  []Event
}

// order is what a host is told, and answer what it says.
type order struct {
	Do       string
	Address  netip.Addr
	Left     time.Duration
	VIPs     []VIP
	Handover []byte
	Text     string
	Flows    int
}

type answer struct {
	Error    string
	Text     string
	Handover []byte
	Took     time.Duration
	CPU      time.Duration
	Flows    int
	Event    *Event
}

// host starts one, with the addresses .n of the networks.
func (l *lab) host(n int) *host {
	l.t.Helper()
	l.hosts++
	h := &host{l: l, n: n, name: fmt.Sprintf("h%d", n)}
	h.keeper = exec.Command("/proc/self/exe")
	h.keeper.Env = append(os.Environ(), hostVariable+"=keep")
	h.keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	hold, err := h.keeper.StdinPipe()
	l.must(err)
	ready, err := h.keeper.StdoutPipe()
	l.must(err)
	l.must(h.keeper.Start())
	_, err = ready.Read(make([]byte, 1))
	l.must(err)
	l.t.Cleanup(func() { _ = hold.Close(); _ = h.keeper.Wait() })

	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "port" + h.name, MasterIndex: l.bridge.Index}, PeerName: "peer" + h.name}
	l.must(netlink.LinkAdd(pair))
	l.t.Cleanup(func() { _ = netlink.LinkDel(pair) })
	peer, err := netlink.LinkByName("peer" + h.name)
	l.must(err)
	h.mac = peer.Attrs().HardwareAddr
	l.must(netlink.LinkSetNsPid(peer, h.keeper.Process.Pid))
	l.must(netlink.LinkSetUp(pair))
	h.port = pair
	h.start()
	h.do(order{Do: "network", Text: fmt.Sprintf("%s 10.9.0.%d/24 fd09::%d/64", "peer"+h.name, n, n)})
	// The kernel notices a carrier in its own time, and no VIP can be taken without.
	eventually(l.t, "a carrier at "+h.name, func() bool { return strings.Contains(h.sh("ip link show eth0"), "state UP") })
	return h
}

// start runs the host's process.
func (h *host) start() {
	t := h.l.t
	t.Helper()
	h.process = exec.Command("/usr/bin/nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", h.keeper.Process.Pid), "/proc/self/exe")
	self, err := os.Executable()
	h.l.must(err)
	h.process.Args[len(h.process.Args)-1] = self
	h.process.Env = append(os.Environ(), hostVariable+"=1")
	h.process.Stderr = os.Stderr
	h.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := h.process.StdinPipe()
	h.l.must(err)
	out, err := h.process.StdoutPipe()
	h.l.must(err)
	h.l.must(h.process.Start())
	h.in = in
	answers := make(chan answer, 16)
	h.answers = answers
	process := h.process
	go func() {
		defer close(answers)
		decoder := json.NewDecoder(out)
		for {
			var a answer
			if decoder.Decode(&a) != nil {
				return
			}
			if a.Event != nil {
				h.mu.Lock()
				h.events = append(h.events, *a.Event)
				h.mu.Unlock()
				continue
			}
			answers <- a
		}
	}()
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
}

// own is the host's own address in the VIP's family.
func (h *host) own(vip netip.Addr) netip.Addr {
	if vip.Is6() {
		return netip.MustParseAddr(fmt.Sprintf("fd09::%d", h.n))
	}
	return netip.AddrFrom4([4]byte{10, 9, 0, byte(h.n)})
}

func (h *host) kill() {
	_ = h.process.Process.Kill()
	_ = h.process.Wait()
}

// try tells the host to do something.
func (h *host) try(o order) answer {
	h.l.t.Helper()
	line, err := json.Marshal(o)
	h.l.must(err)
	_, err = h.in.Write(append(line, '\n'))
	h.l.must(err)
	select {
	case a, ok := <-h.answers:
		if !ok {
			h.l.t.Fatalf("%s: %s: the host is gone", h.name, o.Do)
		}
		return a
	case <-time.After(2 * time.Minute):
		h.l.t.Fatalf("%s: %s: no answer", h.name, o.Do)
		return answer{}
	}
}

func (h *host) do(o order) answer {
	h.l.t.Helper()
	a := h.try(o)
	if a.Error != "" {
		h.l.t.Fatalf("%s: %s: %s", h.name, o.Do, a.Error)
	}
	return a
}

// sh runs a command in the host.
func (h *host) sh(command string) string {
	h.l.t.Helper()
	return h.do(order{Do: "sh", Text: command}).Text
}

func (h *host) open(vips ...string) {
	h.l.t.Helper()
	h.do(order{Do: "open"})
	h.configure(vips...)
}

func (h *host) configure(vips ...string) {
	h.l.t.Helper()
	var list []VIP
	for _, each := range vips {
		list = append(list, VIP{Prefix: netip.MustParsePrefix(each)})
	}
	h.do(order{Do: "configure", VIPs: list})
}

func (h *host) take(address netip.Addr, left time.Duration) {
	h.l.t.Helper()
	h.do(order{Do: "take", Address: address, Left: left})
}

// linkDown pulls the host's cable.
func linkDown(t testing.TB, h *host) {
	t.Helper()
	h.l.must(netlink.LinkSetDown(h.port))
}

// pause stops the host's process, and returns when it is stopped; resume lets it go on.
func pause(t testing.TB, h *host) time.Time {
	t.Helper()
	h.l.must(h.process.Process.Signal(syscall.SIGSTOP))
	eventually(t, "a stopped process", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", h.process.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	return time.Now()
}

func resume(t testing.TB, h *host) {
	t.Helper()
	h.l.must(h.process.Process.Signal(syscall.SIGCONT))
}

// event waits until the host has told of such an event.
func (h *host) event(kind Kind, address netip.Addr) Event {
	h.l.t.Helper()
	var found Event
	eventually(h.l.t, fmt.Sprintf("event %s of %s at %s", kind, address, h.name), func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, e := range h.events {
			if e.Kind == kind && e.Address == address {
				found = e
				return true
			}
		}
		return false
	})
	return found
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("never: %s", what)
}
