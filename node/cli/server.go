package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"tripod/node/api"
	"tripod/proxy/upstream"
)

type serverCmd struct {
	List   serverListCmd   `cmd:"" help:"List the servers: their state and why, what they serve, and those that registered themselves."`
	Drain  serverDrainCmd  `cmd:"" help:"Give a server no new clients, and wait until it serves nothing. Exits with 1 when it still does."`
	Maint  serverMaintCmd  `cmd:"" help:"Give a server nothing at all and do not check it, and wait until it serves nothing. Exits with 1 when it still does."`
	Ready  serverReadyCmd  `cmd:"" help:"End drain and maint. A weight that was ordered stays."`
	Weight serverWeightCmd `cmd:"" help:"Give a server another weight than the document's, or that one again."`
}

type serverListCmd struct {
	Service string `arg:"" optional:"" help:"Only the servers of this service."`
	output
	access
}

// Run lists the servers.
func (c *serverListCmd) Run(ctx context.Context, t *terminal) error {
	status, err := c.status(ctx)
	if err != nil {
		return err
	}
	if c.Service != "" {
		if status, err = status.OfService(c.Service); err != nil {
			return err
		}
	}
	if c.json() {
		return writeJSON(t.out, status.Servers())
	}
	return writeTable(t.out, status.ServersText(time.Now()))
}

// server names one server of one service.
type server struct {
	Service string `arg:"" help:"Name of the service."`
	Address string `arg:"" help:"Address of the server, from server list."`
	access
}

// order says something about the server, and prints what an operator may not expect.
func (s server) order(ctx context.Context, t *terminal, request api.OrderRequest) (*api.Client, api.OrderReply, error) {
	client, err := s.connect(ctx)
	if err != nil {
		return nil, api.OrderReply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request.Service, request.Address, request.By = s.Service, s.Address, author()
	reply, err := client.Order(ctx, request)
	if err != nil {
		return nil, reply, err
	}
	for _, w := range reply.Warnings {
		fmt.Fprintln(t.err, "warning:", w)
	}
	return client, reply, nil
}

type serverDrainCmd struct {
	server
	Timeout time.Duration  `help:"For how long clients that a cookie keeps at the server may stay; 0s is for ever." default:"10m"`
	Wait    *time.Duration `help:"How long to wait until the server serves nothing; 0s does not wait (default: 30s, from the end of --timeout where the service keeps clients by a cookie)." placeholder:"30s"`
}

// Run drains a server and waits until it serves nothing, and nobody may come any more.
func (c *serverDrainCmd) Run(ctx context.Context, t *terminal) error {
	if c.Timeout < 0 {
		return &exitError{code: exitUsage, message: fmt.Sprintf("--timeout is a time from 0s on, not %s", c.Timeout)}
	}
	w := waiting{terminal: t, server: c.server, wait: c.Wait, doing: "is draining"}
	if err := w.check(); err != nil {
		return err
	}
	client, _, err := c.order(ctx, t, api.OrderRequest{State: upstream.Drain, Timeout: c.Timeout.String()})
	if err != nil {
		return err
	}
	return w.run(ctx, client)
}

type serverMaintCmd struct {
	server
	Wait *time.Duration `help:"How long to wait until the server serves nothing; 0s does not wait (default: 30s)." placeholder:"30s"`
}

// Run takes a server out and waits until it serves nothing.
func (c *serverMaintCmd) Run(ctx context.Context, t *terminal) error {
	w := waiting{terminal: t, server: c.server, wait: c.Wait, doing: "is in maint"}
	if err := w.check(); err != nil {
		return err
	}
	client, _, err := c.order(ctx, t, api.OrderRequest{State: upstream.Maint})
	if err != nil {
		return err
	}
	return w.run(ctx, client)
}

type serverReadyCmd struct{ server }

// Run ends drain and maint.
func (c *serverReadyCmd) Run(ctx context.Context, t *terminal) error {
	_, reply, err := c.order(ctx, t, api.OrderRequest{State: upstream.Ready})
	if err != nil {
		return err
	}
	text := "may get requests again"
	if reply.Unchanged {
		text = "was ready already"
	}
	if reply.Order.Weight != nil {
		text += fmt.Sprintf(", with weight %d: tripod server weight %s %s default makes it the document's", *reply.Order.Weight, c.Service, c.Address)
	}
	_, err = fmt.Fprintf(t.out, "%s %s %s\n", c.Service, c.Address, text)
	return err
}

type serverWeightCmd struct {
	server
	Weight string `arg:"" help:"Share of the requests against the other servers, 0 to 256; or default, the document's."`
}

// Run changes a server's weight.
func (c *serverWeightCmd) Run(ctx context.Context, t *terminal) error {
	request := api.OrderRequest{DefaultWeight: c.Weight == "default"}
	if !request.DefaultWeight {
		n, err := strconv.Atoi(c.Weight)
		if err != nil {
			return &exitError{code: exitUsage, message: fmt.Sprintf("weight %q is neither a number from 0 to 256 nor default", c.Weight)}
		}
		request.Weight = &n
	}
	_, reply, err := c.order(ctx, t, request)
	if err != nil {
		return err
	}
	has := "has"
	if reply.Unchanged {
		has = "had"
	}
	what := "the document's weight"
	if reply.Order.Weight != nil {
		what = fmt.Sprintf("weight %d", *reply.Order.Weight)
	}
	_, err = fmt.Fprintf(t.out, "%s %s %s %s\n", c.Service, c.Address, has, what)
	return err
}
