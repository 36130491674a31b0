package node

import (
	"bufio"
	"context"
	"sync"
	"time"

	"tripod/node/api"
	"tripod/proxy/web/rate"
)

const (
	// ratesSilence is for how long another node's stream may say nothing; there is a sign of life every second.
	ratesSilence = 3 * time.Second
	ratesPause   = 500 * time.Millisecond // before a stream is opened again
)

// rates is the exchange of what nodes count for rate limits. It asks nothing of the cluster: nodes without a majority that reach each other
// count together too, and one that is alone counts alone.
type rates struct {
	node    *Node
	set     *rate.Set
	journal *rate.Journal
	work    sync.WaitGroup
	stop    context.CancelFunc
}

// openRates begins to tell the other nodes what this one counts, and to listen to them.
func (n *Node) openRates(context.Context) error {
	r := &rates{node: n, set: n.proxy.Rates()}
	r.journal = r.set.Journal()
	var life context.Context
	life, r.stop = context.WithCancel(n.life)
	r.work.Go(func() { r.journal.Run(life) })
	for name, client := range n.peers.clients {
		source := r.set.Source()
		r.work.Go(func() { r.follow(life, name, client, source) })
	}
	n.rates = r
	n.onClose(r.close)
	return nil
}

func (r *rates) close(context.Context) error {
	r.stop()
	r.work.Wait()
	return nil
}

// follow listens to another node, until ctx ends.
func (r *rates) follow(ctx context.Context, name string, client *api.Client, source *rate.Source) {
	for ctx.Err() == nil {
		err := r.listen(ctx, client, source)
		if ctx.Err() == nil {
			r.node.log.Debug("rate limits are counted without a node", "node", name, "error", err)
		}
		pause(ctx, ratesPause)
	}
}

// listen takes in what another node tells, until the stream ends or falls silent.
func (r *rates) listen(ctx context.Context, client *api.Client, source *rate.Source) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	silence := time.AfterFunc(ratesSilence, cancel)
	defer silence.Stop()
	stream, err := client.Rates(ctx, source.Position())
	if err != nil {
		return err
	}
	defer stream.Close()
	in := bufio.NewReader(stream)
	for {
		if err := source.Read(in); err != nil {
			return err
		}
		silence.Reset(ratesSilence)
	}
}

// StreamRates implements api.Rates.
func (n *Node) StreamRates(ctx context.Context, from rate.Position, send func([]byte) error) error {
	return n.rates.journal.Stream(ctx, from, send)
}
