package cli

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"tripod/node/api"
)

const (
	// retryRegister is between two attempts to renew a registration after one has failed, at most.
	retryRegister = 500 * time.Millisecond
	// registerTimeout bounds one attempt, beside a third of the time that the registration has.
	registerTimeout = 5 * time.Second
)

// keeper keeps a server registered. Whatever happens to nodes, it goes on trying.
type keeper struct {
	request  api.RegisterRequest
	draining atomic.Bool
	home     home
	watch    home // of what runs, so that a look at it does not hold up a renewal
	say      func(format string, args ...any)
	wake     chan struct{}
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

func newKeeper(a access, request api.RegisterRequest, say func(string, ...any)) *keeper {
	return &keeper{request: request, home: home{access: a}, watch: home{access: a}, say: say, wake: make(chan struct{}, 1)}
}

func (k *keeper) start(ctx context.Context) {
	ctx, k.cancel = context.WithCancel(ctx)
	k.done.Go(func() { k.keep(ctx) })
}

// stop ends the renewals. The registration is there still.
func (k *keeper) stop() {
	k.cancel()
	k.done.Wait()
}

// drain makes the registration say that the server is about to stop.
func (k *keeper) drain() {
	k.draining.Store(true)
	select {
	case k.wake <- struct{}{}:
	default: // an attempt is due anyway
	}
}

// keep registers, and renews that every third of its time.
func (k *keeper) keep(ctx context.Context) {
	third := k.request.TTL / 3
	said := ""
	for {
		request := k.request
		request.Registration.Draining = k.draining.Load()
		var reply api.RegisterReply
		err := k.home.call(ctx, min(max(third, retryRegister), registerTimeout), func(ctx context.Context, c *api.Client) (err error) {
			reply, err = c.Register(ctx, request)
			return err
		})
		if ctx.Err() != nil {
			return
		}
		pause, text := third, k.registered(reply)
		if err != nil {
			pause, text = min(third, retryRegister), "not registered: "+err.Error()+"; trying again until it works"
		}
		if text != said {
			said = text
			k.say("%s", text)
		}
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
		case <-time.After(pause):
		}
	}
}

func (k *keeper) registered(reply api.RegisterReply) string {
	text := "registered " + k.request.Registration.Address + " with service " + k.request.Service + " as " + k.request.ID
	if reply.Pending {
		text += "; the service is not in the document, and the server gets nothing until it is"
	}
	return text
}

// awaitIdle returns when the server serves nothing and gets no new clients, or when ctx ends.
func (k *keeper) awaitIdle(ctx context.Context) {
	said := int64(-1)
	for ctx.Err() == nil {
		running, err := k.running(ctx)
		if err == nil && running.Closed() {
			if running.Running == 0 {
				return
			}
			if said != running.Running {
				said = running.Running
				k.say("draining: %s", runningText(running))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(runningEvery):
		}
	}
}

func (k *keeper) running(ctx context.Context) (running api.Running, err error) {
	err = k.watch.call(ctx, probeTimeout, func(ctx context.Context, c *api.Client) (err error) {
		running, err = c.Running(ctx, k.request.Service, k.request.Registration.Address)
		return err
	})
	for name, here := range running.Nodes {
		if !k.mine(here) {
			running.Running -= here.Running
			delete(running.Nodes, name)
		}
	}
	return running, err
}

// mine tells whether a node has the server by this registration. One that has it by the document does not take its word.
func (k *keeper) mine(here api.ServerHere) bool { return here.Registration == k.request.ID }

// leave deletes the registration, and gives the nodes a moment to see that: what comes then goes elsewhere.
func (k *keeper) leave(ctx context.Context) {
	leaving, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	for {
		err := k.home.call(leaving, leaveTimeout, func(ctx context.Context, c *api.Client) error {
			_, err := c.Deregister(ctx, k.request.Service, k.request.ID)
			return err
		})
		if err == nil {
			break
		}
		select {
		case <-leaving.Done():
			k.say("the registration is left to end by itself, within %s: %v", k.request.TTL, err)
			return
		case <-time.After(runningEvery):
		}
	}
	forgetting, cancel := context.WithTimeout(ctx, forgetTimeout)
	defer cancel()
	for forgetting.Err() == nil {
		running, err := k.running(forgetting)
		if err == nil && len(running.Nodes) == 0 && len(running.Silent) == 0 {
			return
		}
		select {
		case <-forgetting.Done():
		case <-time.After(runningEvery / 5):
		}
	}
}
