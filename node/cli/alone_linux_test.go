package cli_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tripod/testcluster"
)

// A node alone, without any flag but --data, is a working cluster of one at 127.0.0.1. Its ports are fixed, so the
// test needs a network of its own.
func TestRunAlone(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("needs root: a network namespace, where 127.0.0.1 has all ports free")
	}
	c := testcluster.Start(t, 1, testcluster.Stopped())
	// enter runs tripod behind the script, in a new network.
	enter := func(script string, args ...string) *exec.Cmd {
		p := c.Program(args...)
		p.Args = append([]string{"unshare", "-n", "sh", "-c", "ip link set lo up; " + script + ` exec "$0" "$@"`, p.Path}, args...)
		var err error
		if p.Path, err = exec.LookPath("unshare"); err != nil {
			t.Skip("needs unshare (util-linux)")
		}
		return p
	}
	backend := testcluster.StartBackend(t, "one", nil) // out of the node's reach, in our network
	p := c.SpawnProgram(enter("", "run"))
	c.Wait("the node", func() error {
		if s, code := status(t, c); code != 0 || len(s.Nodes) != 1 || s.Nodes[0].Name != "127.0.0.1" || !s.Nodes[0].Leader {
			return fmt.Errorf("exit code %d, %+v", code, s)
		}
		return nil
	})
	inside := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, address string) (net.Conn, error) {
		return dialInside(p.PID(), network, address)
	}}, Timeout: testcluster.Patience}
	get := func(url string, status int) string {
		t.Helper()
		response, err := inside.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != status {
			t.Errorf("GET %s: %s, want %d: %v %s", url, response.Status, status, err, body)
		}
		return string(body)
	}
	get("http://127.0.0.1:2382/readyz", 200)
	get("http://127.0.0.1:2382/healthz", 200)
	get("http://127.0.0.1:2382/", 200)
	ran(c.CommandInput(site(c, backend)+"  dead: { servers: [ 127.0.0.1:9 ] }\n", "config", "apply", "-")).want(t, 0, ", served by 127.0.0.1\n")
	if page := get("http://127.0.0.1:8080/", 404); !strings.Contains(page, "404") {
		t.Errorf("page: %s", page)
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("ended with code %d:\n%s", code, p.Err())
	}

	// A list of a network: no secret, and no own address without an interface that has it.
	network := "ip address add 10.1.2.3/24 dev lo;"
	refused := func(p *exec.Cmd, texts ...string) {
		t.Helper()
		process := c.SpawnProgram(p)
		code := process.Wait()
		ended{process.Out(), process.Err(), code}.refused(t, texts...)
	}
	list := "10.1.2.3,10.1.2.4,10.1.2.5"
	refused(enter(network, "run", "--nodes", list), "a cluster on a network needs a secret", "tripod secret new", "--secret-file")
	refused(enter("", "run", "--nodes", list), "no address in --nodes "+list+" is mine", "127.0.0.1")
	refused(enter(network, "run", "--nodes", "10.1.2.4,10.1.2.5,10.1.2.6"), "is mine", "10.1.2.3")
}

// dialInside connects from within the network of a process.
func dialInside(pid int, network, address string) (net.Conn, error) {
	theirs, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ours, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return nil, err
	}
	defer ours.Close()
	if err := unix.Setns(int(theirs.Fd()), unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	conn, err := net.Dial(network, address)
	if back := unix.Setns(int(ours.Fd()), unix.CLONE_NEWNET); back != nil {
		panic(back) // the thread would go on in a network that is not ours
	}
	return conn, err
}
