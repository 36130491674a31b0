//go:build linux

package main

import (
	"context"
	"fmt"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/testcluster/bench/client"
	"tripod/testcluster/bench/peer"
)

const (
	// manyNodes are as many as a cluster has.
	manyNodes = 3
	// longestPause is what is promised of each pause.
	longestPause = time.Millisecond
)

// collector measures the row gc: one node, and then a cluster, whose nodes are loaded all at once. There the two
// processors are short for everybody, and a pause lasts until the thread that it waits for is given one.
func (s *stage) collector(ctx context.Context) error {
	if !s.wants("gc") {
		return nil
	}
	s.begin("gc")
	for _, nodes := range []int{1, manyNodes} {
		if err := s.startTripod(ctx, peer.Tripod{Last: 41, Nodes: nodes}); err != nil {
			return err
		}
		if err := s.pausesOf(ctx, nodes); err != nil {
			return fmt.Errorf("row gc: %w", err)
		}
		s.stopPeers()
	}
	return nil
}

// pausesOf loads the nodes, and adds the lines of what happened.
func (s *stage) pausesOf(ctx context.Context, nodes int) error {
	before, err := readVitals(s.peers)
	if err != nil {
		return err
	}
	if err := s.others.begin(); err != nil {
		return err
	}
	rate, err := s.loadAll(ctx)
	if err == nil {
		err = s.others.end()
	}
	if err != nil {
		return err
	}
	fmt.Fprint(s.out, s.others.warning("gc"))
	after, err := readVitals(s.peers)
	if err != nil {
		return err
	}
	p, changes := after.since(before), after.leaderChanges-before.leaderChanges
	l := line{
		title: fmt.Sprintf("%d nodes, %s: %d pauses, %d too long", nodes, s.pauses, p.count, p.tooLong), proxy: "tripod", rate: fmt.Sprintf("%.0f", rate),
		figure: millis(p.longest) + " ms", promised: "≤ " + millis(longestPause) + " ms", verdict: verdict(float64(p.longest), float64(longestPause)),
	}
	if nodes == 1 {
		l.row, l.title = "gc", strings.Replace(l.title, "nodes", "node", 1)
	}
	s.table.lines = append(s.table.lines, l)
	if nodes > 1 {
		s.table.lines = append(s.table.lines, line{
			title: "changes of etcd's leader", proxy: "tripod", figure: fmt.Sprint(changes), promised: "0", verdict: verdict(changes, 0),
		})
	}
	return nil
}

// loadAll loads all nodes as much as they can bear, and returns the requests a second of all together.
func (s *stage) loadAll(ctx context.Context) (float64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	rates := make([]float64, len(s.peers))
	for i, p := range s.peers {
		all.Go(func() {
			plan := smallPlan()
			plan.Address, plan.Hosts, plan.For = p.Plain, []string{peer.Host}, s.pauses
			result, err := client.HTTP1(ctx, plan)
			if err != nil {
				cancel(err)
				return
			}
			rates[i] = float64(result.Requests) / result.Took.Seconds()
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	total := 0.0
	for _, r := range rates {
		total += r
	}
	return total, nil
}

// Names of metrics.
const (
	pausesMetric  = "bench_gc_pauses_total"
	leaderChanges = "etcd_server_leader_changes_seen_total"
)

// pauses says how many single pauses of the garbage collector there were, by the most that they can have taken. What
// the metrics have otherwise, go_gc_duration_seconds, adds the pauses of a cycle up, and forgets those before the last 256.
type pauses struct{}

var _ prometheus.Collector = pauses{}

var pausesDesc = prometheus.NewDesc(pausesMetric, "Pauses of the garbage collector, by the longest that they can have been.", []string{"seconds"}, nil)

// Describe implements prometheus.Collector.
func (pauses) Describe(c chan<- *prometheus.Desc) { c <- pausesDesc }

// Collect implements prometheus.Collector.
func (pauses) Collect(c chan<- prometheus.Metric) {
	read := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(read)
	h := read[0].Value.Float64Histogram()
	for i, n := range h.Counts {
		if n > 0 {
			c <- prometheus.MustNewConstMetric(pausesDesc, prometheus.CounterValue, float64(n), strconv.FormatFloat(h.Buckets[i+1], 'g', -1, 64))
		}
	}
}
