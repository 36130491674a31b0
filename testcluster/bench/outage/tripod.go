//go:build linux

package outage

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"tripod/node"
	"tripod/node/api"
	"tripod/proxy/upstream"
	"tripod/testcluster/bench/peer"
)

const service = "web"

// document is tripod's, with more keys of the service.
func document(servers []string, more string) string {
	return fmt.Sprintf(`listeners: { http: { address: ":8080" } }
access_log: "off"
routes: [ { service: %s } ]
services:
  %s:
    servers: [ %s ]
    health: { path: %s, interval: 500ms, timeout: 500ms, fall: 2, rise: 2 }
    timeouts: { connect: 1s, first_byte: 1s }
%s`, service, service, strings.Join(servers, ", "), checkPath, more)
}

// tripod is one node.
type tripod struct {
	peer   *peer.Peer
	client *api.Client
}

var _ proxy = (*tripod)(nil)

func startTripod(ctx context.Context, stage Stage, k *kind, servers []string, folder string) (proxy, error) {
	setup := &peer.Setup{Folder: folder, Address: stage.Address}
	nodes, err := peer.StartTripod(ctx, setup, peer.Tripod{Role: stage.Tripod, Last: k.last, Document: k.config("", servers), Plain: true})
	if err != nil {
		return nil, err
	}
	sockets, err := filepath.Glob(filepath.Join(folder, "*", "d", "*", node.SocketName))
	if err != nil || len(sockets) != 1 {
		nodes[0].Stop()
		return nil, fmt.Errorf("the node has %d sockets, want 1: %w", len(sockets), err)
	}
	return &tripod{peer: nodes[0], client: api.NewSocketClient(sockets[0])}, nil
}

func (t *tripod) address() string { return t.peer.Plain }

func (t *tripod) up(ctx context.Context, server string) (bool, error) {
	here, err := t.client.ServerHere(ctx, service, server)
	return here.State == upstream.StateUp, err
}

func (t *tripod) stop() {
	t.client.Close()
	t.peer.Stop()
}
