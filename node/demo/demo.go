// Package demo shows a cluster of three nodes on one machine, with three small web servers behind a virtual
// address, steady requests through it, and what happens when a node or a server is killed.
//
// Everything is real: the nodes and servers are processes of their own, and killing one is SIGKILL. The
// package owns nothing of a node; it starts the program, and watches through the node API.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const startTimeout = 60 * time.Second

// Config says how to show the demo.
type Config struct {
	// Program is the executable that the children run, Called what a person types for it.
	Program, Called string
	Out             io.Writer
	// Screen, if set, is drawn on instead of printing lines; Keys are the keys that a person types.
	Screen bool
	Keys   <-chan byte
	// Size says how many rows and columns the screen has now; nil, or 0, is no limit.
	Size func() (rows, columns int)
	// For ends the demo by itself; 0 runs until ctx ends.
	For time.Duration
	// Kill lets a demo that ends by itself kill and restart the holder of the VIP on its way.
	Kill bool
}

// Demo is a running demo.
type Demo struct {
	cfg     Config
	dir     string
	place   place
	nodes   []*child
	servers []*child
	load    *load
	watch   *watch
	story   *story
}

// Run shows the demo until ctx or its time ends. It leaves no process behind, and no file, unless the cluster does
// not come up: then the logs stay.
func Run(ctx context.Context, cfg Config) (err error) {
	d := &Demo{cfg: cfg, story: newStory()}
	if d.place, err = findPlace(); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "tripod-demo-"); err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	keep := false
	defer func() {
		d.end()
		if !keep {
			err = errors.Join(err, os.RemoveAll(d.dir))
		}
	}()
	d.story.tellTo(d.say)
	ctx, quit := context.WithCancel(ctx)
	defer quit()
	if err := d.startOrQuit(ctx, quit); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		keep = true
		return fmt.Errorf("%w; the logs are in %s", err, d.dir)
	}
	if cfg.Screen {
		d.story.tellTo(nil)
	} else {
		d.say(d.invitation())
	}
	if cfg.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.For)
		defer cancel()
	}
	d.show(ctx)
	d.say(d.summary())
	return nil
}

// say prints lines. On a raw terminal they end in CR LF.
func (d *Demo) say(lines string) {
	if d.cfg.Screen {
		lines = strings.ReplaceAll(lines, "\n", "\r\n") + "\r"
	}
	fmt.Fprintln(d.cfg.Out, lines)
}

// startOrQuit starts the cluster, and quits when a person says so before it is up: a raw terminal makes no signal
// of Ctrl-C.
func (d *Demo) startOrQuit(ctx context.Context, quit context.CancelFunc) error {
	if !d.cfg.Screen {
		return d.start(ctx)
	}
	up := make(chan struct{})
	var keys sync.WaitGroup
	keys.Go(func() {
		for {
			select {
			case key := <-d.cfg.Keys:
				if quits(key) {
					quit()
				}
			case <-up:
				return
			}
		}
	})
	defer keys.Wait()
	defer close(up)
	return d.start(ctx)
}

// document is what the demo's cluster serves.
func (d *Demo) document() string {
	var b strings.Builder
	fmt.Fprintf(&b, "vips:\n  - %s/32\n", d.place.vip())
	fmt.Fprintf(&b, "listeners:\n  http:  { address: \":%d\" }\n  https: { address: \":%d\", tls: true }\n", d.place.http, d.place.https)
	fmt.Fprintf(&b, "routes:\n  - { host: demo.test, service: web }\n  - { service: web }\n")
	fmt.Fprintf(&b, "services:\n  web:\n    health: { path: /healthz, interval: 500ms, timeout: 300ms, rise: 1, fall: 1 }\n    servers:\n")
	for i := range serverCount {
		fmt.Fprintf(&b, "      - %s\n", d.place.serverAddress(i))
	}
	b.WriteString("access_log: off\n")
	return b.String()
}

// start starts the servers and the nodes, and returns when requests are answered.
func (d *Demo) start(ctx context.Context) error {
	document := filepath.Join(d.dir, "demo.yaml")
	if err := os.WriteFile(document, []byte(d.document()), 0o600); err != nil {
		return fmt.Errorf("write the demo's document: %w", err)
	}
	for i := range serverCount {
		name := fmt.Sprintf("web%d", i+1)
		d.servers = append(d.servers, newChild(name, d.dir, d.cfg.Program, "demo-server", "--name", name, "--listen", d.place.serverAddress(i)))
	}
	var list []string
	for i := range nodeCount {
		list = append(list, fmt.Sprintf("node%d=%s", i+1, d.place.node(i)))
	}
	for i := range nodeCount {
		name := fmt.Sprintf("node%d", i+1)
		d.nodes = append(d.nodes, newChild(name, d.dir, d.cfg.Program, "run", "--nodes", strings.Join(list, ","),
			"--self", name, "--data", d.dir, "--config", document))
	}
	began := time.Now()
	for _, c := range d.children() {
		if err := c.start(); err != nil {
			return err
		}
		d.story.tell("%s started, process %d", c.name, c.pid())
	}
	d.watch = startWatch(ctx, d)
	d.load = startLoad(ctx, fmt.Sprintf("http://%s:%d/", d.place.vip(), d.place.http))
	if err := d.awaitAnswer(ctx); err != nil {
		return fmt.Errorf("the cluster does not answer: %w", err)
	}
	d.story.tell("the cluster serves after %.1f s", time.Since(began).Seconds())
	return nil
}

// awaitAnswer waits for the first answer, until a process ends by itself or the time is up.
func (d *Demo) awaitAnswer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ctx, fail := context.WithCancelCause(ctx)
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer fail(nil)
	for _, c := range d.children() {
		watchers.Go(func() {
			select {
			case <-c.ended():
				fail(fmt.Errorf("%s has ended: %s", c.name, c.lastWords()))
			case <-ctx.Done():
			}
		})
	}
	return d.load.awaitFirst(ctx)
}

func (d *Demo) children() []*child { return slices.Concat(d.servers, d.nodes) }

// end ends every process.
func (d *Demo) end() {
	if d.load != nil {
		d.load.close()
	}
	if d.watch != nil {
		d.watch.close()
	}
	for _, c := range d.children() {
		c.kill()
	}
}

// toggle kills a child that runs, and starts one that does not.
func (d *Demo) toggle(c *child) {
	if c.running() {
		c.kill()
		d.story.tell("%s killed (SIGKILL)", c.name)
		return
	}
	if err := c.start(); err != nil {
		d.story.tell("%s does not start: %v", c.name, err)
		return
	}
	d.story.tell("%s started again, process %d", c.name, c.pid())
}

// holder is the node that holds the VIP now, or nil.
func (d *Demo) holder() *child {
	name := d.watch.holder()
	for _, c := range d.nodes {
		if c.name == name {
			return c
		}
	}
	return nil
}

// invitation says what to try.
func (d *Demo) invitation() string {
	return fmt.Sprintf(`
try it, in another terminal:
  curl http://%[1]s:%[2]d/
  export TRIPOD_DATA=%[4]s
  %[5]s status
  %[5]s cert ca > /tmp/ca.pem; curl --cacert /tmp/ca.pem --resolve demo.test:%[3]d:%[1]s https://demo.test:%[3]d/
  eval "$(%[5]s env)"; etcdctl get --prefix /tripod/     (or: go tool etcdctl …)
`, d.place.vip(), d.place.http, d.place.https, d.dir, d.cfg.Called)
}
