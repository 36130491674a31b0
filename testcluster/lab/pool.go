//go:build linux

package lab

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Protocol is what the connections of a Pool speak.
type Protocol int

// The protocols, and the listeners of Site that they use.
const (
	HTTP Protocol = iota // a keep-alive request each time, port 80
	TCP                  // a line, which the echo server sends back, port 7000
)

// Pool is many connections from the client to an address that stay open and tick: each asks for an answer again and
// again, in turn.
type Pool struct {
	lab      *Lab
	every    time.Duration
	protocol Protocol
	stop     chan struct{}
	once     sync.Once
	work     sync.WaitGroup

	mu    sync.Mutex
	tally Tally
}

// Tally says what became of a pool's connections.
type Tally struct {
	Open   int // still open, and answering
	Reset  int // broken: reset, or otherwise failed
	Closed int // closed in an orderly way by the other side
	Silent int // without an answer for longer than Patience

	Ticks   int            // answers
	By      map[string]int // answers, by the node that they came through
	Longest time.Duration  // the longest wait for an answer
	Errors  []string       // of the first few that broke
}

// String is a line for people.
func (t Tally) String() string {
	return fmt.Sprintf("%d open, %d reset, %d closed, %d silent; %d answers, by %v, after at most %s %v",
		t.Open, t.Reset, t.Closed, t.Silent, t.Ticks, t.By, t.Longest, t.Errors)
}

// Pool opens n connections to an address, each of which ticks every so often, and returns when all are open and have
// been answered once. It ends with the test, or by Close.
func (l *Lab) Pool(address string, n int, every time.Duration, protocol Protocol) *Pool {
	l.t.Helper()
	p := &Pool{lab: l, every: every, protocol: protocol, stop: make(chan struct{}), tally: Tally{By: map[string]int{}}}
	l.t.Cleanup(func() { p.Close() })
	port := 80
	if protocol == TCP {
		port = echoPort
	}
	target := net.JoinHostPort(address, strconv.Itoa(port))
	to, err := netip.ParseAddr(address)
	if err != nil {
		l.t.Fatalf("pool: %v", err)
	}
	start := time.Now()
	var from net.Addr
	for i := range n {
		if i%perSource == 0 && i > 0 {
			if from, err = p.source(i/perSource, to.Is6()); err != nil {
				l.t.Fatalf("pool: one more address of the client: %v", err)
			}
		}
		c, err := p.open(from, target)
		if err != nil {
			l.t.Fatalf("pool: connection %d of %d to %s: %v", i+1, n, target, err)
		}
		// Their ticks are spread evenly.
		first := start.Add(every * time.Duration(i) / time.Duration(n))
		p.work.Go(func() { p.run(c, first) })
	}
	return p
}

// perSource is how many connections one address of the client makes; it has 28,000 ports for each target.
const perSource = 20_000

// source gives the client another address, from which its ports are free again.
func (p *Pool) source(i int, v6 bool) (net.Addr, error) {
	number, bits := sourceNumber+i, bits4
	ip := address4(number)
	if v6 {
		ip, bits = address6(number), bits6
	}
	if !p.lab.Client.Has(ip) {
		if err := p.lab.Client.addAddress(netip.PrefixFrom(ip, bits)); err != nil {
			return nil, err
		}
	}
	return &net.TCPAddr{IP: ip.AsSlice()}, nil
}

// pooled is one connection.
type pooled struct {
	net.Conn
	r *bufio.Reader
}

func (p *Pool) open(from net.Addr, target string) (*pooled, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := p.lab.Client.dialFrom(ctx, from, "tcp", target)
	if err != nil {
		return nil, err
	}
	c := &pooled{conn, bufio.NewReaderSize(conn, 512)}
	if err := p.tick(c); err != nil {
		conn.Close()
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.Open++
	return c, nil
}

// run ticks until Close, or until the connection ends.
func (p *Pool) run(c *pooled, next time.Time) {
	defer c.Close()
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-timer.C:
		}
		if err := p.tick(c); err != nil {
			p.lost(err)
			return
		}
		for next = next.Add(p.every); time.Until(next) < 0; {
			next = next.Add(p.every)
		}
		timer.Reset(time.Until(next))
	}
}

func (p *Pool) tick(c *pooled) error {
	began := time.Now()
	if err := c.SetDeadline(began.Add(Patience)); err != nil {
		return err
	}
	var node string
	var err error
	if p.protocol == TCP {
		node, err = tickLine(c)
	} else {
		node, err = tickHTTP(c)
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.Ticks++
	p.tally.By[node]++
	p.tally.Longest = max(p.tally.Longest, time.Since(began))
	return nil
}

func tickHTTP(c *pooled) (string, error) {
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: lab\r\n\r\n"); err != nil {
		return "", err
	}
	return readAnswer(c.r)
}

func tickLine(c *pooled) (string, error) {
	if _, err := io.WriteString(c, "tick\n"); err != nil {
		return "", err
	}
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	node, rest, _ := strings.Cut(line, " ")
	if rest != "tick\n" {
		return "", fmt.Errorf("the answer to a tick is %q", line)
	}
	return node, nil
}

func (p *Pool) lost(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tally.Open--
	var slow net.Error
	switch {
	case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		p.tally.Closed++
	// A reset, though it may look like a timeout to package net.
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		p.tally.Reset++
	case errors.As(err, &slow) && slow.Timeout():
		p.tally.Silent++
	default:
		p.tally.Reset++
	}
	if len(p.tally.Errors) < 3 {
		p.tally.Errors = append(p.tally.Errors, err.Error())
	}
}

// Tally is what became of the connections so far.
func (p *Pool) Tally() Tally {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tally
	t.By = map[string]int{}
	for node, n := range p.tally.By {
		t.By[node] = n
	}
	return t
}

// Close closes the connections, after their answers under way, and returns what had become of them.
func (p *Pool) Close() Tally {
	p.once.Do(func() { close(p.stop) })
	p.work.Wait()
	return p.Tally()
}
