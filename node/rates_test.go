package node_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tripod/testcluster"
)

// limited is a document with routes that answer by themselves, each under a limit of its own.
func limited(limits map[string]string) string {
	var b strings.Builder
	b.WriteString("listeners:\n  http: { address: \":8080\" }\nroutes:\n")
	for path, limit := range limits {
		fmt.Fprintf(&b, "  - { path: %s, respond: { body: ok }, rate_limits: [ %s ] }\n", path, limit)
	}
	return b.String()
}

// asker sends requests to one node.
type asker struct {
	client       *http.Client
	url          string
	header       string        // X-Key
	let, refused *atomic.Int64 // of all askers together
}

func (a asker) ask(t *testing.T) {
	request, err := http.NewRequest("GET", a.url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	if a.header != "" {
		request.Header.Set("X-Key", a.header)
	}
	response, err := a.client.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	switch response.StatusCode {
	case http.StatusOK:
		a.let.Add(1)
	case http.StatusTooManyRequests:
		a.refused.Add(1)
		if n, err := strconv.Atoi(response.Header.Get("Retry-After")); err != nil || n < 1 {
			t.Errorf("429 with Retry-After %q", response.Header.Get("Retry-After"))
		}
	default:
		t.Errorf("%s: %s", a.url, response.Status)
	}
}

// steadily asks at a rate, over a few connections, until the time is up.
func (a asker) steadily(t *testing.T, each time.Duration, until time.Time) {
	var work sync.WaitGroup
	defer work.Wait()
	const connections = 4
	start := time.Now()
	for c := range connections {
		work.Go(func() {
			for i := time.Duration(c); ; i += connections {
				due := start.Add(i * each)
				if due.After(until) || time.Now().After(until) || t.Failed() {
					return
				}
				time.Sleep(time.Until(due)) // the rhythm of the load
				a.ask(t)
			}
		})
	}
}

// Three nodes let through together what a limit says, however the load is spread over them: at most a tenth more from the first burst on, and
// with more asked for at least nine tenths.
func TestRateLimitsAddUp(t *testing.T) {
	const (
		rate, burst = 200, 100
		demand      = 4 * rate
		window      = 4 * time.Second
	)
	limit := fmt.Sprintf("{ rate: %d/s, burst: %d, by: %%s }", rate, burst)
	c := testcluster.Start(t, 3)
	cases := []struct {
		path, by string
		shares   [3]float64
	}{
		{"/uneven", "route", [3]float64{.80, .15, .05}},
		{"/one", "route", [3]float64{1, 0, 0}},
		{"/even", "client", [3]float64{1. / 3, 1. / 3, 1. / 3}},
		{"/key", `"header:X-Key"`, [3]float64{.05, .80, .15}},
	}
	limits := map[string]string{}
	for _, k := range cases {
		limits[k.path] = fmt.Sprintf(limit, k.by)
	}
	c.Apply(limited(limits))
	for _, k := range cases {
		t.Run(k.path[1:], func(t *testing.T) {
			var let, refused atomic.Int64
			var work sync.WaitGroup
			start := time.Now()
			for i, n := range c.Nodes() {
				if k.shares[i] == 0 {
					continue
				}
				a := asker{c.HTTPClient(n.Addr(), false), "http://any.test:8080" + k.path, "one", &let, &refused}
				a.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 8
				each := time.Duration(float64(time.Second) / (demand * k.shares[i]))
				work.Go(func() { a.steadily(t, each, start.Add(window)) })
			}
			work.Wait()
			took := time.Since(start).Seconds()
			most := rate*took + burst
			asked := let.Load() + refused.Load()
			t.Logf("%d of %d were let through in %.2f s; the limit is %.0f", let.Load(), asked, took, most)
			if got := float64(let.Load()); got > 1.1*most || got < .9*min(most, float64(asked)) {
				t.Errorf("%d of %d were let through in %.2f s; the limit is %.0f", let.Load(), asked, took, most)
			}
			if refused.Load() == 0 {
				t.Error("nothing was refused: the load shows nothing")
			}
			total := 0.0
			for _, n := range c.Nodes() {
				value, _ := strconv.ParseFloat(metric(t, n, fmt.Sprintf(`tripod_rate_limited_total{route="%s",service=""}`, k.path)), 64)
				total += value
			}
			if total != float64(refused.Load()) {
				t.Errorf("the nodes count %.0f refused requests, and %d were", total, refused.Load())
			}
		})
	}
}

// What was spent at one node is spent at all, each key by itself; a node that cannot reach the others goes on by itself.
func TestRateLimitsWithNodesAway(t *testing.T) {
	t.Parallel()
	const burst = 60
	c := testcluster.Start(t, 3)
	c.Apply(limited(map[string]string{"/": fmt.Sprintf(`{ rate: %d/h, burst: %d, by: "header:X-Key" }`, burst, burst)}))
	var let, refused atomic.Int64
	at := func(node int, key string) asker {
		return asker{c.HTTPClient(c.Node(node).Addr(), false), "http://any.test:8080/", key, &let, &refused}
	}
	// spend asks until it is refused, and returns how many were let through.
	spend := func(node int, key string) int64 {
		before, a := let.Load(), at(node, key)
		for no := refused.Load(); refused.Load() == no && let.Load() < before+2*burst; {
			a.ask(t)
		}
		return let.Load() - before
	}
	// knows asks a node that has not spent anything itself less often than its own bucket has tokens, and tells whether it refused.
	knows := func(node int, key string) bool {
		before, a := refused.Load(), at(node, key)
		for range burst / 2 {
			if a.ask(t); refused.Load() > before {
				return true
			}
			time.Sleep(20 * time.Millisecond)
		}
		return false
	}
	if n := spend(0, "a"); n < burst || n > burst+1 {
		t.Fatalf("%d were let through at the first node, want %d", n, burst)
	}
	for _, other := range []int{1, 2} {
		if !knows(other, "a") {
			t.Errorf("node %d goes on letting through what was spent at the first", other)
		}
	}
	if n := spend(1, "b"); n < burst || n > burst+1 {
		t.Errorf("%d of another key were let through, want %d", n, burst)
	}

	// One node comes back, and learns what is spent from then on.
	c.Node(2).Kill()
	if n := spend(1, "c"); n < burst || n > burst+1 {
		t.Errorf("with a node away %d were let through, want %d", n, burst)
	}
	c.Node(2).Start()
	c.WaitReady()
	key := 0
	c.Wait("the node that is back to hear of the others", func() error {
		key++
		name := fmt.Sprint("back", key)
		if spend(0, name); knows(2, name) {
			return nil
		}
		return fmt.Errorf("key %s was let through", name)
	})

	// The last one has no majority, and counts alone.
	c.Node(1).Kill()
	c.Node(2).Kill()
	if n := spend(0, "alone"); n < burst || n > burst+1 {
		t.Errorf("alone %d were let through, want %d", n, burst)
	}
	if text := c.Node(0).Log(); !strings.Contains(text, `"status":429`) {
		t.Error("no 429 in the access log")
	}
}
