package cli_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tripod/node"
	"tripod/proxy/upstream"
	"tripod/testcluster"
)

// registered is the number of a service's registrations in the store.
func registered(t *testing.T, c *testcluster.Cluster, service string) int64 {
	t.Helper()
	reply, err := c.Etcd().Get(t.Context(), node.RegistrationsPrefix+service+"/", clientPrefix())
	if err != nil {
		t.Fatal(err)
	}
	return reply.Count
}

// seen waits until every node has a server in this state; an empty one is of a server that it does not have.
func seen(t *testing.T, c *testcluster.Cluster, service, address string, state upstream.State) {
	t.Helper()
	for _, n := range c.Nodes() {
		c.Wait(fmt.Sprintf("%s on %s in state %q", address, n.Name(), state), func() error {
			here, err := n.Client().ServerHere(t.Context(), service, address)
			if err == nil && here.State != state {
				err = fmt.Errorf("state %q", here.State)
			}
			return err
		})
	}
}

// pidFile makes a command write its number into a file, and returns the file.
func pidFile(t *testing.T, command []string) (file string, wrapped []string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "pid")
	return file, append([]string{"sh", "-c", `echo $$ > "$0"; exec "$@"`, file}, command...)
}

// pidIn waits until a command has written its number.
func pidIn(t *testing.T, c *testcluster.Cluster, file string) int {
	t.Helper()
	var pid int
	c.Wait("the number of the server's process", func() error {
		text, err := os.ReadFile(file)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
		}
		return err
	})
	return pid
}

// gone waits until a process has ended: it is reaped, or nobody is there to do that.
func gone(c *testcluster.Cluster, pid int) {
	c.Wait(fmt.Sprintf("the end of process %d", pid), func() error {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(text), ") Z ") {
			return nil
		}
		return fmt.Errorf("it runs: %s", text)
	})
}

// register starts a sample server that registers itself at an address.
func register(t *testing.T, c *testcluster.Cluster, name, address string, flags ...string) (p *testcluster.Process, pid func() int) {
	t.Helper()
	file, command := pidFile(t, sampleServer(t, name, address))
	args := append([]string{"register", "--service", "web", "--address", address, "--ttl", "2s"}, flags...)
	p = c.Spawn(append(append(args, "--"), command...)...)
	return p, func() int { return pidIn(t, c, file) }
}

// A server that runs under register appears when its check passes, is restarted under load without a failed request, and is gone when it dies.
func TestRegister(t *testing.T) {
	t.Parallel()
	one := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply(site(c, one))
	address := c.VIP(10) + ":9000"
	p, _ := register(t, c, "first", address, "--zone", "b", "--weight", "2")
	seen(t, c, "web", address, upstream.StateUp)
	c.Wait("the registration being said", func() error {
		if want := "tripod: registered " + address + " with service web as " + address + "\n"; p.Err() != want {
			return fmt.Errorf("%q", p.Err())
		}
		return nil
	})
	if e := ran(c.Command("server", "list")); !strings.Contains(e.out, address+" registered") || !strings.Contains(e.out, " b ") {
		t.Errorf("server list: %s", e.out)
	}
	l := startLoad(t, c, 3, false)
	l.servedBy(c, "hello from first")
	for i := range 3 { // a deployment: the sample server drops all that it has when it is told to stop
		began := time.Now()
		p.Signal(syscall.SIGTERM)
		if code := p.Wait(); code != 0 {
			t.Errorf("exit code %d: %s", code, p.Err())
		}
		if n := registered(t, c, "web"); n != 0 {
			t.Errorf("%d registrations after a clean end", n)
		}
		t.Logf("ended within %s: %q", time.Since(began).Round(time.Millisecond), p.Err())
		name := fmt.Sprintf("next%d", i)
		p, _ = register(t, c, name, address)
		l.servedBy(c, "hello from "+name)
	}
	l.end()
}

