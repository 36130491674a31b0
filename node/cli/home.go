package cli

import (
	"context"
	"errors"
	"time"

	"tripod/node/api"
	"tripod/node/etcd"
)

// home is a client's way to a node that answers, for as long as it takes: the node may be away for a while, or for good.
type home struct {
	access access
	client *api.Client
	others []string // nodes to ask in place of --node when that is away
	turn   int
}

// call asks a node. After a failure another one is asked, or the same one again over a new connection.
func (h *home) call(ctx context.Context, limit time.Duration, ask func(context.Context, *api.Client) error) error {
	if h.client == nil {
		client, err := h.connect(ctx)
		if err != nil {
			return err
		}
		h.client = client
	}
	call, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := ask(call, h.client)
	var f *api.Failure
	if err != nil && (!errors.As(err, &f) || f.Status >= 500) {
		h.client.Close()
		h.client = nil
		h.turn++
	}
	return err
}

// connect finds a node: on this machine whichever answers, else that of --node and the voters that it has named in turn.
func (h *home) connect(ctx context.Context) (*api.Client, error) {
	to := h.access
	if to.Node != "" && h.turn > 0 && len(h.others) > 0 {
		to.Node = h.others[h.turn%len(h.others)]
	}
	client, err := to.connect(ctx)
	if err != nil || to.Node == "" {
		return client, err
	}
	probe, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	report, err := client.Report(probe)
	if err != nil {
		h.turn++
		client.Close()
		return nil, err
	}
	h.others = voterAddresses(report.Voters)
	return client, nil
}

// voterAddresses are where the nodes of a list answer.
func voterAddresses(list string) []string {
	voters, err := etcd.ParseVoters(list)
	if err != nil {
		return nil // of another version, maybe: the node that was named is asked then
	}
	var addresses []string
	for _, v := range voters {
		addresses = append(addresses, v.HostPort(etcd.APIPort))
	}
	return addresses
}
