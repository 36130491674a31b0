package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// requestEvery is the rhythm of the requests, and so the resolution of the outages that are measured.
	requestEvery   = 20 * time.Millisecond
	requestTimeout = 300 * time.Millisecond
	maxBody        = 1 << 10
)

// load sends requests through the VIP at a steady rhythm, each on a connection of its own, and keeps count.
type load struct {
	url    string
	client *http.Client
	stop   context.CancelFunc
	done   sync.WaitGroup
	first  chan struct{}

	mu       sync.Mutex
	counts   counts
	lastGood time.Time
	failing  bool
}

// counts are what the load has seen since the first answer.
type counts struct {
	sent, failed int
	byServer     map[string]int
	outages      []outage
	lastError    string
}

// outage is a time without an answer: from the last good one to the next.
type outage struct {
	from time.Time
	took time.Duration
}

func startLoad(ctx context.Context, url string) *load {
	l := &load{
		url:    url,
		client: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true}},
		first:  make(chan struct{}),
		counts: counts{byServer: map[string]int{}},
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.done.Go(func() { l.run(ctx) })
	return l
}

func (l *load) close() {
	l.stop()
	l.done.Wait()
}

func (l *load) run(ctx context.Context) {
	ticker := time.NewTicker(requestEvery)
	defer ticker.Stop()
	var requests sync.WaitGroup
	defer requests.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			requests.Go(func() { l.send(ctx) })
		}
	}
}

func (l *load) send(ctx context.Context) {
	server, err := l.get(ctx)
	if ctx.Err() != nil {
		return // the demo ended, not the request
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastGood.IsZero() {
		if err != nil {
			l.counts.lastError = err.Error()
			return // the cluster is not up yet
		}
		close(l.first)
	}
	l.counts.sent++
	if err != nil {
		l.counts.failed++
		l.counts.lastError = err.Error()
		l.failing = true
		return
	}
	l.counts.byServer[server]++
	if l.failing {
		l.counts.outages = append(l.counts.outages, outage{from: l.lastGood, took: now.Sub(l.lastGood)})
		l.failing = false
	}
	l.lastGood = now
}

// get sends one request; the body names the server that answered.
func (l *load) get(ctx context.Context) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		return "", err
	}
	response, err := l.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("answered %s", response.Status)
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(string(body), greeting), "\n")
	return name, err
}

func (l *load) awaitFirst(ctx context.Context) error {
	select {
	case <-l.first:
		return nil
	case <-ctx.Done():
		if err := context.Cause(ctx); err != ctx.Err() {
			return err
		}
		return fmt.Errorf("%w (%s)", ctx.Err(), l.snapshot().lastError)
	}
}

func (l *load) snapshot() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.counts
	c.byServer = make(map[string]int, len(l.counts.byServer))
	for k, v := range l.counts.byServer {
		c.byServer[k] = v
	}
	c.outages = append([]outage(nil), l.counts.outages...)
	return c
}
