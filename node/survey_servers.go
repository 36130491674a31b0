package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tripod/node/api"
	"tripod/proxy/upstream"
)

// services puts together what the nodes say about their servers, and says what is wrong.
func (s *survey) services() {
	merged := map[string]*serviceSurvey{}
	for _, node := range s.names() {
		for _, service := range s.locals[node].Proxy.Services {
			m := merged[service.Name]
			if m == nil {
				m = &serviceSurvey{name: service.Name, servers: map[string]*api.ServerStatus{}, names: map[string]string{}}
				merged[service.Name] = m
			}
			m.add(node, service)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(merged)) {
		m := merged[name]
		service := api.ServiceStatus{Name: name, Queued: m.queued, Names: m.names}
		for _, address := range m.order {
			server := *m.servers[address]
			service.Servers = append(service.Servers, server)
			s.server(name, server)
		}
		if m.queued > 0 {
			s.problem("service %s: %d requests wait for their turn", name, m.queued)
		}
		for _, host := range slices.Sorted(maps.Keys(m.names)) {
			s.problem("service %s: %s is not resolved: %s", name, host, firstLine(m.names[host]))
		}
		s.status.Services = append(s.status.Services, service)
	}
	s.ordered(merged)
	s.registrations(merged)
}

// serviceSurvey is one service on all nodes.
type serviceSurvey struct {
	name    string
	order   []string // servers, in the document's order
	servers map[string]*api.ServerStatus
	queued  int64
	names   map[string]string
}

func (m *serviceSurvey) add(node string, service upstream.ServiceStatus) {
	m.queued += service.Queued
	for host, why := range service.Names {
		m.names[host] = cmp.Or(m.names[host], why)
	}
	for _, server := range service.Servers {
		one := m.servers[server.Address]
		if one == nil {
			one = &api.ServerStatus{
				Address: server.Address, Name: server.Name, Registration: server.Registration, Weight: server.Weight, Backup: server.Backup, Zone: server.Zone,
				Up: map[string]bool{}, State: map[string]upstream.State{}, Percent: map[string]int{}, Why: map[string]string{},
				Next: map[string]time.Time{}, Errors: map[string]string{}, Since: map[string]time.Time{},
			}
			m.servers[server.Address] = one
			m.order = append(m.order, server.Address)
		}
		one.Up[node], one.State[node], one.Since[node] = server.Up, server.State, server.Entered
		one.By = cmp.Or(one.By, server.By)
		one.Requests += server.Total
		one.Active += server.Active
		if server.Percent < 100 {
			one.Percent[node] = server.Percent
		}
		if server.Why != "" {
			one.Why[node] = server.Why
		}
		if !server.Next.IsZero() {
			one.Next[node] = server.Next
		}
		if server.Error != "" && !server.Up {
			one.Errors[node] = server.Error
		}
	}
}

// server says what is wrong with one server, and reminds of what somebody has ordered.
func (s *survey) server(service string, server api.ServerStatus) {
	for _, bad := range []struct {
		state upstream.State
		words string
	}{{upstream.StateDown, "is down"}, {upstream.StateEjected, "is ejected"}} {
		nodes := server.In(bad.state)
		if len(nodes) == 0 {
			continue
		}
		where := "on " + strings.Join(nodes, ", ")
		if len(nodes) == len(server.State) {
			where = "on all nodes"
		}
		why := ""
		for _, node := range nodes {
			why = cmp.Or(why, strings.TrimPrefix(server.Why[node], "ejected: "), server.Errors[node])
		}
		s.problem("service %s: server %s %s %s: %s", service, server.Address, bad.words, where, firstLine(cmp.Or(why, "no reason is known")))
	}
	nodes := server.In(upstream.StateDrain, upstream.StateMaint)
	if len(nodes) == 0 {
		return
	}
	state, why := server.State[nodes[0]], server.Why[nodes[0]]
	if order, ordered := s.orders().servers[service][server.Address]; ordered && string(order.State) == string(state) {
		by := ""
		if order.By != "" {
			by = " (" + firstLine(shorten(order.By)) + ")"
		}
		until := ""
		if !order.Until.IsZero() && time.Now().Before(order.Until) {
			until = ", clients that a cookie keeps there stay until " + order.Until.Local().Format(time.DateTime)
		}
		s.warn("service %s: server %s is in %s%s%s: tripod server ready %s %s ends that", service, server.Address, state, by, until, service, server.Address)
		return
	}
	if server.Registration == "" { // one that registered itself is about to stop, and says so each time
		s.warn("service %s: server %s is in %s: %s", service, server.Address, state, firstLine(cmp.Or(why, "no reason is known")))
	}
}

func (s *survey) orders() *orders { return s.node.servers.orders.Load() }

// ordered reminds of orders for servers that are not there, and of keys that do not do what their author meant.
func (s *survey) ordered(merged map[string]*serviceSurvey) {
	o := s.orders()
	var missing []string
	for service, servers := range o.servers {
		for address := range servers {
			if m := merged[service]; m == nil || m.servers[address] == nil {
				missing = append(missing, service+"/"+address)
			}
		}
	}
	slices.Sort(missing)
	s.each(missing, func(key string) {
		s.warn("%s%s is an order for a server that is not there", AdminServersPrefix, shorten(key))
	},
		"%d more orders are for servers that are not there", s.warn)
	s.rubbish(AdminServersPrefix, o.rubbish)
	if o.more {
		s.problem("there are more than %d keys below %s: those that come later by name are ignored", maxOrders, AdminServersPrefix)
	}
}

// registrations tells of servers that wait for their service, and of keys that do not do what their author meant.
func (s *survey) registrations(merged map[string]*serviceSurvey) {
	seen := s.node.servers.registered.Load()
	var lasting, second []string
	for service, servers := range seen.servers {
		for id, r := range servers {
			key := service + "/" + id
			m := merged[service]
			if m == nil {
				s.status.Pending = append(s.status.Pending, api.RegisteredServer{Service: service, ID: id, Registration: r, Pending: true, Lasting: seen.lasting[key]})
			} else if one := m.servers[r.Address]; one != nil && one.Registration != id {
				second = append(second, key)
			}
			if seen.lasting[key] {
				lasting = append(lasting, key)
			}
		}
	}
	slices.SortFunc(s.status.Pending, func(a, b api.RegisteredServer) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.ID, b.ID))
	})
	var waiting []string
	for _, p := range s.status.Pending {
		waiting = append(waiting, fmt.Sprintf("server %s (%s) registered with service %s", p.Address, p.ID, shorten(p.Service)))
	}
	s.each(waiting, func(who string) { s.warn("%s, which is not in the document: it waits for that", who) }, "%d more servers wait for their service", s.warn)
	slices.Sort(lasting)
	s.each(lasting, func(key string) {
		s.warn("%s%s has no lease: it stays until somebody deletes it", RegistrationsPrefix, key)
	},
		"%d more registrations have no lease", s.warn)
	slices.Sort(second)
	s.each(second, func(key string) {
		s.warn("%s%s has no effect: another server of the service has its address, in the document or by another registration", RegistrationsPrefix, key)
	}, "%d more registrations have no effect", s.warn)
	s.rubbish(RegistrationsPrefix, seen.rubbish)
	if seen.more {
		s.problem("there are more than %d keys below %s: those that come later by name are ignored", maxRegistrations, RegistrationsPrefix)
	}
}

// each tells the first of many things, and how many more there are.
func (s *survey) each(things []string, tell func(string), more string, tellMore func(string, ...any)) {
	for _, thing := range things[:min(len(things), maxTold)] {
		tell(thing)
	}
	if n := len(things) - maxTold; n > 0 {
		tellMore(more, n)
	}
}

// rubbish tells of keys that say nothing.
func (s *survey) rubbish(prefix string, keys map[string]string) {
	s.each(slices.Sorted(maps.Keys(keys)), func(key string) {
		s.problem("%s%s is ignored: %s", prefix, firstLine(shorten(key)), firstLine(keys[key]))
	},
		"%d more keys below "+prefix+" are ignored", s.problem)
}
