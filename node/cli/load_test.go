package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"time"

	"tripod/testcluster"
)

// load is a steady load of GETs and POSTs through every node, by clients each of which keeps its connection, and its cookies where it has a jar.
type load struct {
	t        *testing.T
	stop     chan struct{}
	done     sync.WaitGroup
	mu       sync.Mutex
	requests int
	answered map[string]map[string]int // by node and first line of the answer
	failures []string
}

// loadPause is between two requests of one client.
const loadPause = 3 * time.Millisecond

// startLoad starts clients at every node.
func startLoad(t *testing.T, c *testcluster.Cluster, clients int, cookies bool) *load {
	t.Helper()
	l := &load{t: t, stop: make(chan struct{}), answered: map[string]map[string]int{}}
	for _, n := range c.Nodes() {
		l.answered[n.Name()] = map[string]int{}
		for range clients {
			client := c.HTTPClient(n.Addr(), false)
			if cookies {
				jar, err := cookiejar.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				client.Jar = jar
			}
			l.done.Go(func() { l.ask(client, n.Name()) })
		}
	}
	return l
}

func (l *load) ask(client *http.Client, node string) {
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		case <-time.After(loadPause):
		}
		name, err := exchange(client, i%2 == 1)
		l.mu.Lock()
		l.requests++
		l.answered[node][name]++
		if err != nil {
			l.failures = append(l.failures, time.Now().Format(time.StampMilli)+" by "+node+": "+err.Error())
		}
		l.mu.Unlock()
	}
}

// exchange is one request, and the first line of its answer.
func exchange(client *http.Client, post bool) (string, error) {
	const url = "http://shop.test:8080/"
	ask := func() (*http.Response, error) { return client.Get(url) }
	if post {
		ask = func() (*http.Response, error) {
			return client.Post(url, "text/plain", strings.NewReader("an order that must not be lost, nor come twice"))
		}
	}
	response, err := ask()
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	name, _, _ := strings.Cut(string(body), "\n")
	return name, err
}

// answers is how often a server has answered through a node so far.
func (l *load) answers(node, server string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answered[node][server]
}

// servedBy waits until a server has answered more requests through every node.
func (l *load) servedBy(c *testcluster.Cluster, server string) {
	l.t.Helper()
	for _, n := range c.Nodes() {
		before := l.answers(n.Name(), server)
		c.Wait(server+" answering through "+n.Name(), func() error {
			if l.answers(n.Name(), server) <= before {
				l.mu.Lock()
				defer l.mu.Unlock()
				return fmt.Errorf("answered: %v", l.answered)
			}
			return nil
		})
	}
}

// end ends the load, and fails the test if a request has failed.
func (l *load) end() {
	l.t.Helper()
	close(l.stop)
	l.done.Wait()
	for _, failure := range l.failures[:min(10, len(l.failures))] {
		l.t.Errorf("a request failed: %s", failure)
	}
	if len(l.failures) > 0 || l.requests == 0 {
		l.t.Errorf("%d of %d requests failed", len(l.failures), l.requests)
	}
	l.t.Logf("%d requests, %d failed", l.requests, len(l.failures))
}
