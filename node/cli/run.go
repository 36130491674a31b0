package cli

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tripod/node"
)

type runCmd struct {
	Nodes      string        `help:"The voters: addr or name=addr, separated by commas; the same list on every node (default: this host alone, 127.0.0.1)." placeholder:"LIST"`
	Self       string        `help:"Which of them is this node, by name or address (default: found by this machine's addresses)." placeholder:"NODE"`
	SecretFile string        `help:"File with the cluster's secret (tripod secret new), or TRIPOD_SECRET with the secret itself. An all-loopback cluster makes its own." type:"path" placeholder:"FILE"`
	Data       string        `help:"Data folder; each node uses a subfolder of its own name (default: /var/lib/tripod for root, else the XDG state folder)." type:"path" placeholder:"DIR"`
	Config     string        `help:"Document for a cluster that has none yet; ignored afterwards." type:"path" placeholder:"FILE"`
	Zone       string        `help:"Failure domain of this node."`
	Admin      string        `help:"Address of the admin pages: /metrics /healthz /readyz (default: the node's own address if it is a loopback address, else 127.0.0.1, port 2382)." placeholder:"ADDR:PORT"`
	Drain      time.Duration `help:"How long connections may go on when the node is told to stop; a second signal ends them." default:"10m" name:"drain-timeout" placeholder:"DURATION"`
	LogLevel   string        `help:"Least level of what is logged: ${enum}." enum:"debug,info,warn,error" default:"info"`
	LogFormat  string        `help:"Format of the log on standard error: ${enum}. The access log on standard output is always JSON." enum:"text,json" default:"text"`
}

// Run runs a node until it is told to stop.
func (c *runCmd) Run(ctx context.Context, t *terminal) error {
	log, err := newLog(t.err, c.LogFormat, c.LogLevel)
	if err != nil {
		return err
	}
	slog.SetDefault(log) // net/http has messages for the standard logger
	// A reader of the logs that goes away must not take the node with it: what is written then fails (os/signal).
	signal.Ignore(syscall.SIGPIPE)
	registry := prometheus.NewRegistry()
	access, err := openAccessLog(t.out, log, registry)
	if err != nil {
		return err
	}
	defer access.Close()
	n := node.New(node.Config{
		Nodes: c.Nodes, Self: c.Self, SecretFile: c.SecretFile, Secret: os.Getenv("TRIPOD_SECRET"),
		DrainTimeout: c.Drain, Data: c.Data, ConfigFile: c.Config, Zone: c.Zone, Admin: c.Admin, Version: version(),
		Log: log, AccessLog: access,
		Gatherer: prometheus.Gatherers{prometheus.DefaultGatherer, registry},
	})
	if err := n.Open(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to stop while it waited for others
		}
		return err
	}
	var failed error
	select {
	case <-ctx.Done():
	case failed = <-n.Failed():
		log.Error("stopping", "error", failed)
	}
	closing, cancel := context.WithTimeout(context.Background(), c.Drain+node.CloseTimeout)
	defer cancel()
	// A second signal ends the waiting for running requests.
	closing, stop := signal.NotifyContext(closing, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := n.Close(closing); err != nil {
		log.Warn("not everything closed in time", "error", err)
	}
	return failed
}

func newLog(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, err
	}
	options := &slog.HandlerOptions{Level: l}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return slog.New(slog.NewTextHandler(w, options)), nil
}
