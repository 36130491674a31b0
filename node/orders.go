package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/proxy/upstream"
)

// AdminServersPrefix is where operators say what servers are to get, as <service>/<address>. The keys stay until they are deleted,
// whatever becomes of the server.
const AdminServersPrefix = "/tripod/admin/servers/"

const (
	maxOrders = 10_000
	maxOrder  = 4096 // bytes of a key's value that is parsed
	// maxTimeout bounds for how long clients may be kept at a drained server, other than for ever.
	maxTimeout = 365 * 24 * time.Hour
	// swapAttempts is how often a key is written anew that others change at the same time.
	swapAttempts = 10
)

// orders is what operators say about servers. It is replaced as a whole, never changed.
type orders struct {
	servers map[string]map[string]upstream.Order // by service and address
	rubbish map[string]string                    // keys that say nothing, and why
	more    bool                                 // there are more than are read
}

// parseOrder reads a key's value; one written by hand may have any of state, weight and until.
func parseOrder(value []byte) (upstream.Order, error) {
	var o struct {
		State  *upstream.OrderState `json:"state"`
		Weight *int                 `json:"weight"`
		Until  time.Time            `json:"until"`
		By     json.RawMessage      `json:"by"`
		At     json.RawMessage      `json:"at"`
	}
	const form = `it is not of the form {"state": "drain"} or {"weight": 5}`
	if len(value) > maxOrder {
		return upstream.Order{}, fmt.Errorf("it is longer than %d bytes", maxOrder)
	}
	if err := json.Unmarshal(value, &o); err != nil {
		return upstream.Order{}, fmt.Errorf("%s: %w", form, err)
	}
	if (o.State == nil || *o.State == "") && o.Weight == nil {
		return upstream.Order{}, errors.New(form)
	}
	order := upstream.Order{Weight: o.Weight, Until: o.Until}
	if o.State != nil {
		order.State = *o.State
	}
	if err := checkOrder(order.State, order.Weight); err != nil {
		return upstream.Order{}, err
	}
	// Who and when are for people; a wrong one says nothing, and nothing rests on it.
	_ = json.Unmarshal(o.By, &order.By)
	_ = json.Unmarshal(o.At, &order.At)
	return order, nil
}

func checkOrder(state upstream.OrderState, weight *int) error {
	switch state {
	case "", upstream.Ready, upstream.Drain, upstream.Maint:
	default:
		return fmt.Errorf("state %q is none of drain, maint and ready", shorten(string(state)))
	}
	if weight != nil && (*weight < 0 || *weight > upstream.MaxWeight) {
		return fmt.Errorf("weight %d is not between 0 and %d", *weight, upstream.MaxWeight)
	}
	return nil
}

// parseOrders reads the operators' keys.
func parseOrders(kvs []*mvccpb.KeyValue) *orders {
	seen := &orders{servers: map[string]map[string]upstream.Order{}, rubbish: map[string]string{}, more: len(kvs) > maxOrders}
	for _, kv := range kvs[:min(len(kvs), maxOrders)] {
		rest := string(kv.Key)[len(AdminServersPrefix):]
		service, address, err := splitServerKey(rest)
		var order upstream.Order
		if err == nil {
			order, err = parseOrder(kv.Value)
		}
		if err != nil {
			seen.rubbish[rest] = err.Error()
			continue
		}
		if seen.servers[service] == nil {
			seen.servers[service] = map[string]upstream.Order{}
		}
		seen.servers[service][address] = order
	}
	return seen
}

func (s *servers) seeOrders(kvs []*mvccpb.KeyValue) { s.takeOrders(parseOrders(kvs)) }

// takeOrders makes what operators say count.
func (s *servers) takeOrders(now *orders) {
	before := s.orders.Swap(now)
	s.tellRubbish("an operator's key about a server is ignored", AdminServersPrefix, before.rubbish, now.rubbish)
	if now.more && !before.more {
		s.node.log.Warn("there are more keys of operators about servers than are read", "prefix", AdminServersPrefix, "read", maxOrders)
	}
	if len(before.servers) == 0 && len(now.servers) == 0 || same(before.servers, now.servers) {
		return
	}
	told := 0
	for service, servers := range now.servers {
		for address, o := range servers {
			if !same(before.servers[service][address], o) {
				if told++; told <= maxTold {
					s.tellOrder(service, address, o)
				}
			}
		}
	}
	for service, servers := range before.servers {
		for address := range servers {
			if _, still := now.servers[service][address]; !still {
				if told++; told <= maxTold {
					s.tellOrder(service, address, upstream.Order{State: upstream.Ready})
				}
			}
		}
	}
	if told > maxTold {
		s.node.log.Info("an operator's word about a server", "more", told-maxTold)
	}
	s.node.proxy.SetOrders(now.servers)
	s.changed()
}

// tellOrder logs what an operator wants, and tells it to whoever watches.
func (s *servers) tellOrder(service, address string, o upstream.Order) {
	attrs := []any{"service", service, "server", address}
	if o.State != "" {
		attrs = append(attrs, "state", string(o.State))
	}
	if o.Weight != nil {
		attrs = append(attrs, "weight", *o.Weight)
	}
	s.node.log.Info("an operator's word about a server", append(attrs, "by", o.By)...)
	s.node.events.tell(api.Event{Kind: "server_ordered", Subject: service + "/" + address, Text: string(o.State)})
}

