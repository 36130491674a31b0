//go:build linux

package outage

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// getRate and postRate are requests a second.
	getRate, postRate = 150, 75
	// askTime is how long a client waits.
	askTime = 10 * time.Second
	// content is that of POSTs.
	content = "content"
)

// request is one of a load, and what became of it.
type request struct {
	number, method string
	asked          time.Time
	took           time.Duration
	failed         string // empty if it was answered as it should be
}

// load is a steady stream of requests to a proxy. Each is sent when it is due, whatever has become of those before, on a connection
// that idles or a new one, and once: net/http would repeat some GETs by itself.
type load struct {
	address, path, want string

	mu   sync.Mutex
	idle []*conn
	all  []*request // those that are over
}

type conn struct {
	net.Conn
	in *bufio.Reader
}

func newLoad(address string, large bool) *load {
	l := &load{address: address, path: "/", want: smallAnswer}
	if large {
		l.path, l.want = largePath, string(largeAnswer())
	}
	return l
}

// run sends requests until ctx ends, and returns when all are over.
func (l *load) run(ctx context.Context) {
	var work sync.WaitGroup
	work.Go(func() { l.stream(ctx, http.MethodGet, getRate, &work) })
	work.Go(func() { l.stream(ctx, http.MethodPost, postRate, &work) })
	work.Wait()
	for _, c := range l.idle {
		c.Close()
	}
}

// stream sends requests of one method, as far apart as those of many clients who know nothing of each other: in step with the other stream,
// all POSTs might meet the same server.
func (l *load) stream(ctx context.Context, method string, rate float64, work *sync.WaitGroup) {
	due := time.NewTimer(0)
	defer due.Stop()
	next := time.Now()
	for n := 0; ; n++ {
		next = next.Add(time.Duration(rand.ExpFloat64() / rate * float64(time.Second)))
		due.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-due.C:
		}
		work.Go(func() { l.one(&request{number: fmt.Sprintf("%s-%d", method, n), method: method}) })
	}
}

func (l *load) one(r *request) {
	r.asked = time.Now()
	err := l.ask(r)
	r.took = time.Since(r.asked)
	if err != nil {
		r.failed = err.Error()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, r)
}

// ask sends a request, and reads its answer.
func (l *load) ask(r *request) error {
	c, err := l.connect()
	if err != nil {
		return err
	}
	keep := false
	defer func() {
		if !keep {
			c.Close()
			return
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.idle = append(l.idle, c)
	}()
	if err := c.SetDeadline(r.asked.Add(askTime)); err != nil {
		return err
	}
	end := "\r\n"
	if r.method == http.MethodPost {
		end = fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(content), content)
	}
	if _, err := fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n%s", r.method, l.path, l.address, numberField, r.number, end); err != nil {
		return err
	}
	answer, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, largeSize+1))
	switch {
	case answer.StatusCode != http.StatusOK:
		keep = err == nil && !answer.Close
		line, _, _ := strings.Cut(string(text), "\n")
		return fmt.Errorf("%d: %s", answer.StatusCode, line[:min(len(line), 80)])
	case err != nil:
		return fmt.Errorf("broken after %d bytes: %w", len(text), err)
	case string(text) != l.want:
		return fmt.Errorf("a wrong answer of %d bytes", len(text))
	}
	keep = !answer.Close
	return nil
}

// connect takes the connection that was used last, or makes one.
func (l *load) connect() (*conn, error) {
	if c := l.takeIdle(); c != nil {
		return c, nil
	}
	c, err := net.DialTimeout("tcp", l.address, askTime)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, in: bufio.NewReader(c)}, nil
}

func (l *load) takeIdle() *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	c := l.idle[n-1]
	l.idle = l.idle[:n-1]
	return c
}

// over are the requests that are over so far.
func (l *load) over() []*request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[:len(l.all):len(l.all)]
}
