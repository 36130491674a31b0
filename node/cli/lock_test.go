package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/testcluster"
)

// heldLock runs a script with sh under a lock, and returns when it runs: it is to write a line "runs" first.
func heldLock(t *testing.T, c *testcluster.Cluster, script string, flags ...string) *testcluster.Process {
	t.Helper()
	p := c.Spawn(append(append([]string{"lock", "x"}, flags...), "--", "sh", "-c", "echo runs; "+script)...)
	c.Wait("the command running", func() error {
		if !strings.Contains(p.Out(), "runs\n") {
			return fmt.Errorf("%s%s", p.Out(), p.Err())
		}
		return nil
	})
	return p
}

// lockKeys are how many keys there are of a lock.
func lockKeys(t *testing.T, c *testcluster.Cluster, name string) int64 {
	t.Helper()
	answer, err := c.Etcd().Get(t.Context(), "/tripod/locks/"+name+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return answer.Count
}

// beats is a script that writes the time to a file as long as it runs, and does not heed SIGTERM. It keeps nobody's output open.
func beats(file string) string {
	return fmt.Sprintf(`exec >/dev/null 2>&1; trap '' TERM; while :; do date +%%s%%N >>'%s'; sleep 0.01; done`, file)
}

// lastBeat is the time that was written last.
func lastBeat(t *testing.T, file string) int64 {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Fields(string(text))
	if len(lines) == 0 {
		t.Fatal("nothing was written")
	}
	last, err := strconv.ParseInt(lines[len(lines)-1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return last
}

// endedBefore fails the test if a command that writes its beats has run on when another one began.
func endedBefore(t *testing.T, file, began string) {
	t.Helper()
	other, err := strconv.ParseInt(strings.TrimSpace(began), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond) // for thirty more beats, if it runs
	if last := lastBeat(t, file); last >= other {
		t.Errorf("the former holder's command ran on for %s", time.Duration(last-other))
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.InProcess())
	t.Run("exit code and environment", func(t *testing.T) {
		script := `echo "$TRIPOD_LOCK $TRIPOD_FENCING_TOKEN ${TRIPOD_SECRET-none}"; cat; exit 7`
		last := 0
		for range 2 {
			e := ran(c.CommandInput("from stdin\n", "lock", "jobs/nightly", "--", "sh", "-c", script)).want(t, 7, "jobs/nightly ", " none\nfrom stdin\n")
			if e.err != "" {
				t.Errorf("it says %q", e.err)
			}
			words := strings.Fields(e.out)
			if len(words) < 2 {
				t.Fatalf("%q", e.out)
			}
			token, err := strconv.Atoi(words[1])
			if err != nil || token <= last {
				t.Errorf("the token is %q after %d", words[1], last)
			}
			last = token
		}
		ran(c.Command("lock", "jobs/nightly", "--", "true")).want(t, 0)
		ran(c.Command("lock", "jobs/nightly", "--", "sh", "-c", "kill -9 $$")).want(t, 128+9)
		if n := lockKeys(t, c, "jobs/nightly"); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
	t.Run("not free", func(t *testing.T) { testLockNotFree(t, c) })
	t.Run("together", func(t *testing.T) {
		one := heldLock(t, c, "sleep 60", "--shared")
		ran(c.Command("lock", "x", "--shared", "--try", "--", "true")).want(t, 0)
		ran(c.Command("lock", "x", "--try", "--", "true")).want(t, 75)
		e := ran(c.Command("lock", "x", "--permits", "2", "--", "true")).want(t, 2, "used as an exclusive or shared lock by pid ", "not as a semaphore of 2 permits")
		if line, ok := complaint(e.err); !ok {
			t.Errorf("not one line: %s", line)
		}
		one.Signal(syscall.SIGTERM)
		one.Wait()
		two := heldLock(t, c, "sleep 60", "--permits", "2")
		ran(c.Command("lock", "x", "--permits", "2", "--try", "--", "true")).want(t, 0)
		two.Signal(syscall.SIGTERM)
		two.Wait()
	})
	t.Run("cannot be run", func(t *testing.T) {
		ran(c.Command("lock", "x", "--", "no-such-command")).want(t, 127, "tripod: start no-such-command: ")
		ran(c.Command("lock", "x", "--", "/etc/passwd")).want(t, 126, "tripod: start /etc/passwd: ")
		bad := filepath.Join(t.TempDir(), "bad")
		if err := os.WriteFile(bad, []byte("#!/no/such/shell\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		ran(c.Command("lock", "x", "--", bad)).want(t, 127, "tripod: start "+bad)
		if n := lockKeys(t, c, "x"); n != 0 {
			t.Errorf("%d keys are left", n)
		}
	})
	t.Run("over the network", func(t *testing.T) {
		secret := filepath.Join(c.Dir(), "secret")
		e := ran(c.Command("lock", "x", "--node", c.Node(1).Addr(), "--secret-file", secret, "--data", t.TempDir(), "--", "sh", "-c", "echo $TRIPOD_LOCK"))
		e.want(t, 0, "x\n")
	})
	t.Run("raised", func(t *testing.T) {
		ran(c.Command("lock", "x", "--ttl", "1s", "--", "true")).want(t, 0, "--ttl 1s is less than the store can keep; it is 1.945s")
	})
}

func testLockNotFree(t *testing.T, c *testcluster.Cluster) {
	p := heldLock(t, c, "trap 'echo usr1' USR1; trap 'echo bye; exit 3' TERM; while :; do sleep 0.1; done")
	for _, flags := range [][]string{{"--try"}, {"--wait", "300ms"}} {
		e := ran(c.Command(append(append([]string{"lock", "x"}, flags...), "--", "echo", "ran")...)).want(t, 75, "it is held by pid ", "(sh -c echo runs;")
		if strings.Contains(e.out, "ran") {
			t.Error("the command was run")
		}
	}
	waiting := c.Spawn("lock", "x", "--", "echo", "mine")
	ended := c.Spawn("lock", "x", "--", "echo", "never")
	c.Wait("both waiting", func() error {
		if !strings.Contains(waiting.Err(), "tripod: waiting for lock x: the lock is not free: it is held by pid ") || !strings.Contains(ended.Err(), "waiting") {
			return fmt.Errorf("%q, %q", waiting.Err(), ended.Err())
		}
		return nil
	})
	ended.Signal(syscall.SIGTERM)
	if code := ended.Wait(); code != 128+15 || strings.Contains(ended.Out(), "never") {
		t.Errorf("ended while it waited with code %d: %s%s", code, ended.Out(), ended.Err())
	}
	p.Signal(syscall.SIGUSR1)
	c.Wait("the signal passed on", func() error {
		if !strings.Contains(p.Out(), "usr1") {
			return fmt.Errorf("%q", p.Out())
		}
		return nil
	})
	if strings.Contains(waiting.Out(), "mine") {
		t.Error("both hold")
	}
	p.Signal(syscall.SIGTERM)
	if code := p.Wait(); code != 3 || !strings.Contains(p.Out(), "bye") {
		t.Errorf("ended with code %d: %s%s", code, p.Out(), p.Err())
	}
	if code := waiting.Wait(); code != 0 || waiting.Out() != "mine\n" {
		t.Errorf("the next one ended with code %d: %s%s", code, waiting.Out(), waiting.Err())
	}
}

// What cannot be meant is refused with one line before anything is asked or run.
func TestLockRefused(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	for _, bad := range []struct {
		args []string
		says string
	}{
		{[]string{"a b", "--", "true"}, `"a b" has ' '`},
		{[]string{"/a", "--", "true"}, "begins or ends with a slash"},
		{[]string{strings.Repeat("x", 257), "--", "true"}, "it has 257 bytes, and 200 are allowed"},
		{[]string{"x", "--ttl", "10ms", "--", "true"}, "ttl 10ms is not a time from 1s to 1h0m0s"},
		{[]string{"x", "--ttl", "2h", "--", "true"}, "ttl 2h0m0s is not"},
		{[]string{"x", "--permits=-1", "--", "true"}, "permits -1 is not between 1 and 1000"},
		{[]string{"x", "--permits=2", "--shared", "--", "true"}, "shared or has permits, not both"},
		{[]string{"x", "--wait=-1s", "--", "true"}, "--wait is a time from 0s on"},
		{[]string{"x", "--wait=1s", "--try", "--", "true"}, "--try does not wait"},
		{[]string{"x"}, "<command>"},
	} {
		e := ran(c.Command(append([]string{"lock"}, bad.args...)...))
		e.want(t, 2, bad.says)
		if line, ok := complaint(e.err); !ok {
			t.Errorf("%q: not one line of complaint:\n%s", bad.args, line)
		}
	}
	ran(c.Command("lock", "x", "--", "true")).want(t, 1, "no node runs here")
}

// A holder that is killed takes its command along, and what that has started; the next one runs when they are gone.
func TestLockKilled(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.InProcess())
	file := filepath.Join(t.TempDir(), "beats")
	// The shell in the background is a child of the command's, whose parent's death it does not notice.
	p := heldLock(t, c, "sh -c '"+strings.ReplaceAll(beats(file), "'", `'"'"'`)+"' & wait", "--ttl", "2s")
	next := c.Spawn("lock", "x", "--", "date", "+%s%N")
	p.Signal(syscall.SIGKILL)
	killed := time.Now()
	if code := next.Wait(); code != 0 {
		t.Fatalf("the next one ended with code %d: %s", code, next.Err())
	}
	if took := time.Since(killed); took < 500*time.Millisecond {
		t.Errorf("the next one ran after %s, before the right of the dead one was over", took)
	}
	endedBefore(t, file, next.Out())
}

// A holder that is stopped does not keep its command running beside the next one's: its guard kills that.
func TestLockStopped(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3, testcluster.InProcess())
	file := filepath.Join(t.TempDir(), "beats")
	p := heldLock(t, c, beats(file), "--ttl", "2s")
	next := c.Spawn("lock", "x", "--", "date", "+%s%N")
	p.Signal(syscall.SIGSTOP)
	if code := next.Wait(); code != 0 {
		t.Fatalf("the next one ended with code %d: %s", code, next.Err())
	}
	endedBefore(t, file, next.Out())
	p.Signal(syscall.SIGCONT)
	if code := p.Wait(); code != 76 || !strings.Contains(p.Err(), "tripod: lock x: the lock is lost: ") {
		t.Errorf("the stopped one ended with code %d: %s", code, p.Err())
	}
}

// With one node gone a command runs on; without a majority it is told to stop, and stopped if it does not, while the lock is still its own.
func TestLockLost(t *testing.T) {
	t.Parallel()
	c := testcluster.Start(t, 3)
	file := filepath.Join(t.TempDir(), "beats")
	gentle := heldLock(t, c, `trap 'echo told; exit 0' TERM; while :; do sleep 0.05; done`, "--shared", "--ttl", "6s")
	stubborn := heldLock(t, c, beats(file), "--shared", "--ttl", "6s")
	c.Node(0).Kill()
	time.Sleep(7 * time.Second) // more than any right lasts that is not renewed
	if !gentle.Running() || !stubborn.Running() || strings.Contains(gentle.Out(), "told") {
		t.Fatalf("stopped with a majority there: %s%s", gentle.Err(), stubborn.Err())
	}
	c.Node(1).Kill()
	cut := time.Now()
	if code := gentle.Wait(); code != 76 || !strings.Contains(gentle.Out(), "told") || !strings.Contains(gentle.Err(), "could not be renewed in time; sh was stopped") {
		t.Errorf("ended with code %d: %s%s", code, gentle.Out(), gentle.Err())
	}
	if code := stubborn.Wait(); code != 76 {
		t.Errorf("ended with code %d: %s%s", code, stubborn.Out(), stubborn.Err())
	}
	// The right of at most 3.8 s that the last answer gave, and none of the time that others wait beyond that.
	if ran := time.Duration(lastBeat(t, file) - cut.UnixNano()); ran > 3900*time.Millisecond {
		t.Errorf("the command ran for %s after the majority was lost", ran)
	}
	c.Node(0).Start()
	c.Node(1).Start()
	c.WaitReady()
	ran(c.Command("lock", "x", "--wait", "20s", "--", "true")).want(t, 0)
}
