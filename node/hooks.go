package node

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/election"
	"tripod/node/api"
)

// States that a hook is told.
const (
	hookHolder = "holder"
	hookBackup = "backup"
)

// hookClose is how long a stopping node waits for its hooks.
const hookClose = 5 * time.Second

// hooks runs the commands of on_change when this node begins or ceases to hold a VIP, and once when it first learns
// that another one holds it, in case an earlier process of this node was killed as the holder. Telling a change
// never blocks. For each VIP one command runs at a time; of the changes during a run only the last is kept.
type hooks struct {
	node  *Node
	runs  *prometheus.CounterVec
	limit time.Duration // of one run
	life  context.Context
	kill  context.CancelFunc

	mu     sync.Mutex
	vips   map[netip.Addr]*hook
	closed bool
	done   sync.WaitGroup
}

// hook is what there is to know about one VIP.
type hook struct {
	state   string   // as last told; empty: not known yet
	next    *turn    // to be run
	running bool     // a goroutine is at work on it
	command []string // as the document last had it
	// Of the last run, if it went wrong:
	failed  []string // the command
	failure string
}

// turn is one change to be told.
type turn struct {
	state string
	epoch int64
}

func newHooks(n *Node) *hooks {
	h := &hooks{
		node: n, limit: hookTimeout, vips: map[netip.Addr]*hook{},
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tripod_hook_runs_total", Help: "Runs of the commands of on_change on this node, by result: ok, failed, timeout, missing.",
		}, []string{"address", "result"}),
	}
	h.life, h.kill = context.WithCancel(context.Background())
	n.registry.MustRegister(h.runs)
	return h
}

// close lets what is under way and what is to be told still run, for a few seconds, and kills the rest.
func (h *hooks) close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, hookClose)
	defer cancel()
	stop := context.AfterFunc(ctx, h.kill)
	defer stop()
	h.done.Wait() // bounded: what is killed is gone within hookLinger
	return nil
}

// see takes what happens at this node's Holder.
func (h *hooks) see(e election.Event) {
	switch e.Kind {
	case election.Taken:
		h.tell(e.Address, turn{hookHolder, e.Epoch})
	case election.Dropped:
		h.tell(e.Address, turn{hookBackup, e.Epoch})
	}
}

// look takes the served document and the records as they are now. It remembers the commands, because a VIP that
// leaves the document is still to be told of its end, and tells of VIPs that another node holds, the first time.
func (h *hooks) look(records map[netip.Addr]election.Record) {
	commands := h.commands()
	h.mu.Lock()
	defer h.mu.Unlock()
	for address, command := range commands {
		each := h.hook(address)
		each.command = command
		record := records[address]
		if each.state == "" && record.Holder != "" && record.Holder != h.node.Name() {
			h.start(address, each, turn{hookBackup, record.Epoch})
		}
	}
	for address, each := range h.vips {
		if _, listed := commands[address]; !listed && each.state != hookHolder && !each.running {
			delete(h.vips, address)
		}
	}
}

// hook is what there is to know about a VIP. The caller has the lock.
func (h *hooks) hook(address netip.Addr) *hook {
	each := h.vips[address]
	if each == nil {
		each = &hook{}
		h.vips[address] = each
	}
	return each
}

// commands are those of the served document; nil stands for no command, and is there for every VIP.
func (h *hooks) commands() map[netip.Addr][]string {
	commands := map[netip.Addr][]string{}
	if _, document, _, _ := h.node.docs.snapshot(); document != nil {
		for i, p := range document.Addresses() {
			commands[p.Addr()] = document.VIPs[i].OnChange
		}
	}
	return commands
}

// tell notes a change.
func (h *hooks) tell(address netip.Addr, t turn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.start(address, h.hook(address), t)
}

// start sees to it that somebody runs the command for a change. The caller has the lock.
func (h *hooks) start(address netip.Addr, each *hook, t turn) {
	if h.closed {
		return
	}
	each.state, each.next = t.state, &t
	if !each.running {
		each.running = true
		h.done.Go(func() { h.work(address, each) })
	}
}

// work runs the command until there is nothing more to tell.
func (h *hooks) work(address netip.Addr, each *hook) {
	for {
		commands := h.commands()
		h.mu.Lock()
		if command, listed := commands[address]; listed {
			each.command = command
		}
		t, command := each.next, each.command
		each.next = nil
		if t == nil {
			each.running = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if len(command) > 0 {
			h.run(address, each, *t, command)
		}
	}
}

// run runs the command once, and says how it went.
func (h *hooks) run(address netip.Addr, each *hook, t turn, command []string) {
	began := time.Now()
	result, output, err := runHook(h.life, h.limit, command, hookVariables(address.String(), h.node.Name(), t.state, t.epoch))
	h.runs.WithLabelValues(address.String(), result).Inc()
	log := h.node.log.With("vip", address.String(), "state", t.state, "command", strings.Join(command, " "),
		"took", time.Since(began).Round(time.Millisecond).String())
	if output != "" {
		log = log.With("output", output)
	}
	failure := ""
	if err == nil {
		log.Info("on_change ran")
	} else {
		log.Warn("on_change did not run well; the vip is not affected", "error", err)
		failure = fmt.Sprintf("%s (%s): %v", shorten(command[0]), t.state, err)
		if output != "" {
			failure += ": " + shorten(output)
		}
	}
	h.node.events.tell(api.Event{Kind: "hook", Subject: address.String(), Text: strings.TrimSpace(t.state + " " + result + " " + failure)})
	h.mu.Lock()
	each.failed, each.failure = command, failure
	h.mu.Unlock()
}

// failures says what went wrong last, by VIP, until it goes well or the document has another command.
func (h *hooks) failures() map[netip.Addr]string {
	commands := h.commands()
	h.mu.Lock()
	defer h.mu.Unlock()
	failures := map[netip.Addr]string{}
	for address, each := range h.vips {
		if each.failure != "" && slices.Equal(each.failed, commands[address]) {
			failures[address] = each.failure
		}
	}
	return failures
}
