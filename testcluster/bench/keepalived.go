//go:build linux

package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"tripod/testcluster/lab"
)

// keepalived is VRRP as its users run it, in front of a web server that does not depend on it.
type keepalived struct {
	lab     *lab.Lab
	program string
	advert  string // seconds between advertisements
	folder  string
	t       lab.T
	running map[*lab.Node]*exec.Cmd
}

func (s *keepalived) name() string        { return "keepalived, advert_int " + s.advert }
func (*keepalived) promises() bool        { return false }
func (*keepalived) before(*lab.Node)      {}
func (*keepalived) after(*round)          {}
func (s *keepalived) restart(n *lab.Node) { s.run(n) }
func (*keepalived) mended()               {}
func (s *keepalived) resume(n *lab.Node)  { s.signal(n, syscall.SIGCONT) }

// start runs it on all nodes, and returns when one holds the VIP.
func (s *keepalived) start(t lab.T) {
	s.t, s.running = t, map[*lab.Node]*exec.Cmd{}
	var err error
	if s.folder, err = os.MkdirTemp("", "keepalived"); err != nil {
		t.Fatalf("keepalived: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(s.folder) })
	for _, n := range s.lab.Nodes() {
		s.serve(n)
		s.run(n)
	}
}

// serve answers requests on a node with its name.
func (s *keepalived) serve(n *lab.Node) {
	listener, err := n.Listen("tcp", ":80")
	if err != nil {
		s.t.Fatalf("keepalived: %v", err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, n.Name) }), ReadHeaderTimeout: time.Second}
	go func(l net.Listener) { _ = server.Serve(l) }(listener)
	s.t.Cleanup(func() { server.Close() })
}

// run starts it on a node. nopreempt: the holder stays, as with tripod.
func (s *keepalived) run(n *lab.Node) {
	file := filepath.Join(s.folder, n.Name)
	text := fmt.Sprintf(`global_defs {
  vrrp_version 3
}
vrrp_instance lab {
  state BACKUP
  nopreempt
  interface eth0
  virtual_router_id 51
  priority %d
  advert_int %s
  virtual_ipaddress {
    %s/24
  }
}
`, 100+int(n.IP4.As4()[3]), s.advert, s.lab.VIP(0))
	if err := os.WriteFile(file+".conf", []byte(text), 0o600); err != nil {
		s.t.Fatalf("keepalived: %v", err)
	}
	cmd := exec.Command(s.program, "--dont-fork", "--vrrp", "--use-file", file+".conf", "--pid", file+".pid", "--vrrp_pid", file+".vrrp.pid")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it works in several processes
	if err := n.Spawn(cmd); err != nil {
		s.t.Fatalf("keepalived: %v", err)
	}
	s.running[n] = cmd
	s.t.Cleanup(func() { s.end(cmd) })
}

func (s *keepalived) signal(n *lab.Node, signal syscall.Signal) {
	if err := syscall.Kill(-s.running[n].Process.Pid, signal); err != nil {
		s.t.Fatalf("keepalived on %s: %v: %v", n.Name, signal, err)
	}
}

func (s *keepalived) end(cmd *exec.Cmd) {
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	_ = cmd.Wait()
}

func (s *keepalived) kill(n *lab.Node) lab.Moment {
	at := s.lab.Now()
	s.end(s.running[n])
	return at
}

func (s *keepalived) pause(n *lab.Node) lab.Moment {
	at := s.lab.Now()
	s.signal(n, syscall.SIGSTOP)
	return at
}

func (s *keepalived) powerOff(n *lab.Node) lab.Moment {
	at := n.PowerOff()
	_ = s.running[n].Wait()
	return at
}

func (s *keepalived) powerOn(n *lab.Node) {
	n.PowerOn()
	s.serve(n)
	s.run(n)
}
