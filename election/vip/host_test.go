//go:build linux

package vip

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"tripod/election"
)

// serveHost is the process of a host.
func serveHost() int {
	if os.Getenv(hostVariable) == "keep" {
		fmt.Print("!")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	}
	if words := os.Getenv(hostVariable); strings.HasPrefix(words, "crowd") {
		if err := serveCrowd(words); err != nil {
			fmt.Fprintln(os.Stderr, words, err)
			return 1
		}
		return 0
	}
	var mu sync.Mutex
	encoder := json.NewEncoder(os.Stdout)
	say := func(a answer) {
		mu.Lock()
		defer mu.Unlock()
		_ = encoder.Encode(a)
	}
	level := slog.LevelError + 4
	if os.Getenv("VIP_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	m := &member{clock: election.Clock(), renewing: map[netip.Addr]context.CancelFunc{}}
	m.kernel = New(Options{
		Clock: m.clock, AnnounceEvery: 300 * time.Millisecond,
		Log:   slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
		Event: func(e Event) { say(answer{Event: &e}) },
	})
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return 0
		}
		var o order
		if err := json.Unmarshal(line, &o); err != nil {
			say(answer{Error: err.Error()})
			continue
		}
		began, used := time.Now(), processor()
		a, err := m.obey(o)
		a.Took, a.CPU = time.Since(began), processor()-used
		if err != nil {
			a.Error = err.Error()
		}
		say(a)
	}
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// member does in a host what it is told.
type member struct {
	kernel   *Kernel
	clock    func() time.Duration
	renewing map[netip.Addr]context.CancelFunc
	crowds   []io.Closer // end when these are closed

	mu       sync.Mutex
	accepted []string // connections, as pairOf names them
}

func (m *member) obey(o order) (a answer, err error) {
	switch o.Do {
	case "network":
		return a, m.network(strings.Fields(o.Text))
	case "open":
		return a, m.kernel.Open(context.Background())
	case "unguard": // as on a kernel without nf_tables
		m.kernel.mu.Lock()
		defer m.kernel.mu.Unlock()
		err := m.kernel.guard.remove()
		m.kernel.guard = nil
		return a, err
	case "configure":
		return a, m.kernel.Configure(o.VIPs)
	case "ready":
		return a, m.kernel.Ready(o.Address)
	case "take":
		return a, m.kernel.Take(o.Address, m.clock()+o.Left)
	case "renew":
		return a, m.kernel.Renew(o.Address, m.clock()+o.Left)
	case "keep":
		ctx, stop := context.WithCancel(context.Background())
		m.renewing[o.Address] = stop
		go m.keep(ctx, o)
	case "leave":
		m.renewing[o.Address]()
	case "drop":
		return a, m.kernel.Drop(o.Address)
	case "close":
		return a, m.kernel.Close(context.Background())
	case "linger", "prepare":
		call := m.kernel.Prepare
		if o.Do == "linger" {
			m.renewing[o.Address]()
			call = m.kernel.Linger
		}
		began := time.Now()
		h, err := call(o.Address, o.Left)
		a.Text = time.Since(began).String()
		if err != nil {
			return a, err
		}
		a.Flows = h.Len()
		a.Handover, err = h.MarshalBinary()
		return a, err
	case "forward":
		var h Handover
		if err := h.UnmarshalBinary(o.Handover); err != nil {
			return a, err
		}
		began := time.Now()
		err := m.kernel.Forward(h)
		a.Text = time.Since(began).String()
		return a, err
	case "replay":
		mac, err := net.ParseMAC(o.Text)
		if err != nil {
			return a, err
		}
		return a, m.kernel.Replay(o.Address, mac)
	case "mac":
		mac, err := m.kernel.MAC(o.Address)
		a.Text = mac.String()
		return a, err
	case "accepted":
		m.mu.Lock()
		defer m.mu.Unlock()
		a.Text = strings.Join(m.accepted, " ")
	case "flows":
		flows, err := m.kernel.Flows(o.Address)
		a.Flows = len(flows)
		return a, err
	case "lingering":
		for _, each := range m.kernel.Lingering() {
			a.Flows += each.Flows + 1
		}
	case "clashes":
		a.Text = fmt.Sprint(m.kernel.Clashes())
	case "guarded":
		a.Text = fmt.Sprint(m.kernel.Guarded(), m.kernel.Silence())
	case "serve":
		return a, m.serveTCP(o.Text)
	case "table":
		conn, err := nftables.New()
		if err != nil {
			return a, err
		}
		conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: o.Text})
		return a, conn.Flush()
	case "tables":
		conn, err := nftables.New()
		if err != nil {
			return a, err
		}
		tables, err := conn.ListTables()
		var names []string
		for _, each := range tables {
			names = append(names, each.Name)
		}
		a.Text = fmt.Sprint(names)
		return a, err
	case "flush":
		conn, err := nftables.New()
		if err != nil {
			return a, err
		}
		for _, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyARP, nftables.TableFamilyNetdev} {
			conn.DelTable(&nftables.Table{Family: family, Name: tableName})
		}
		return a, conn.Flush()
	case "disperse":
		for _, each := range m.crowds {
			_ = each.Close()
		}
	case "crowd":
		return a, m.crowd(o.Address, o.Flows)
	case "sh":
		out, err := exec.Command("/bin/sh", "-c", o.Text).CombinedOutput()
		a.Text = string(out)
		return a, err
	default:
		err = fmt.Errorf("unknown order %q", o.Do)
	}
	return a, err
}

