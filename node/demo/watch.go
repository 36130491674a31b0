package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"tripod/node"
	"tripod/node/api"
)

const (
	watchEvery   = 250 * time.Millisecond
	watchTimeout = 400 * time.Millisecond
	reconnect    = 50 * time.Millisecond
)

// watch follows the nodes: their events as they happen, and their state a few times a second.
type watch struct {
	demo *Demo
	stop context.CancelFunc
	done sync.WaitGroup

	mu        sync.Mutex
	locals    map[string]api.Local // of the nodes that answer
	held      map[string]bool      // by node: it said that it took the VIP, and not that it dropped it
	last      string               // who took the VIP last
	failovers []failover
	servers   map[string]bool // health of the servers as last told, by address
}

// failover is a change of the VIP's holder.
type failover struct {
	at       time.Time
	from, to string
}

func startWatch(ctx context.Context, d *Demo) *watch {
	w := &watch{demo: d, locals: map[string]api.Local{}, held: map[string]bool{}, servers: map[string]bool{}}
	ctx, w.stop = context.WithCancel(ctx)
	for _, c := range d.nodes {
		client := api.NewSocketClient(filepath.Join(d.dir, c.name, node.SocketName))
		w.done.Go(func() { w.follow(ctx, c, client) })
		w.done.Go(func() { w.poll(ctx, c, client) })
	}
	return w
}

func (w *watch) close() {
	w.stop()
	w.done.Wait()
}

// follow takes a node's events, across its deaths.
func (w *watch) follow(ctx context.Context, c *child, client *api.Client) {
	for ctx.Err() == nil {
		err := client.Events(ctx, nil, func(e api.Event) { w.take(c, e) })
		w.mu.Lock()
		delete(w.held, c.name)
		w.mu.Unlock()
		if ctx.Err() == nil && err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(reconnect):
			}
		}
	}
}

func (w *watch) take(c *child, e api.Event) {
	switch e.Kind {
	case "vip_taken":
		w.mu.Lock()
		from := w.last
		w.last, w.held[c.name] = c.name, true
		if from != "" && from != c.name {
			w.failovers = append(w.failovers, failover{at: e.Time, from: from, to: c.name})
		}
		w.mu.Unlock()
		w.demo.story.tell("%s holds %s", c.name, e.Subject)
	case "vip_dropped":
		w.mu.Lock()
		delete(w.held, c.name)
		w.mu.Unlock()
		w.demo.story.tell("%s dropped %s: %s", c.name, e.Subject, e.Text)
	case "ready":
		w.demo.story.tell("%s is ready", c.name)
	case "applied":
		w.demo.story.tell("%s serves document revision %s", c.name, e.Subject)
	case "refused":
		w.demo.story.tell("%s refuses document revision %s: %s", c.name, e.Subject, e.Text)
	}
}

// poll asks a node for its state.
func (w *watch) poll(ctx context.Context, c *child, client *api.Client) {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		call, cancel := context.WithTimeout(ctx, watchTimeout)
		local, err := client.Local(call)
		cancel()
		w.mu.Lock()
		if err != nil {
			delete(w.locals, c.name)
		} else {
			w.locals[c.name] = local
		}
		w.mu.Unlock()
		if err == nil {
			w.tellHealth(c.name, local)
		}
	}
}

// tellHealth tells when the first node sees a server change its health.
func (w *watch) tellHealth(node string, local api.Local) {
	for _, service := range local.Proxy.Services {
		for _, s := range service.Servers {
			w.mu.Lock()
			was, known := w.servers[s.Address]
			holds := w.held[node]
			if holds {
				w.servers[s.Address] = s.Up
			}
			w.mu.Unlock()
			if holds && known && was != s.Up {
				w.demo.story.tell("%s sees server %s %s", node, w.demo.serverName(s.Address), map[bool]string{true: "up", false: "down: " + s.Error}[s.Up])
			}
		}
	}
}

func (d *Demo) serverName(address string) string {
	for i, c := range d.servers {
		if d.place.serverAddress(i) == address {
			return c.name
		}
	}
	return address
}

// holder is the node that says it holds the VIP.
func (w *watch) holder() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.held {
		return name
	}
	return ""
}

func (w *watch) local(name string) (api.Local, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l, ok := w.locals[name]
	return l, ok
}

func (w *watch) changes() []failover {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]failover(nil), w.failovers...)
}

// requests is how many requests a node has sent to servers since it started.
func requests(l api.Local) uint64 {
	var sum uint64
	for _, service := range l.Proxy.Services {
		for _, s := range service.Servers {
			sum += s.Total
		}
	}
	return sum
}

// summary says what happened, for the end.
func (d *Demo) summary() string {
	c := d.load.snapshot()
	text := fmt.Sprintf("requests: %d sent, %d failed\nfailovers: %d", c.sent, c.failed, len(d.watch.changes()))
	for _, f := range d.watch.changes() {
		text += fmt.Sprintf("\n  %s -> %s, %s", f.from, f.to, lasted(f, c.outages))
	}
	return text
}

// lasted says how long requests failed around a failover.
func lasted(f failover, outages []outage) string {
	for _, o := range outages {
		if !f.at.Before(o.from) && !f.at.After(o.from.Add(o.took)) {
			return fmt.Sprintf("%.2f s without an answer", o.took.Seconds())
		}
	}
	return "no request failed"
}
