package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
)

// AdminNodesPrefix is where operators say which nodes are to hold nothing. The keys stay until they are deleted,
// whatever becomes of the node.
const AdminNodesPrefix = "/tripod/admin/nodes/"

// drains is what operators want of nodes.
type drains struct {
	nodes   map[string]api.Drain // that are to be drained
	rubbish map[string]string    // keys that say nothing, and why
}

// maxDrain bounds the value that is parsed.
const maxDrain = 4096

// parseDrain reads a key's value; one written by hand may lack all but "drain".
func parseDrain(value []byte) (api.Drain, error) {
	var d struct {
		Drain *bool           `json:"drain"`
		By    json.RawMessage `json:"by"`
		At    json.RawMessage `json:"at"`
	}
	const form = `it is not of the form {"drain": true}`
	if len(value) > maxDrain {
		return api.Drain{}, fmt.Errorf("it is longer than %d bytes", maxDrain)
	}
	if err := json.Unmarshal(value, &d); err != nil {
		return api.Drain{}, fmt.Errorf("%s: %w", form, err)
	}
	if d.Drain == nil {
		return api.Drain{}, errors.New(form)
	}
	drain := api.Drain{Drain: *d.Drain}
	// Who and when are for people; a wrong one says nothing, and nothing rests on it.
	_ = json.Unmarshal(d.By, &drain.By)
	_ = json.Unmarshal(d.At, &drain.At)
	return drain, nil
}

// parseDrains reads the operators' keys.
func parseDrains(kvs []*mvccpb.KeyValue) *drains {
	seen := &drains{nodes: map[string]api.Drain{}, rubbish: map[string]string{}}
	for _, kv := range kvs {
		name := strings.TrimPrefix(string(kv.Key), AdminNodesPrefix)
		drain, err := parseDrain(kv.Value)
		switch {
		case err != nil:
			seen.rubbish[name] = err.Error()
		case drain.Drain:
			seen.nodes[name] = drain
		}
	}
	return seen
}

// seeDrains takes the keys of operators, and shows what they mean for this node in its own key.
func (v *vips) seeDrains(kvs []*mvccpb.KeyValue) {
	seen := parseDrains(kvs)
	before := v.drains.Swap(seen)
	v.tellDrain(before, seen)
	v.node.reg.update(func(k *api.NodeKey) {
		if k.State == api.Ready || k.State == api.Draining {
			k.State = v.readyState()
		}
	})
	v.placer.Wake()
}

// tellDrain logs what operators want of this node when that changes, and keys that say nothing.
func (v *vips) tellDrain(before, now *drains) {
	if before == nil {
		before = &drains{}
	}
	self, log := v.node.Name(), v.node.log
	was, drained := before.nodes[self]
	drain, drains := now.nodes[self]
	switch {
	case drains && !drained:
		log.Info("draining: this node is to hold no vip", "by", drain.By)
		v.node.events.tell(api.Event{Kind: "draining", Text: drain.By})
	case drained && !drains:
		log.Info("no longer draining", "was_by", was.By)
		v.node.events.tell(api.Event{Kind: "undrained"})
	}
	for name, why := range now.rubbish {
		if before.rubbish[name] != why {
			log.Warn("an operator's key is ignored", "key", AdminNodesPrefix+name, "error", why)
		}
	}
}

// readyState is the state that this node shows when it is ready.
func (v *vips) readyState() string {
	if d := v.drains.Load(); d != nil {
		if _, drains := d.nodes[v.node.Name()]; drains {
			return api.Draining
		}
	}
	return api.Ready
}

// Drain implements api.Operators.
func (n *Node) Drain(ctx context.Context, request api.DrainRequest) (api.DrainReply, error) {
	var reply api.DrainReply
	v, err := n.operating(ctx)
	if err != nil {
		return reply, err
	}
	if err := v.knownNode(request.Node); err != nil {
		return reply, err
	}
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	var others *drains
	attempts := 0
	err = persist(call, func(ctx context.Context) (err error) {
		attempts++
		reply.Unchanged, others, err = v.setDrain(ctx, request)
		reply.Unchanged = reply.Unchanged && attempts == 1 // else an attempt that seemed to fail may have done it
		return err
	})
	if call.Err() != nil && ctx.Err() == nil {
		return reply, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	}
	if err != nil {
		return reply, fmt.Errorf("write %s%s: %w", AdminNodesPrefix, request.Node, err)
	}
	if request.Drain {
		reply.Warnings = v.drainWarnings(request.Node, others)
	}
	return reply, nil
}

// setDrain writes or deletes a node's key, unless it says so already. It returns what was to be drained before, read
// from a majority: the last candidate is warned of even if the one before it was drained a moment ago.
func (v *vips) setDrain(ctx context.Context, request api.DrainRequest) (unchanged bool, before *drains, err error) {
	key := AdminNodesPrefix + request.Node
	present, err := v.client.Get(ctx, AdminNodesPrefix, clientv3.WithPrefix())
	if err != nil {
		return false, nil, err
	}
	before = parseDrains(present.Kvs)
	_, drained := before.nodes[request.Node]
	exists := slices.ContainsFunc(present.Kvs, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == key })
	switch {
	case request.Drain && drained, !request.Drain && !exists:
		return true, before, nil
	case request.Drain:
		// Marshal fails at times beyond the year 9999 only.
		value, _ := json.Marshal(api.Drain{Drain: true, By: request.By, At: time.Now().UTC().Truncate(time.Second)})
		_, err = v.client.Put(ctx, key, string(value))
	default:
		_, err = v.client.Delete(ctx, key)
	}
	return false, before, err
}

// drainWarnings says what an operator may not expect.
func (v *vips) drainWarnings(name string, others *drains) []string {
	var warnings []string
	if nodes := v.nodes.Load(); nodes != nil {
		if _, lives := (*nodes)[name]; !lives {
			warnings = append(warnings, name+" is not running: it drains as soon as it does")
		}
	}
	candidates := v.candidatesBut(others)
	for _, address := range v.named(name) {
		if !v.able(candidates, address, name) {
			warnings = append(warnings, fmt.Sprintf("no other node can hold %s now: it stays on %s until one can", address, name))
		}
	}
	return warnings
}