// However a server ends, its registration does: at once where anybody can say so, else with its lease.
func TestRegistrationEnds(t *testing.T) {
	t.Parallel()
	one := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply(site(c, one))
	kill := func(pid int, s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(pid, s); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("the server dies", func(t *testing.T) {
		address := c.VIP(11) + ":9000"
		p, pid := register(t, c, "one", address, "--ttl", "1h")
		seen(t, c, "web", address, upstream.StateUp)
		kill(pid(), syscall.SIGKILL)
		if code := p.Wait(); code != 128+9 {
			t.Errorf("exit code %d: %s", code, p.Err())
		}
		seen(t, c, "web", address, "")
	})
	t.Run("both are killed", func(t *testing.T) {
		address := c.VIP(12) + ":9000"
		p, pid := register(t, c, "two", address)
		seen(t, c, "web", address, upstream.StateUp)
		began := time.Now()
		kill(pid(), syscall.SIGKILL) // the lease has two seconds
		kill(p.PID(), syscall.SIGKILL)
		p.Wait()
		seen(t, c, "web", address, "")
		t.Logf("gone on all nodes %s after both were killed, with a lease of 2s", time.Since(began).Round(time.Millisecond))
	})
	t.Run("register is killed", func(t *testing.T) {
		address := c.VIP(13) + ":9000"
		p, pid := register(t, c, "three", address)
		seen(t, c, "web", address, upstream.StateUp)
		server := pid()
		kill(p.PID(), syscall.SIGKILL)
		gone(c, server) // told by the kernel
		seen(t, c, "web", address, "")
	})
	t.Run("exit codes and signals", func(t *testing.T) {
		base := []string{"register", "--service", "web", "--address", c.VIP(14) + ":9000", "--ttl", "2s", "--"}
		with := func(command ...string) ended { return ran(c.Command(append(base, command...)...)) }
		with("sh", "-c", "exit 7").want(t, 7)
		with("/nosuch/server").want(t, 127, "start the server: ")
		with("/").want(t, 126, "start the server: ")
		file, command := pidFile(t, []string{"sh", "-c", `trap 'echo hup' HUP; trap 'exit 3' TERM; while :; do sleep 0.01; done`})
		p := c.Spawn(append(base, command...)...)
		pidIn(t, c, file)
		c.Wait("the registration", func() error {
			if !strings.Contains(p.Err(), "registered ") {
				return fmt.Errorf("%q", p.Err())
			}
			return nil
		})
		c.Wait("SIGHUP passed on", func() error {
			p.Signal(syscall.SIGHUP) // the shell may not have set its trap yet
			if !strings.Contains(p.Out(), "hup") {
				return fmt.Errorf("%q %q", p.Out(), p.Err())
			}
			return nil
		})
		p.Signal(syscall.SIGTERM)
		if code := p.Wait(); code != 3 {
			t.Errorf("exit code %d: %s", code, p.Err())
		}
	})
	if n := registered(t, c, "web"); n != 0 {
		t.Errorf("%d registrations are left", n)
	}
}

// A server that is to stop is drained first, by registration too: a request that runs ends well, however long it takes, up to --drain.
func TestRegisterDrainsFirst(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	slow := testcluster.StartBackend(t, "slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-hold
		fmt.Fprintln(w, "slow")
	}))
	c := testcluster.Start(t, 3, testcluster.InProcess())
	c.Apply("listeners:\n  http: { address: \":8080\" }\nroutes: [ { service: web } ]\nservices:\n  web: { register: true }\n")
	p := c.Spawn("register", "--service", "web", "--address", slow.Address())
	seen(t, c, "web", slow.Address(), upstream.StateUp)
	answer := make(chan error, 1)
	client := c.HTTPClient(c.Node(1).Addr(), false)
	go func() {
		_, err := exchange(client, true)
		answer <- err
	}()
	c.Wait("the request", func() error {
		if r, err := c.Node(0).Client().Running(t.Context(), "web", slow.Address()); err != nil || r.Running != 1 {
			return fmt.Errorf("%+v, %v", r, err)
		}
		return nil
	})
	p.Signal(syscall.SIGTERM)
	seen(t, c, "web", slow.Address(), upstream.StateDrain)
	c.Wait("what runs being said", func() error {
		if !strings.Contains(p.Err(), "draining: 1 request runs") {
			return fmt.Errorf("%q", p.Err())
		}
		return nil
	})
	if !p.Running() || registered(t, c, "web") != 1 {
		t.Errorf("it has ended while a request runs: %s", p.Err())
	}
	close(hold)
	if err := <-answer; err != nil {
		t.Errorf("the request that ran: %v", err)
	}
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.Err())
	}
	seen(t, c, "web", slow.Address(), "")
}

