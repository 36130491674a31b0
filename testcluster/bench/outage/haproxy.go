//go:build linux

package outage

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	// startTime is how long a proxy may take until it serves.
	startTime = 20 * time.Second
	socketOf  = "stats.sock"
)

// haproxyConfig is HAProxy's, with more lines of the backend. What it does by default is left alone, so http-reuse is safe.
func haproxyConfig(at string, servers []string, more string) string {
	var list strings.Builder
	for i, s := range servers {
		fmt.Fprintf(&list, "  server s%d %s check\n", i, s)
	}
	return fmt.Sprintf(`global
  nbthread 2
  stats socket unix@%s mode 600 level user
defaults
  mode http
  timeout connect 1s
  timeout server 1s
  timeout client 60s
  timeout http-keep-alive 60s
frontend all
  bind %s
  default_backend %s
backend %s
  balance roundrobin
  option redispatch
  retries 3
%s  option httpchk GET %s
  timeout check 500ms
  default-server inter 500ms fall 2 rise 2 observe layer7 error-limit 5 on-error mark-down
%s`, socketOf, at, service, service, more, checkPath, &list)
}

// haproxy is one process, in a folder of its own.
type haproxy struct {
	at, folder string
	servers    []string
	cmd        *exec.Cmd
	exited     chan struct{}
}

var _ proxy = (*haproxy)(nil)

func startHAProxy(ctx context.Context, stage Stage, k *kind, servers []string, folder string) (proxy, error) {
	h := &haproxy{at: net.JoinHostPort(stage.Address(k.last), "8080"), folder: folder, servers: servers, exited: make(chan struct{})}
	file := filepath.Join(folder, "haproxy.cfg")
	if err := os.WriteFile(file, []byte(k.config(h.at, servers)), 0o600); err != nil {
		return nil, err
	}
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy" // root has it in its path, and others may run it too
	}
	said, err := os.Create(filepath.Join(folder, "stderr"))
	if err != nil {
		return nil, err
	}
	defer said.Close()
	h.cmd = exec.Command(program, "-db", "-f", file)
	// Its socket is named from its folder: the name of a socket must not be long.
	h.cmd.Dir, h.cmd.Stdout, h.cmd.Stderr = folder, said, said
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start HAProxy: %w", err)
	}
	go h.wait()
	if err := h.ready(ctx); err != nil {
		h.stop()
		text, _ := os.ReadFile(said.Name())
		return nil, fmt.Errorf("HAProxy does not serve: %w; it said:\n%s", err, text)
	}
	return h, nil
}

func (h *haproxy) wait() {
	_ = h.cmd.Wait() // the state is in ProcessState
	close(h.exited)
}

// ready waits until a request is answered.
func (h *haproxy) ready(ctx context.Context) error {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		answer, err := client.Get("http://" + h.at + "/")
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(answer.Status)
		}
		select {
		case <-h.exited:
			return fmt.Errorf("it has ended: %s", h.cmd.ProcessState)
		case <-ctx.Done():
			return err
		case <-time.After(pollEvery):
		}
	}
}

func (h *haproxy) address() string { return h.at }

// up reads what "show stat" says (management.txt, 9.1): pxname, svname and status are columns 1, 2 and 18. A server whose state is
// about to change is "UP 1/2" or "DOWN 1/2".
func (h *haproxy) up(ctx context.Context, server string) (bool, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.folder, socketOf))
	if err != nil {
		return false, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(startTime)); err != nil {
		return false, err
	}
	if _, err := fmt.Fprintln(c, "show stat"); err != nil {
		return false, err
	}
	rows := csv.NewReader(c)
	rows.FieldsPerRecord = -1
	all, err := rows.ReadAll()
	if err != nil {
		return false, fmt.Errorf("state of HAProxy: %w", err)
	}
	for _, row := range all {
		if len(row) < 18 || row[0] != service {
			continue
		}
		for i, s := range h.servers {
			if s == server && row[1] == fmt.Sprintf("s%d", i) {
				return strings.HasPrefix(row[17], "UP"), nil
			}
		}
	}
	return false, fmt.Errorf("HAProxy knows no server %s", server)
}

func (h *haproxy) stop() {
	_ = h.cmd.Process.Kill() // it may have ended
	<-h.exited
}
