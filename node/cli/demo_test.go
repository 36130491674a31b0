package cli_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"tripod/testcluster"
)

// demoFolder is where a demo keeps its files, for this test alone: what is left in it was left behind.
func demoFolder(t *testing.T, c *testcluster.Cluster) string {
	t.Helper()
	folder, err := os.MkdirTemp(c.Dir(), "demo") // short: the path of a unix socket is
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// nothingLeft fails the test if the demo left a file in its folder, or a process that was started with it.
func nothingLeft(t *testing.T, folder string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) > 0 {
		t.Errorf("left behind in %s: %v %v", folder, entries, err)
	}
	if pids := runningWith(t, "TMPDIR="+folder); len(pids) > 0 {
		t.Errorf("left behind: processes %v", pids)
	}
}

// runningWith lists the processes with a variable in their environment. The ended have none.
func runningWith(t *testing.T, variable string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var pids []string
	for _, file := range files {
		environment, err := os.ReadFile(file)
		if err == nil && strings.Contains("\x00"+string(environment), "\x00"+variable+"\x00") {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// The demos run one after the other: each takes the first addresses that are free.
func TestDemo(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	start := func(folder string, args ...string) *testcluster.Process {
		p := c.Program(append([]string{"demo"}, args...)...)
		p.Env = append(p.Env, "TMPDIR="+folder)
		return c.SpawnProgram(p)
	}
	says := func(p *testcluster.Process, text string) {
		t.Helper()
		c.Wait("the demo saying "+text, func() error {
			if !strings.Contains(p.Out(), text) {
				return errors.New(p.Out() + p.Err())
			}
			return nil
		})
	}
	t.Run("by itself", func(t *testing.T) {
		folder := demoFolder(t, c)
		p := start(folder, "--for", "8s")
		says(p, "the cluster serves after ")
		if n := len(runningWith(t, "TMPDIR="+folder)); n != 7 {
			t.Errorf("%d processes, not the demo, three nodes and three servers", n)
		}
		if code := p.Wait(); code != 0 || p.Err() != "" {
			t.Errorf("ended with code %d: %s", code, p.Err())
		}
		checkStory(t, p.Out())
		nothingLeft(t, folder)
	})
	t.Run("interrupted", func(t *testing.T) {
		for _, by := range []struct {
			signal syscall.Signal
			when   string
		}{{syscall.SIGINT, "web1 started"}, {syscall.SIGINT, "the cluster serves after "}, {syscall.SIGTERM, "node3 started"}, {syscall.SIGHUP, "node1 started"}} {
			if by.signal == syscall.SIGHUP && signal.Ignored(syscall.SIGHUP) {
				continue // these tests run under nohup, which the demo inherits
			}
			folder := demoFolder(t, c)
			p := start(folder)
			says(p, by.when)
			began := time.Now()
			p.Signal(by.signal)
			if code := p.Wait(); code != 0 || p.Err() != "" {
				t.Errorf("%s when it said %q: code %d: %s", by.signal, by.when, code, p.Err())
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("%s when it said %q: ended after %s", by.signal, by.when, took)
			}
			nothingLeft(t, folder)
		}
	})
	t.Run("on a screen", func(t *testing.T) { testDemoOnScreen(t, c) })
	t.Run("interrupted on a screen", func(t *testing.T) { testDemoInterruptedOnScreen(t, c) })
	t.Run("beside programs on its ports", func(t *testing.T) {
		// Not on all addresses, as such programs do: other tests need the ports.
		for _, address := range []string{"127.77.7.100:8080", "127.77.7.51:9000", "127.77.14.2:2379"} {
			if squatter, err := net.Listen("tcp", address); err == nil { // else it is taken already
				defer squatter.Close()
			}
		}
		folder := demoFolder(t, c)
		// And they have set something for a node of their own.
		p := c.Program("demo", "--for", "1s", "--no-kill")
		p.Env = append(p.Env, "TMPDIR="+folder, "TRIPOD_ADMIN=127.0.0.1:1", "TRIPOD_SELF=me")
		process := c.SpawnProgram(p)
		if code := process.Wait(); code != 0 || !strings.Contains(process.Out(), "the cluster serves after ") || !strings.Contains(process.Out(), " 0 failed\nfailovers: 0") {
			t.Errorf("ended with code %d:\n%s%s", code, process.Out(), process.Err())
		}
		if strings.Contains(process.Out(), "127.77.7.100:8080") || strings.Contains(process.Out(), "127.77.14.") {
			t.Errorf("it claims addresses of others:\n%s", process.Out())
		}
		nothingLeft(t, folder)
	})
	t.Run("that does not come up", func(t *testing.T) {
		// No socket has so long a path.
		folder := filepath.Join(demoFolder(t, c), strings.Repeat("long", 20))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		p := start(folder)
		code := p.Wait()
		line, ok := complaint(p.Err())
		if code != 1 || !ok || !containsAll(line, []string{"the cluster does not answer", "has ended", "choose a shorter --data", "the logs are in " + folder}) {
			t.Errorf("code %d: %s", code, p.Err())
		}
		// The logs are what is left, and no process.
		if logs, err := filepath.Glob(filepath.Join(folder, "*", "node1.log")); err != nil || len(logs) != 1 || !strings.Contains(line, filepath.Dir(logs[0])) {
			t.Errorf("logs: %q", logs)
		}
		if pids := runningWith(t, "TMPDIR="+folder); len(pids) > 0 {
			t.Errorf("left behind: processes %v", pids)
		}
	})
}

// checkStory reads what a demo that ends by itself has told.
func checkStory(t *testing.T, out string) {
	t.Helper()
	for _, line := range []string{
		`(?m)^ +0\.\d\ds  web1 started, process \d+$`, `(?m)s  node3 started, process \d+$`, `(?m)s  node[123] is ready$`,
		`(?m)s  node[123] holds 127\.77\.\d+\.100$`, `(?m)s  node[123] killed \(SIGKILL\)$`, `(?m)s  node[123] started again, process \d+$`,
		`(?m)^  curl http://127\.77\.\d+\.100:\d+/$`, `(?m)^  eval "\$\(.+ env\)"; etcdctl get --prefix /tripod/`,
		`(?m)s  \d+ requests sent, \d+ failed$`,
		`requests: \d+ sent, \d+ failed\nfailovers: 1\n  node[123] -> node[123], \d+\.\d\d s without an answer\n$`,
	} {
		if !regexp.MustCompile(line).MatchString(out) {
			t.Errorf("no line %s in\n%s", line, out)
		}
	}
	var sent, failed int
	at := strings.LastIndex(out, "requests: ")
	if _, err := fmt.Sscanf(out[max(at, 0):], "requests: %d sent, %d failed", &sent, &failed); err != nil || sent < 100 || failed == 0 || failed > sent/2 {
		t.Errorf("%d requests sent, %d failed (%v)", sent, failed, err)
	}
	killed := regexp.MustCompile(`(node\d) killed`).FindStringSubmatch(out)
	if killed == nil || !strings.Contains(out, "\n  "+killed[1]+" -> ") {
		t.Errorf("it is not the holder that was killed: %v\n%s", killed, out)
	}
}
