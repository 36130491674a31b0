package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"tripod/node/api"
	"tripod/proxy/upstream"
)

// RegistrationsPrefix is where servers register themselves, as <service>/<id>, under leases of theirs.
const RegistrationsPrefix = "/tripod/registrations/"

// maxRegistrations bounds the servers that may register themselves.
const maxRegistrations = 10_000

// registered is what servers say about themselves. It is replaced as a whole, never changed.
type registered struct {
	servers map[string]map[string]api.Registration // by service and ID
	lasting map[string]bool                        // keys without a lease
	rubbish map[string]string                      // keys that say nothing, and why
	more    bool                                   // there are more than are read
}

// parseRegistered reads the servers' keys.
func parseRegistered(kvs []*mvccpb.KeyValue) *registered {
	seen := &registered{
		servers: map[string]map[string]api.Registration{}, lasting: map[string]bool{}, rubbish: map[string]string{},
		more: len(kvs) > maxRegistrations,
	}
	for _, kv := range kvs[:min(len(kvs), maxRegistrations)] {
		rest := string(kv.Key)[len(RegistrationsPrefix):]
		service, id, err := splitServerKey(rest)
		if err == nil {
			err = api.CheckRegistrationName(service, id)
		}
		var r api.Registration
		if err == nil {
			r, err = api.ParseRegistration(kv.Value)
		}
		if err != nil {
			seen.rubbish[rest] = err.Error()
			continue
		}
		if kv.Lease == 0 {
			seen.lasting[rest] = true
		}
		if seen.servers[service] == nil {
			seen.servers[service] = map[string]api.Registration{}
		}
		seen.servers[service][id] = r
	}
	return seen
}

func (s *servers) seeRegistered(kvs []*mvccpb.KeyValue) { s.takeRegistered(parseRegistered(kvs)) }

// takeRegistered makes what servers say about themselves count.
func (s *servers) takeRegistered(now *registered) {
	before := s.registered.Swap(now)
	s.tellRubbish("a registration is ignored", RegistrationsPrefix, before.rubbish, now.rubbish)
	if now.more && !before.more {
		s.node.log.Warn("there are more registrations than are read", "prefix", RegistrationsPrefix, "read", maxRegistrations)
	}
	if len(before.servers) == 0 && len(now.servers) == 0 || same(before.servers, now.servers) {
		return
	}
	var came, went []api.RegisteredServer
	all := make(map[string][]upstream.Registration, len(now.servers))
	for service, servers := range now.servers {
		list := make([]upstream.Registration, 0, len(servers))
		for _, id := range slices.Sorted(maps.Keys(servers)) {
			r := servers[id]
			list = append(list, upstream.Registration{
				ID: id, Address: r.Address, Weight: r.Weight, Zone: r.Zone, MaxConnections: r.MaxConnections, Backup: r.Backup, Draining: r.Draining,
			})
			if _, was := before.servers[service][id]; !was {
				came = append(came, api.RegisteredServer{Service: service, ID: id, Registration: r})
			}
		}
		all[service] = list
	}
	for service, servers := range before.servers {
		for id, r := range servers {
			if _, still := now.servers[service][id]; !still {
				went = append(went, api.RegisteredServer{Service: service, ID: id, Registration: r})
			}
		}
	}
	s.tellRegistered("a server has registered", "server_registered", came)
	s.tellRegistered("a server's registration has ended", "server_deregistered", went)
	s.node.proxy.SetRegistered(all)
	s.changed()
}

// tellRegistered logs what became of servers, and tells it to whoever watches; of many at once, such as at the start, the first.
func (s *servers) tellRegistered(message, kind string, servers []api.RegisteredServer) {
	for _, r := range servers[:min(len(servers), maxTold)] {
		s.node.log.Info(message, "service", r.Service, "server", r.Address, "id", r.ID)
		s.node.events.tell(api.Event{Kind: kind, Subject: r.Service + "/" + r.ID, Text: r.Address})
	}
	if n := len(servers) - maxTold; n > 0 {
		s.node.log.Info(message, "more", n)
	}
}

// Register implements api.Servers. The node keeps nothing in mind: a renewal may go to any node.
func (n *Node) Register(ctx context.Context, request api.RegisterRequest) (api.RegisterReply, error) {
	reply := api.RegisterReply{Service: request.Service, ID: request.ID, TTL: int64((request.TTL + time.Second - 1) / time.Second)}
	s, err := n.serving(ctx)
	if err != nil {
		return reply, err
	}
	value, err := json.Marshal(request.Registration)
	if err != nil {
		return reply, fmt.Errorf("encode registration: %w", err)
	}
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	key := RegistrationsPrefix + request.Service + "/" + request.ID
	var refused error // which trying again does not change
	err = persist(call, func(ctx context.Context) (err error) {
		reply.Renewed, err = s.keepRegistered(ctx, key, value, reply.TTL)
		if f, ok := errors.AsType[*api.Failure](err); ok {
			refused, err = f, nil
		}
		return err
	})
	switch {
	case refused != nil:
		return reply, refused
	case call.Err() != nil && ctx.Err() == nil:
		return reply, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	case err != nil:
		return reply, fmt.Errorf("write %s: %w", key, err)
	}
	reply.Pending = n.pending(request.Service)
	return reply, nil
}

