package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tripod/node/api"
)

const (
	// leaveTimeout bounds how long a registration that ends may take to be deleted; its lease ends it in any case.
	leaveTimeout = 3 * time.Second
	// forgetTimeout bounds how long the nodes may take to see that.
	forgetTimeout = time.Second
)

type registerCmd struct {
	Service        string        `help:"Name of the service; one that is not in the document yet is waited for." required:"" placeholder:"NAME"`
	Address        string        `help:"IP:port at which the nodes reach the server." required:"" placeholder:"IP:PORT"`
	ID             string        `name:"id" help:"What the registration is called within the service (default: the address)." placeholder:"ID"`
	Zone           string        `help:"Failure domain of the server."`
	Weight         *int          `help:"Share of the requests against the other servers, 0 to 256 (default: 1)." placeholder:"N"`
	MaxConnections int           `help:"How many requests one node may have there at a time; 0 is no limit."`
	Backup         bool          `help:"Use the server only when no other is up."`
	TTL            time.Duration `name:"ttl" help:"How long the registration stays after the last renewal, 1s to 1h; it is renewed every third of it." default:"5s"`
	Drain          time.Duration `help:"How long running requests may take when told to stop, before the server is." default:"30s"`
	Command        []string      `arg:"" optional:"" help:"After --: the server to run, and to stop with this command. Without it the registration alone is kept."`
	access
}

// Run keeps a server registered, and runs it.
func (c *registerCmd) Run(ctx context.Context, t *terminal) error {
	request, err := c.request()
	if err != nil {
		return &exitError{code: exitUsage, message: err.Error()}
	}
	// Nothing ends here by the first signal: the server is drained before it gets it.
	ctx = context.WithoutCancel(ctx)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	server, err := startChild("the server", c.Command, t, nil)
	if err != nil {
		return err
	}
	keeper := newKeeper(c.access, request, func(format string, args ...any) {
		fmt.Fprintln(t.err, "tripod:", fmt.Sprintf(format, args...))
	})
	keeper.start(ctx)
	stop := c.await(ctx, server, signals, keeper)
	keeper.stop()
	keeper.leave(ctx)
	return server.end(stop, signals)
}

// request is what is registered.
func (c *registerCmd) request() (api.RegisterRequest, error) {
	request := api.RegisterRequest{Service: c.Service, ID: c.ID, TTL: c.TTL, Registration: api.Registration{
		Address: c.Address, Weight: c.Weight, Zone: c.Zone, MaxConnections: c.MaxConnections, Backup: c.Backup,
	}}
	if request.ID == "" {
		request.ID = c.Address
	}
	switch err := request.Registration.Validate(); {
	case err != nil:
		return request, err
	case c.TTL < api.MinTTL || c.TTL > api.MaxTTL:
		return request, fmt.Errorf("--ttl is a time from %s to %s, not %s", api.MinTTL, api.MaxTTL, c.TTL)
	case c.Drain < 0:
		return request, fmt.Errorf("--drain is a time from 0s on, not %s", c.Drain)
	}
	return request, api.CheckRegistrationName(request.Service, request.ID)
}

// await returns when the server has ended by itself, with nil, or with the signal that is to end it, once it serves nothing or the time for
// that is over. A second such signal ends the waiting. Other signals are passed on.
func (c *registerCmd) await(ctx context.Context, server *child, signals <-chan os.Signal, keeper *keeper) os.Signal {
	var stop os.Signal
	idle := make(chan struct{})
	for {
		select {
		case <-server.ended:
			return nil
		case <-idle:
			return stop
		case s := <-signals:
			switch {
			case !c.ends(s):
				server.signal(s)
			case stop != nil:
				return s
			default:
				stop = s
				keeper.drain()
				draining, cancel := context.WithTimeout(ctx, c.Drain)
				defer cancel()
				keeper.done.Go(func() { keeper.awaitIdle(draining); close(idle) })
			}
		}
	}
}

// ends tells whether a signal is to end the command. Where it runs no server, that is also what a terminal sends.
func (c *registerCmd) ends(s os.Signal) bool {
	return s == os.Interrupt || s == syscall.SIGTERM || len(c.Command) == 0 && (s == syscall.SIGHUP || s == syscall.SIGQUIT)
}
