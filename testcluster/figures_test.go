package testcluster_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tripod/node/api"
	"tripod/testcluster"
)

// The figures that tripod promises, measured on real processes:
//
//	go test -run '^$' -bench Figure -benchtime 5x ./testcluster
//
// Each benchmark fails when its median is above the promise.

// figure reports a benchmark's durations, and fails it when the median is over the limit.
func figure(b *testing.B, took []time.Duration, limit time.Duration) {
	b.Helper()
	slices.Sort(took)
	median := took[len(took)/2]
	b.ReportMetric(0, "ns/op") // the loop's own time includes preparations
	b.ReportMetric(float64(median.Microseconds())/1000, "median-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "max-ms")
	b.ReportMetric(float64(limit.Milliseconds()), "limit-ms")
	if median > limit {
		b.Errorf("median %s, promised %s", median, limit)
	}
}

// Empty folders to /readyz on all three.
func BenchmarkFigureStart(b *testing.B) {
	var took []time.Duration
	for b.Loop() {
		c := testcluster.Start(b, 3, testcluster.Stopped())
		began := time.Now()
		startAll(c)
		took = append(took, time.Since(began))
		for _, n := range c.Nodes() {
			n.Kill()
		}
	}
	figure(b, took, 3*time.Second)
}

func startAll(c *testcluster.Cluster) {
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.WaitReady()
}

// All three stopped, to /readyz on all three.
func BenchmarkFigureRestart(b *testing.B) {
	c := testcluster.Start(b, 3)
	c.Apply(routes(c, 10, "before"))
	var took []time.Duration
	for b.Loop() {
		for _, n := range c.Nodes() {
			n.Stop()
		}
		began := time.Now()
		startAll(c)
		took = append(took, time.Since(began))
	}
	figure(b, took, 3*time.Second)
}

// From config apply to every node serving the document.
func BenchmarkFigureApply(b *testing.B) {
	for _, size := range []struct {
		routes int
		limit  time.Duration
	}{{10, 100 * time.Millisecond}, {5000, time.Second}} {
		b.Run(fmt.Sprintf("%d_routes_%d_servers", size.routes, size.routes), func(b *testing.B) {
			startSink(b)
			c := testcluster.Start(b, 3)
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				c.Apply("# nothing\n") // so that every route and server of the next is new
				host := fmt.Sprintf("new%d.test", i)
				document := routes(c, size.routes, host)
				began := time.Now()
				c.Apply(document)
				took = append(took, time.Since(began))
				for _, n := range c.Nodes() {
					c.GetVia(n.Addr(), "http://"+host+":8080/").Want(http.StatusPermanentRedirect)
				}
			}
			figure(b, took, size.limit)
		})
	}
}

const sinkPort = 9009

// startSink answers the health checks of all servers: a listener on the wildcard has all of 127.0.0.0/8.
func startSink(b *testing.B) {
	b.Helper()
	l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", sinkPort))
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go server.Serve(l)
	b.Cleanup(func() { server.Close() })
}

// routes is a document of n routes and n servers, five to a service, and one route more for the host.
func routes(c *testcluster.Cluster, n int, host string) string {
	var doc bytes.Buffer
	fmt.Fprintf(&doc, "vips: [ %s/32 ]\nlisteners:\n  http: { address: \":8080\" }\nroutes:\n", c.VIP(0))
	fmt.Fprintf(&doc, "  - { host: %s, redirect: \"https://elsewhere.test\" }\n", host)
	services := n / 5
	for i := range n {
		fmt.Fprintf(&doc, "  - { host: h%d.example.com, path: /api/, service: s%d }\n", i, i%services)
	}
	doc.WriteString("services:\n")
	for i := range services {
		fmt.Fprintf(&doc, "  s%d:\n    health: { path: /healthz, interval: 30s }\n    servers:\n", i)
		for j := range 5 {
			fmt.Fprintf(&doc, "      - 127.%d.%d.%d:%d\n", 230+i/250, i%250, 1+j, sinkPort)
		}
	}
	return doc.String()
}

// Resident memory of an idle node with a small document.
func BenchmarkFigureIdleMemory(b *testing.B) {
	const limit = 90 << 20
	for b.Loop() {
		c := testcluster.Start(b, 3)
		c.Apply(routes(c, 10, "before"))
		c.WaitHolder(c.VIP(0))
		time.Sleep(10 * time.Second) // idle is what is measured
		var most int64
		for _, n := range c.Nodes() {
			most = max(most, resident(b, n.PID()))
		}
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(most)/(1<<20), "MB")
		b.ReportMetric(limit>>20, "limit-MB")
		if most > limit {
			b.Errorf("%d bytes resident, promised %d", most, int64(limit))
		}
	}
}

func resident(b *testing.B, pid int) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			if err != nil {
				b.Fatal(err)
			}
			return kilobytes << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// From SIGKILL of the holder to an answer through the VIP, asked every 5 ms. The issue of the network VIPs
// has the full table; this is the loopback one.
func BenchmarkFigureFailover(b *testing.B) {
	backend := testcluster.StartBackend(b, "one", nil)
	c := testcluster.Start(b, 3)
	c.Apply(fmt.Sprintf("vips: [ %s/32 ]\nlisteners: { http: { address: \":8080\" } }\nroutes: [ { service: web } ]\nservices: { web: { servers: [ %s ] } }\n",
		c.VIP(0), backend.Address()))
	client := &http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + net.JoinHostPort(c.VIP(0), "8080") + "/"
	var took []time.Duration
	for b.Loop() {
		old := c.WaitHolder(c.VIP(0))
		c.Wait("raft leadership off the holder", func() error {
			for _, n := range c.Status().Nodes {
				if n.RaftLeader && n.Name == old.Name() {
					return fmt.Errorf("%s leads and holds", n.Name)
				}
			}
			return nil
		})
		c.Get("http://any.test:8080/").Want(http.StatusOK)
		began := time.Now()
		old.Kill()
		for {
			if response, err := client.Get(url); err == nil {
				response.Body.Close()
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		took = append(took, time.Since(began))
		old.Restart()
	}
	c.NeverTwoHolders()
	figure(b, took, 600*time.Millisecond)
}

// An apply names the nodes that serve it: the story of testcluster itself.
func TestApplyReportsEveryNode(t *testing.T) {
	c := testcluster.Start(t, 3, testcluster.InProcess())
	reply := c.Apply("access_log: off\n")
	if len(reply.Served) != 3 {
		t.Errorf("served by %v", reply.Served)
	}
	for _, n := range c.Nodes() {
		ctx, cancel := context.WithTimeout(context.Background(), testcluster.Patience)
		local, err := n.Client().Local(ctx)
		cancel()
		if err != nil || local.State != api.Ready || local.Applied != reply.Revision {
			t.Errorf("%s: %v %+v", n.Name(), err, local.NodeKey)
		}
	}
}