// pending tells whether the document has no such service.
func (n *Node) pending(service string) bool {
	_, document, _, _ := n.docs.snapshot()
	if document == nil {
		return true
	}
	_, known := document.Services[service]
	return !known
}

// keepRegistered makes a key be there under a lease of ttl seconds that begin anew.
func (s *servers) keepRegistered(ctx context.Context, key string, value []byte, ttl int64) (renewed bool, err error) {
	for range swapAttempts {
		present, err := s.client.Get(ctx, key)
		if err != nil {
			return false, err
		}
		var revision int64
		done := false
		if len(present.Kvs) == 1 {
			revision = present.Kvs[0].ModRevision
			done, err = s.renew(ctx, present.Kvs[0], value, ttl)
		} else {
			err = s.roomToRegister(ctx)
		}
		if done || err != nil {
			return done, err
		}
		grant, err := s.client.Grant(ctx, ttl)
		if err != nil {
			return false, fmt.Errorf("take lease: %w", err)
		}
		done, err = s.putRegistered(ctx, key, value, revision, grant.ID)
		if done || err != nil {
			return revision != 0, err
		}
		if _, err := s.client.Revoke(ctx, grant.ID); err != nil {
			s.node.log.Debug("a lease that is not used is left to its end", "error", err)
		}
	}
	return false, errChanged
}

// renew keeps the lease of a key, and writes the key only if it says something else. It is not done if the key has no lease, as one
// that was written by hand, or another one than is asked for, or if it has just ended or changed.
func (s *servers) renew(ctx context.Context, kv *mvccpb.KeyValue, value []byte, ttl int64) (done bool, err error) {
	lease := clientv3.LeaseID(kv.Lease)
	if lease == 0 {
		return false, nil
	}
	kept, err := s.client.KeepAliveOnce(ctx, lease)
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		return false, nil
	case err != nil:
		return false, err
	case kept.TTL != ttl:
		return false, nil
	case sameRegistration(kv.Value, value):
		return true, nil
	}
	return s.putRegistered(ctx, string(kv.Key), value, kv.ModRevision, lease)
}

// putRegistered writes a key unless somebody else has changed it.
func (s *servers) putRegistered(ctx context.Context, key string, value []byte, revision int64, lease clientv3.LeaseID) (bool, error) {
	reply, err := s.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(key), "=", revision)).
		Then(clientv3.OpPut(key, string(value), clientv3.WithLease(lease))).Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return false, nil // it has ended just now
	}
	return err == nil && reply.Succeeded, err
}

// roomToRegister refuses one server more than may register.
func (s *servers) roomToRegister(ctx context.Context) error {
	reply, err := s.client.Get(ctx, RegistrationsPrefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err == nil && reply.Count >= maxRegistrations {
		return api.Fail(http.StatusTooManyRequests, fmt.Errorf("there are %d registrations, and no more may be: end some that are not needed (etcdctl get --prefix --keys-only %s)", reply.Count, RegistrationsPrefix))
	}
	return err
}

// sameRegistration tells whether two values say the same, however they are written.
func sameRegistration(a, b []byte) bool {
	one, err := api.ParseRegistration(a)
	if err != nil {
		return false
	}
	other, err := api.ParseRegistration(b)
	return err == nil && same(one, other)
}

// Deregister implements api.Servers.
func (n *Node) Deregister(ctx context.Context, service, id string) (bool, error) {
	s, err := n.serving(ctx)
	if err != nil {
		return false, err
	}
	if err := api.CheckRegistrationName(service, id); err != nil {
		return false, api.Fail(http.StatusBadRequest, err)
	}
	call, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	key := RegistrationsPrefix + service + "/" + id
	reply, err := ask(call, func(ctx context.Context) (*clientv3.DeleteResponse, error) { return s.client.Delete(ctx, key) })
	if err != nil && call.Err() != nil && ctx.Err() == nil {
		return false, api.Fail(http.StatusServiceUnavailable, n.noQuorum())
	}
	if err != nil {
		return false, fmt.Errorf("delete %s: %w", key, err)
	}
	return reply.Deleted > 0, nil
}

// Registrations implements api.Servers. It lists what this node knows.
func (n *Node) Registrations(context.Context) ([]api.RegisteredServer, error) {
	list := []api.RegisteredServer{}
	seen := n.servers.registered.Load()
	for service, servers := range seen.servers {
		pending := n.pending(service)
		for id, r := range servers {
			list = append(list, api.RegisteredServer{Service: service, ID: id, Registration: r, Pending: pending, Lasting: seen.lasting[service+"/"+id]})
		}
	}
	slices.SortFunc(list, func(a, b api.RegisteredServer) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}