// Order implements api.Servers.
func (n *Node) Order(ctx context.Context, request api.OrderRequest) (api.OrderReply, error) {
	var reply api.OrderReply
	s, err := n.serving(ctx)
	if err != nil {
		return reply, err
	}
	timeout, err := checkOrderRequest(request)
	if err != nil {
		return reply, api.Fail(http.StatusBadRequest, err)
	}
	if err := s.knownServer(request.Service, request.Address); err != nil {
		return reply, err
	}
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	attempts := 0
	err = persist(call, func(ctx context.Context) (err error) {
		attempts++
		reply.Order, reply.Unchanged, err = s.setOrder(ctx, request, timeout)
		reply.Unchanged = reply.Unchanged && attempts == 1 // else an attempt that seemed to fail may have done it
		return err
	})
	if call.Err() != nil && ctx.Err() == nil {
		return reply, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	}
	if err != nil {
		return reply, fmt.Errorf("write %s%s/%s: %w", AdminServersPrefix, request.Service, request.Address, err)
	}
	reply.Warnings = s.orderWarnings(request)
	return reply, nil
}

func checkOrderRequest(r api.OrderRequest) (timeout time.Duration, err error) {
	if err := checkOrder(r.State, r.Weight); err != nil {
		return 0, err
	}
	switch {
	case r.State == "" && r.Weight == nil && !r.DefaultWeight:
		return 0, errors.New("it says nothing about the server: give a state, a weight, or default_weight")
	case r.Weight != nil && r.DefaultWeight:
		return 0, errors.New("it has both weight and default_weight: give it one of them")
	case r.Timeout == "":
		return 0, nil
	case r.State != upstream.Drain:
		return 0, errors.New("a timeout goes with state drain only")
	}
	timeout, err = time.ParseDuration(r.Timeout)
	if err != nil || timeout < 0 || timeout > maxTimeout {
		return 0, fmt.Errorf("timeout %q is not a time from 0s to %s, such as 10m", shorten(r.Timeout), maxTimeout)
	}
	return timeout, nil
}

// errChanged means that a key was changed by somebody else meanwhile.
var errChanged = errors.New("others change it all the time")

// setOrder adds a request to what is said about a server already. A key that would say nothing is deleted.
func (s *servers) setOrder(ctx context.Context, request api.OrderRequest, timeout time.Duration) (order upstream.Order, unchanged bool, err error) {
	key := AdminServersPrefix + request.Service + "/" + request.Address
	for range swapAttempts {
		present, err := s.client.Get(ctx, key)
		if err != nil {
			return order, false, err
		}
		var revision int64
		var before upstream.Order
		readable := true
		for _, kv := range present.Kvs {
			revision = kv.ModRevision
			before, err = parseOrder(kv.Value)
			readable = err == nil
		}
		order = merged(before, request, timeout, time.Now())
		op := clientv3.OpDelete(key)
		switch says := order.State != "" || order.Weight != nil; {
		case !says && revision == 0, says && readable && sayTheSame(before, order):
			return before, true, nil
		case says:
			value, err := json.Marshal(order)
			if err != nil { // a time beyond the year 9999
				return order, false, err
			}
			op = clientv3.OpPut(key, string(value))
		default:
			order = upstream.Order{}
		}
		reply, err := s.client.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).Then(op).Commit()
		if err != nil {
			return order, false, err
		}
		if reply.Succeeded {
			return order, false, nil
		}
	}
	return order, false, errChanged
}

// merged is what holds after a request. A server that is ready by what the key says is ready without it too.
func merged(before upstream.Order, request api.OrderRequest, timeout time.Duration, now time.Time) upstream.Order {
	order := before
	if order.State == upstream.Ready {
		order.State = ""
	}
	switch request.State {
	case upstream.Ready:
		order.State, order.Until = "", time.Time{}
	case upstream.Drain:
		order.State, order.Until = upstream.Drain, time.Time{}
		if timeout > 0 {
			order.Until = now.UTC().Add(timeout).Truncate(time.Millisecond)
		}
	case upstream.Maint:
		order.State, order.Until = upstream.Maint, time.Time{}
	}
	if request.Weight != nil {
		order.Weight = request.Weight
	}
	if request.DefaultWeight {
		order.Weight = nil
	}
	order.By, order.At = request.By, now.UTC().Truncate(time.Second)
	return order
}

// sayTheSame tells whether two orders differ in nothing but who gave them, and when.
func sayTheSame(a, b upstream.Order) bool {
	a.By, a.At, b.By, b.At = "", time.Time{}, "", time.Time{}
	return a.Until.Equal(b.Until) && a.State == b.State && same(a.Weight, b.Weight)
}

// orderWarnings says what an operator may not expect: that nobody else is there to answer.
func (s *servers) orderWarnings(request api.OrderRequest) []string {
	out := request.State == upstream.Drain || request.State == upstream.Maint || request.Weight != nil && *request.Weight == 0
	if !out {
		return nil
	}
	here := false
	for _, server := range s.knownServers()[request.Service] {
		if server.Address == request.Address {
			here = true
		} else if server.State == upstream.StateUp && server.Weight > 0 {
			return nil
		}
	}
	if !here {
		return nil
	}
	return []string{fmt.Sprintf("no other server of %s is up: new requests are answered with 503", request.Service)}
}

// serving is what a request about servers needs: what the store knows of them, and a majority.
func (n *Node) serving(ctx context.Context) (*servers, error) {
	if _, err := n.client(ctx); err != nil {
		return nil, err
	}
	s := n.openServers.Load()
	if s == nil {
		return nil, api.Fail(http.StatusServiceUnavailable, fmt.Errorf("%s is still starting: ask again in a moment, or ask another node with --node", n.Name()))
	}
	return s, nil
}
