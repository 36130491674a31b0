package cli

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tripod/node/api"
)

type nodeCmd struct {
	List    nodeListCmd    `cmd:"" help:"List the nodes, their state and what they hold."`
	Drain   nodeDrainCmd   `cmd:"" help:"Move every VIP off a node, and keep them off until undrain, over restarts too. Exits with 1 when it still holds one."`
	Undrain nodeUndrainCmd `cmd:"" help:"Let a node hold VIPs again. None moves back by that, unless the document says preempt."`
}

type nodeListCmd struct {
	output
	access
}

// Run lists the nodes.
func (c *nodeListCmd) Run(ctx context.Context, t *terminal) error {
	status, err := c.status(ctx)
	if err != nil {
		return err
	}
	if c.json() {
		return writeJSON(t.out, status.Nodes)
	}
	rows := [][]string{{"NODE", "ADDRESS", "STATE", "ZONE", "VERSION", "HOLDS", "DRAINED BY"}}
	for _, n := range status.Nodes {
		by := ""
		if n.Drain != nil {
			by = orDash(strings.Join(strings.Fields(n.Drain.By), " "))
		}
		rows = append(rows, []string{n.Name, n.Address.String(), n.StateText(), orDash(n.Zone), orDash(n.Version), orDash(joinAddresses(n.Holds)), by})
	}
	return writeTable(t.out, rows)
}

// status asks a node for the whole cluster.
func (a access) status(ctx context.Context) (api.Status, error) {
	client, err := a.connect(ctx)
	if err != nil {
		return api.Status{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return client.Status(ctx)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func joinAddresses(addresses []netip.Addr) string {
	var words []string
	for _, a := range addresses {
		words = append(words, a.String())
	}
	return strings.Join(words, ", ")
}

type nodeDrainCmd struct {
	Name string        `arg:"" help:"Name of the node, from node list."`
	Wait time.Duration `help:"How long to wait until the node holds nothing; 0s does not wait." default:"30s"`
	access
}

// longestWait is what a node lets a command wait.
const longestWait = 10 * time.Minute

// Run drains a node and waits until it holds nothing.
func (c *nodeDrainCmd) Run(ctx context.Context, t *terminal) error {
	if c.Wait < 0 || c.Wait > longestWait {
		return &exitError{code: exitUsage, message: fmt.Sprintf("--wait is a time from 0s to %s, not %s", longestWait, c.Wait)}
	}
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout+c.Wait)
	defer cancel()
	reply, err := client.Drain(ctx, api.DrainRequest{Node: c.Name, Drain: true, By: author()})
	if err != nil {
		return err
	}
	for _, w := range reply.Warnings {
		fmt.Fprintln(t.err, "warning:", w)
	}
	drains := c.Name + " is draining"
	if reply.Unchanged {
		drains = c.Name + " was draining already"
	}
	if c.Wait == 0 {
		_, err = fmt.Fprintln(t.out, drains)
		return err
	}
	holds, err := client.Holds(ctx, c.Name, c.Wait)
	if err != nil {
		return err
	}
	if len(holds.Held) > 0 {
		message := fmt.Sprintf("%s, but still holds %s after %s", drains, joinAddresses(holds.Held), c.Wait)
		if holds.Why != "" {
			message += ": " + holds.Why
		}
		return &exitError{code: exitFailed, message: message}
	}
	_, err = fmt.Fprintf(t.out, "%s and holds nothing\n", drains)
	return err
}

type nodeUndrainCmd struct {
	Name string `arg:"" help:"Name of the node, from node list."`
	access
}

// Run ends draining.
func (c *nodeUndrainCmd) Run(ctx context.Context, t *terminal) error {
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := client.Drain(ctx, api.DrainRequest{Node: c.Name, By: author()})
	if err != nil {
		return err
	}
	if reply.Unchanged {
		_, err = fmt.Fprintf(t.out, "%s was not draining\n", c.Name)
		return err
	}
	_, err = fmt.Fprintf(t.out, "%s may hold vips again\n", c.Name)
	return err
}
