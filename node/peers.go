package node

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"tripod/node/api"
	"tripod/node/etcd"
	"tripod/tls"
)

// peerTimeout bounds one question to another node.
const peerTimeout = time.Second

// peers are the other voters, as this node reaches them.
type peers struct {
	self    etcd.Voter
	clients map[string]*api.Client // by name
}

var _ etcd.Peers = (*peers)(nil)

func newPeers(voters []etcd.Voter, self etcd.Voter, identity *tls.Identity) *peers {
	p := &peers{self: self, clients: map[string]*api.Client{}}
	for _, v := range voters {
		if v != self {
			p.clients[v.Name] = api.NewClient(v.HostPort(etcd.APIPort), identity)
		}
	}
	return p
}

func (p *peers) client(name string) (*api.Client, error) {
	c, ok := p.clients[name]
	if !ok {
		return nil, fmt.Errorf("node %s is not in --nodes", name)
	}
	return c, nil
}

// Ask implements etcd.Peers.
func (p *peers) Ask(ctx context.Context, to etcd.Voter) (etcd.Report, error) {
	c, err := p.client(to.Name)
	if err != nil {
		return etcd.Report{}, err
	}
	return c.Report(ctx)
}

// Join implements etcd.Peers.
func (p *peers) Join(ctx context.Context, to etcd.Voter, request etcd.JoinRequest) (etcd.JoinReply, error) {
	c, err := p.client(to.Name)
	if err != nil {
		return etcd.JoinReply{}, err
	}
	return c.Join(ctx, request)
}

// acknowledge tells another node that this one has dropped a VIP.
func (p *peers) acknowledge(ctx context.Context, to string, a api.Acknowledgement) (api.AcknowledgementReply, error) {
	c, err := p.client(to)
	if err != nil {
		return api.AcknowledgementReply{}, err
	}
	return c.Acknowledge(ctx, a)
}

// prepareMove asks the holder of a VIP to prepare a move.
func (p *peers) prepareMove(ctx context.Context, holder string, request api.PrepareRequest) error {
	c, err := p.client(holder)
	if err != nil {
		return err
	}
	return c.PrepareMove(ctx, request)
}

// forward tells another node of connections that will go on at this one.
func (p *peers) forward(ctx context.Context, to string, request api.ForwardRequest) error {
	c, err := p.client(to)
	if err != nil {
		return err
	}
	return c.Forward(ctx, request)
}

// beat opens a stream of another node's heartbeat.
func (p *peers) beat(ctx context.Context, name string) (io.ReadCloser, error) {
	c, err := p.client(name)
	if err != nil {
		return nil, err
	}
	return c.Beat(ctx)
}

// locals asks all other nodes about themselves, at once.
func (p *peers) locals(ctx context.Context) (map[string]api.Local, map[string]error) {
	var (
		mu       sync.Mutex
		wg       sync.WaitGroup
		locals   = map[string]api.Local{}
		failures = map[string]error{}
	)
	for name, c := range p.clients {
		wg.Go(func() {
			local, err := c.Local(ctx)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures[name] = err
				return
			}
			locals[name] = local
		})
	}
	wg.Wait()
	return locals, failures
}