// While nodes are away a server runs on, and is registered again when they are back.
func TestRegisterOutlivesNodes(t *testing.T) {
	t.Parallel()
	one := testcluster.StartBackend(t, "one", nil)
	c := testcluster.Start(t, 3)
	c.Apply(site(c, one))
	address := c.VIP(10) + ":9000"
	p, pid := register(t, c, "first", address, "--node", c.Node(0).Addr(), "--ttl", "1s")
	seen(t, c, "web", address, upstream.StateUp)
	server := pid()

	c.Node(0).Kill() // another takes the renewals
	rest := c.Nodes()[1:]
	time.Sleep(3 * time.Second) // more than the lease has: without renewals it would be over
	for _, n := range rest {
		c.Wait("the server on "+n.Name(), func() error {
			here, err := n.Client().ServerHere(t.Context(), "web", address)
			if err == nil && here.State != upstream.StateUp {
				err = fmt.Errorf("with the named node away: %+v", here)
			}
			return err
		})
	}
	for _, n := range rest {
		n.Kill()
	}
	c.Wait("the trouble being said", func() error {
		if !strings.Contains(p.Err(), "tripod: not registered: ") || !strings.Contains(p.Err(), "trying again until it works") {
			return fmt.Errorf("%q", p.Err())
		}
		return nil
	})
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.WaitReady()
	seen(t, c, "web", address, upstream.StateUp)
	if !p.Running() || pid() != server {
		t.Errorf("the server has been restarted: %s", p.Err())
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit code %d: %s", code, p.Err())
	}
}

// What cannot be meant is refused with one line before the server is started.
func TestRegisterRefused(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	file := filepath.Join(t.TempDir(), "started")
	for _, bad := range []struct {
		flags []string
		says  string
	}{
		{[]string{"--service", "web", "--address", "web:8080"}, `address "web:8080" is not IP:port`},
		{[]string{"--service", "web", "--address", ":8080"}, `address ":8080" is not IP:port`},
		{[]string{"--service", "web", "--address", "0.0.0.0:8080"}, `address "0.0.0.0:8080" is every address`},
		{[]string{"--service", "web", "--address", "10.0.0.1:0"}, "port 0"},
		{[]string{"--service", "web", "--address", "10.0.0.1:80", "--weight", "300"}, "weight 300 is not between 0 and 256"},
		{[]string{"--service", "web", "--address", "10.0.0.1:80", "--ttl", "10ms"}, "--ttl is a time from 1s to 1h0m0s, not 10ms"},
		{[]string{"--service", "web", "--address", "10.0.0.1:80", "--drain=-1s"}, "--drain is a time from 0s on"},
		{[]string{"--service", "web", "--address", "10.0.0.1:80", "--id", "a/b"}, `ID "a/b" is not of letters, digits`},
		{[]string{"--service", "", "--address", "10.0.0.1:80"}, "the name of the service is empty"},
		{[]string{"--address", "10.0.0.1:80"}, "missing flags: --service"},
	} {
		e := ran(c.Command(append(append([]string{"register"}, bad.flags...), "--", "touch", file)...))
		e.want(t, 2, bad.says)
		if line, ok := complaint(e.err); !ok {
			t.Errorf("%q: not one line of complaint:\n%s", bad.flags, line)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the server was started")
	}
}
