package web

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// bounds are the upper bounds of the duration histogram's buckets, in seconds.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// serviceStats are the figures of one service. They live as long as consecutive documents name it.
type serviceStats struct {
	buckets [len(bounds) + 1]atomic.Uint64
	nanos   atomic.Uint64
	codes   atomic.Pointer[[]*codeCount]
	mu      sync.Mutex // serialises growth of codes
}

// codeCount counts the answers with one status code at one listener. There are few of them for a service, so
// that a walk over a list is faster than a hash.
type codeCount struct {
	listener string
	code     int
	n        atomic.Uint64
}

func newServiceStats() *serviceStats {
	s := &serviceStats{}
	s.codes.Store(new([]*codeCount))
	return s
}

// observe counts a request.
func (s *serviceStats) observe(listener string, code int, took time.Duration) {
	s.counter(listener, code).n.Add(1)
	seconds := took.Seconds()
	i := 0
	for i < len(bounds) && seconds > bounds[i] {
		i++
	}
	s.buckets[i].Add(1)
	s.nanos.Add(uint64(took))
}

func (s *serviceStats) counter(listener string, code int) *codeCount {
	for _, c := range *s.codes.Load() {
		if c.code == code && c.listener == listener {
			return c
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	codes := *s.codes.Load()
	for _, c := range codes {
		if c.code == code && c.listener == listener {
			return c
		}
	}
	c := &codeCount{listener: listener, code: code}
	codes = append(slices.Clone(codes), c)
	s.codes.Store(&codes)
	return c
}

// forget drops the counts of listeners that keep does not want.
func (s *serviceStats) forget(keep func(listener string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	codes := *s.codes.Load()
	if !slices.ContainsFunc(codes, func(c *codeCount) bool { return !keep(c.listener) }) {
		return
	}
	codes = slices.DeleteFunc(slices.Clone(codes), func(c *codeCount) bool { return !keep(c.listener) })
	s.codes.Store(&codes)
}

var _ prometheus.Collector = (*Engine)(nil)

func requestsDesc() *prometheus.Desc {
	return prometheus.NewDesc("tripod_http_requests_total", "HTTP requests answered, by listener, service (empty if none answered) and status code.",
		[]string{"listener", "service", "code"}, nil)
}

func durationDesc() *prometheus.Desc {
	return prometheus.NewDesc("tripod_http_request_duration_seconds", "Time from a request's head to the end of its answer.",
		[]string{"service"}, nil)
}

// Describe implements prometheus.Collector.
func (e *Engine) Describe(out chan<- *prometheus.Desc) {
	out <- requestsDesc()
	out <- durationDesc()
}

// Collect implements prometheus.Collector.
func (e *Engine) Collect(out chan<- prometheus.Metric) {
	requests, duration := requestsDesc(), durationDesc()
	for service, s := range e.table.Load().stats {
		for _, c := range *s.codes.Load() {
			out <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(c.n.Load()),
				c.listener, service, strconv.Itoa(c.code))
		}
		if service == "" {
			continue
		}
		cumulative := make(map[float64]uint64, len(bounds))
		var n uint64
		for i, b := range bounds {
			n += s.buckets[i].Load()
			cumulative[b] = n
		}
		if n += s.buckets[len(bounds)].Load(); n == 0 {
			continue // thousands of services without traffic make no thousands of empty series
		}
		out <- prometheus.MustNewConstHistogram(duration, n, time.Duration(s.nanos.Load()).Seconds(), cumulative, service)
	}
}
