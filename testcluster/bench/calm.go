//go:build linux

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"tripod/testcluster/lab"
)

// calm loads the proxies with as many requests as the machine can do, and expects that nothing else happens: no VIP
// changes its holder.
func calm(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("calm", flag.ContinueOnError)
	length := flags.Duration("for", 10*time.Minute, "for how long")
	clients := flags.Int("clients", 64, "connections that send requests, on each address")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return lab.Script(out, func(t lab.T) {
		l := lab.Start(t, 3)
		l.Apply(l.Site(l.VIP(0)))
		b := &bench{t: t, lab: l, probe: l.Probe(l.VIP(0), lab.Every(100*time.Millisecond), lab.Timeout(10*time.Second)), ctx: ctx}
		s := &tripod{bench: b}
		b.probe.WaitHolder()
		b.rest()
		s.unasked()
		from := l.Now()
		addresses := []string{l.VIP(0)}
		for _, n := range l.Nodes() {
			addresses = append(addresses, n.IP4.String())
		}
		sent, failed := load(ctx, l, addresses, *clients, *length)
		s.unasked()
		b.probe.NeverTwoAnswering()
		took := l.Now().Sub(from)
		fmt.Fprintf(out, "%s at full load: %.0f requests a second on all nodes together, %d failed; the probe: %s\n",
			took.Round(time.Second), float64(sent)/took.Seconds(), failed, b.probe.Summary(from, l.Now()))
		if failed > 0 {
			t.Errorf("%d of %d requests failed", failed, sent)
		}
		if !t.Failed() {
			fmt.Fprintln(out, "failovers without a fault: none; two stations answering: never")
		}
	})
}

// load sends requests from the client over connections that stay open, each as soon as the one before was answered.
func load(ctx context.Context, l *lab.Lab, addresses []string, clients int, length time.Duration) (sent, failed int64) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var work sync.WaitGroup
	var all, wrong atomic.Int64
	for _, address := range addresses {
		client := l.Client.HTTPClient()
		if transport, ok := client.Transport.(*http.Transport); ok {
			transport.MaxIdleConnsPerHost, transport.DisableKeepAlives = clients, false
		}
		for range clients {
			work.Go(func() {
				for ctx.Err() == nil {
					err := get(ctx, client, "http://"+net.JoinHostPort(address, "80")+"/")
					if ctx.Err() != nil {
						return
					}
					if all.Add(1); err != nil {
						wrong.Add(1)
					}
				}
			})
		}
	}
	work.Wait()
	return all.Load(), wrong.Load()
}

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}