// network names the interface eth0 and gives it the addresses.
func (m *member) network(words []string) error {
	link, err := netlink.LinkByName(words[0])
	if err != nil {
		return err
	}
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.LinkSetName(link, "eth0"), netlink.LinkSetUp(loopback)); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/accept_dad", []byte("0"), 0); err != nil {
		return err
	}
	for _, each := range words[1:] {
		address, err := netlink.ParseAddr(each)
		if err != nil {
			return err
		}
		if err := netlink.AddrAdd(link, address); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// keep renews every 100 ms.
func (m *member) keep(ctx context.Context, o order) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := m.kernel.Renew(o.Address, m.clock()+o.Left); errors.Is(err, ErrLate) {
			_ = m.kernel.Take(o.Address, m.clock()+o.Left)
		}
	}
}

// serveTCP answers: a line "tick" with the host's name every 25 ms until the client is gone, or "bulk" with
// bytes without end, or anything else with the name.
func (m *member) serveTCP(name string) error {
	listener, err := net.Listen("tcp", ":7000")
	if err != nil {
		return err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.accepted = append(m.accepted, pairOf(conn.RemoteAddr(), conn.LocalAddr()))
			m.mu.Unlock()
			go serveConn(conn, name)
		}
	}()
	return nil
}

// pairOf names a connection.
func pairOf(client, server net.Addr) string { return client.String() + ">" + server.String() }

func serveConn(conn net.Conn, name string) {
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return
	}
	switch strings.TrimSpace(line) {
	case "tick":
		for range time.Tick(25 * time.Millisecond) {
			if _, err := fmt.Fprintln(conn, name); err != nil {
				return
			}
		}
	case "bulk":
		for block := make([]byte, 64<<10); ; {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	case "idle":
		fmt.Fprintln(conn, name)
		_, _ = io.Copy(io.Discard, conn)
	default:
		fmt.Fprintln(conn, name)
	}
}

// crowd opens so many connections from this host to the address, over the loopback, in processes of 8,000 each.
func (m *member) crowd(address netip.Addr, count int) error {
	for part := 0; count > 0; part++ {
		size := min(count, 8000)
		count -= size
		child := exec.Command("/proc/self/exe")
		child.Env = append(os.Environ(), fmt.Sprintf("%s=crowd %s %d %d", hostVariable, address, part, size))
		child.Stderr = os.Stderr
		child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		hold, err := child.StdinPipe()
		if err != nil {
			return err
		}
		m.crowds = append(m.crowds, hold)
		ready, err := child.StdoutPipe()
		if err != nil {
			return err
		}
		if err := child.Start(); err != nil {
			return err
		}
		if _, err := ready.Read(make([]byte, 1)); err != nil {
			return err
		}
	}
	return nil
}

func serveCrowd(words string) error {
	var text string
	var part, size int
	if _, err := fmt.Sscanf(words, "crowd %s %d %d", &text, &part, &size); err != nil {
		return err
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", 7001+part))
	if err != nil {
		return err
	}
	from := netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + part)})
	if address.Is6() {
		from = netip.MustParseAddr(fmt.Sprintf("fd10::%d", 1+part))
	}
	keep := make([]net.Conn, 0, 2*size) // an unreachable connection is closed
	for i := range size {
		dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, uint16(20000+i)))}
		client, err := dialer.Dial("tcp", netip.AddrPortFrom(address, uint16(7001+part)).String())
		if err != nil {
			return err
		}
		server, err := listener.Accept()
		if err != nil {
			return err
		}
		keep = append(keep, client, server)
	}
	fmt.Print("!")
	_, err = io.Copy(io.Discard, os.Stdin)
	runtime.KeepAlive(keep)
	return err
}
