package cli

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tripod/node/api"
)

type vipCmd struct {
	List vipListCmd `cmd:"" help:"List the virtual IP addresses, who holds them, and why they moved last."`
	Move vipMoveCmd `cmd:"" help:"Move an address to another node, and wait until that one holds it."`
}

type vipListCmd struct {
	output
	access
}

// Run lists the VIPs.
func (c *vipListCmd) Run(ctx context.Context, t *terminal) error {
	status, err := c.status(ctx)
	if err != nil {
		return err
	}
	if c.json() {
		if status.VIPs == nil {
			status.VIPs = []api.VIPStatus{}
		}
		return writeJSON(t.out, status.VIPs)
	}
	now := time.Now()
	rows := [][]string{{"VIP", "HOLDER", "SINCE", "EPOCH", "LAST FAILOVER"}}
	for _, v := range status.VIPs {
		since := "not held"
		if v.Held {
			since = v.Since.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{v.Address.String(), orDash(v.Holder), since, fmt.Sprint(v.Epoch), v.Failover.Text(now)})
	}
	return writeTable(t.out, rows)
}

type vipMoveCmd struct {
	Address string `arg:"" help:"The address, with or without its prefix length."`
	To      string `arg:"" optional:"" name:"node" help:"Name of the node that is to hold it; default is the best other one."`
	access
}

// Run moves a VIP.
func (c *vipMoveCmd) Run(ctx context.Context, t *terminal) error {
	text, _, _ := strings.Cut(c.Address, "/")
	address, err := netip.ParseAddr(text)
	if err != nil {
		return fmt.Errorf("%q is not an IP address: tripod vip list has them", c.Address)
	}
	client, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	reply, err := client.MoveVIP(ctx, api.MoveRequest{Address: address, To: c.To, By: author()})
	if err != nil {
		return err
	}
	for _, w := range reply.Warnings {
		fmt.Fprintln(t.err, "warning:", w)
	}
	if reply.From == reply.To {
		_, err = fmt.Fprintf(t.out, "%s holds %s already\n", reply.To, address)
		return err
	}
	_, err = fmt.Fprintf(t.out, "%s holds %s now, after %s; before: %s\n", reply.To, address, api.Seconds(reply.Took), orDash(reply.From))
	return err
}
