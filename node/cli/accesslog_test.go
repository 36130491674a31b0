package cli_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tripod/testcluster"
)

var droppedLines = regexp.MustCompile(`(?m)^tripod_access_log_dropped_total (\S+)$`)

// dropped is how many lines of the access log the node says it dropped.
func dropped(t *testing.T, c *testcluster.Cluster) float64 {
	t.Helper()
	m := droppedLines.FindStringSubmatch(c.Node(0).Page("/metrics"))
	if m == nil {
		t.Fatal("no tripod_access_log_dropped_total in /metrics")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// logged starts a node whose standard output is a pipe, and returns the end to read.
func logged(t *testing.T) (*testcluster.Cluster, *testcluster.Process, *os.File) {
	t.Helper()
	c := testcluster.Start(t, 1, testcluster.Stopped())
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	document := site(c, testcluster.StartBackend(t, "one", nil))
	p := c.Program("run", "--nodes", c.List(), "--config", write(t, "site.yaml", document))
	p.Stdout = in
	process := c.SpawnProgram(p)
	in.Close()
	c.Node(0).WaitReady()
	c.Wait("the document", func() error {
		if s, code := status(t, c); code != 0 {
			return fmt.Errorf("exit code %d: %v", code, s.Problems)
		}
		return nil
	})
	return c, process, out
}

// long is a path that fills a log soon.
var long = "/" + strings.Repeat("x", 32<<10)

// ask sends one request, which has to be answered soon.
func ask(t *testing.T, c *testcluster.Cluster, client *http.Client, path string) {
	t.Helper()
	res, err := client.Get("http://shop.test:8080" + path)
	if err != nil {
		t.Fatalf("a request with nobody to read the access log: %v", err)
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
		t.Fatalf("status %d, %v", res.StatusCode, err)
	}
}

// Nobody reads the access log: requests are answered, lines are dropped and counted, and the node ends in time.
func TestAccessLogThatNobodyReads(t *testing.T) {
	t.Parallel()
	c, process, out := logged(t)
	client := c.HTTPClient(c.Node(0).Addr(), false)
	client.Timeout = 10 * time.Second
	if n := dropped(t, c); n != 0 {
		t.Errorf("%v lines were dropped before the first", n)
	}
	c.Wait("dropped lines", func() error {
		for range 50 {
			ask(t, c, client, long)
		}
		if dropped(t, c) == 0 {
			return fmt.Errorf("none yet")
		}
		return nil
	})

	// A reader that comes back gets whole lines, those of later requests too.
	found := make(chan error, 1)
	go func() {
		r := bufio.NewReader(out)
		for {
			line, err := r.ReadBytes('\n')
			if err != nil {
				found <- err
				return
			}
			var entry struct{ Path string }
			if err := json.Unmarshal(line, &entry); err != nil {
				found <- fmt.Errorf("%w in %.200s", err, line)
				return
			}
			if entry.Path == "/later" {
				found <- nil
				return
			}
		}
	}()
	c.Wait("the line of a later request", func() error {
		ask(t, c, client, "/later")
		select {
		case err := <-found:
			if err != nil {
				t.Fatal(err)
			}
			return nil
		case <-time.After(10 * time.Millisecond):
			return fmt.Errorf("not read yet")
		}
	})

	// Stuck again, and told to stop.
	before := dropped(t, c)
	c.Wait("more dropped lines", func() error {
		for range 50 {
			ask(t, c, client, long)
		}
		if dropped(t, c) == before {
			return fmt.Errorf("none yet")
		}
		return nil
	})
	process.Signal(syscall.SIGTERM)
	if code := process.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// The reader of the access log goes away: the node does not.
func TestAccessLogWhoseReaderEnds(t *testing.T) {
	t.Parallel()
	c, process, out := logged(t)
	client := c.HTTPClient(c.Node(0).Addr(), false)
	client.Timeout = 10 * time.Second
	ask(t, c, client, "/first")
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || !strings.Contains(line, `"path":"/first"`) {
		t.Fatalf("%q, %v", line, err)
	}
	out.Close()
	c.Wait("dropped lines", func() error {
		ask(t, c, client, "/")
		if n := dropped(t, c); n < 3 {
			return fmt.Errorf("%v yet", n)
		}
		return nil
	})
	if !strings.Contains(process.Err(), "lines of the access log were dropped") {
		t.Error("the log does not say that lines are dropped")
	}
	process.Signal(syscall.SIGTERM)
	if code := process.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What was logged is written before the node ends.
func TestAccessLogIsWrittenToItsEnd(t *testing.T) {
	t.Parallel()
	c, process, out := logged(t)
	client := c.HTTPClient(c.Node(0).Addr(), false)
	const requests = 200
	lines := make(chan int, 1)
	for range requests {
		ask(t, c, client, "/")
	}
	client.CloseIdleConnections()
	process.Signal(syscall.SIGTERM)
	go func() {
		text, _ := io.ReadAll(out)
		lines <- strings.Count(string(text), `"path":"/"`)
	}()
	if code := process.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := <-lines; n != requests {
		t.Errorf("%d lines for %d requests", n, requests)
	}
}
