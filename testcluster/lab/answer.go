//go:build linux

package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Answer is what became of one request.
type Answer struct {
	Start, End Moment
	Node       string // which node answered; empty if none did
	Err        string // why it failed
}

// Failed says whether the request failed.
func (a Answer) Failed() bool { return a.Err != "" }

// longestAnswer bounds what a probe reads.
const longestAnswer = 4096

// request sends requests, each on a new connection, whether or not those before were answered.
func (p *Probe) request() {
	p.beat(func() { p.work.Go(p.one) })
}

func (p *Probe) one() {
	a := Answer{Start: p.lab.Now()}
	node, err := p.get()
	a.End = p.lab.Now()
	if err != nil {
		a.Err = err.Error()
	} else {
		a.Node = node
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers = append(p.answers, a)
}

// get makes one request, and returns who answered: the server behind the node says through whom it was asked.
func (p *Probe) get() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.options.timeout)
	defer cancel()
	conn, err := p.lab.Client.Dial(ctx, "tcp", net.JoinHostPort(p.Address.String(), strconv.Itoa(p.options.port)))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", p.options.host); err != nil {
		return "", err
	}
	return readAnswer(bufio.NewReader(conn))
}

// readAnswer reads a response whose body is a name.
func readAnswer(r *bufio.Reader) (string, error) {
	response, err := http.ReadResponse(r, nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	if err != nil {
		return "", err
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", response.Status)
	}
	return strings.TrimSpace(string(body)), nil
}

// Answers are all requests so far that have ended, in the order of their ends.
func (p *Probe) Answers() []Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	// Only ever appended to: what is there stays as it is.
	return p.answers[:len(p.answers):len(p.answers)]
}

// Failures are the requests that failed and began in this time.
func (p *Probe) Failures(from, to Moment) []Answer {
	var failed []Answer
	for _, a := range p.Answers() {
		if a.Failed() && a.Start >= from && a.Start <= to {
			failed = append(failed, a)
		}
	}
	return failed
}

// Failover waits for the first answer by another node than the one that answered last before the fault, and returns how
// long after the fault it came. It is the time for which the address was not served, if the fault was the end of
// the old holder.
func (p *Probe) Failover(fault Moment) time.Duration {
	p.lab.t.Helper()
	var took time.Duration
	p.lab.Wait("an answer by another node", func() error {
		old := ""
		for _, a := range p.Answers() {
			switch {
			case a.Failed():
			case a.End <= fault:
				old = a.Node
			case old == "":
				p.lab.t.Fatalf("failover: no request was answered before %s", fault)
			case a.Node != old:
				took = a.End.Sub(fault)
				return nil
			}
		}
		return fmt.Errorf("only %s has answered", old)
	})
	return took
}

// Gap is a time without an answer.
type Gap struct{ From, To Moment }

// Length is how long it was.
func (g Gap) Length() time.Duration { return g.To.Sub(g.From) }

// LongestGap is the longest time between two answers that follow each other, of those that ended in this time. It is
// at least the probe's rhythm.
func (p *Probe) LongestGap(from, to Moment) Gap {
	var longest, last Gap
	for _, a := range p.Answers() {
		if a.Failed() || a.End < from || a.End > to {
			continue
		}
		if last = (Gap{last.To, a.End}); last.From != 0 && last.Length() > longest.Length() {
			longest = last
		}
	}
	return longest
}

// Summary counts requests.
type Summary struct {
	Sent, Failed     int
	By               map[string]int // answered, by node
	Median, P99, Max time.Duration  // time to answer, of those that were
}

// Summary counts the requests that began in this time and have ended.
func (p *Probe) Summary(from, to Moment) Summary {
	s := Summary{By: map[string]int{}}
	var took []time.Duration
	for _, a := range p.Answers() {
		if a.Start < from || a.Start > to {
			continue
		}
		s.Sent++
		if a.Failed() {
			s.Failed++
			continue
		}
		s.By[a.Node]++
		took = append(took, a.End.Sub(a.Start))
	}
	if slices.Sort(took); len(took) > 0 {
		s.Median, s.P99, s.Max = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
	}
	return s
}

// String is a line for people.
func (s Summary) String() string {
	return fmt.Sprintf("%d requests, %d failed, answered by %v, median %s, p99 %s, longest %s", s.Sent, s.Failed, s.By, s.Median, s.P99, s.Max)
}
