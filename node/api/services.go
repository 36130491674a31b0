package api

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"tripod/node/config"
	"tripod/proxy/upstream"
)

// ServiceStatus is one service on all nodes that answered.
type ServiceStatus struct {
	Name    string         `json:"name"`
	Servers []ServerStatus `json:"servers"`
	// Queued are requests that wait for their turn.
	Queued int64 `json:"queued,omitempty"`
	// Names are names of servers that name servers do not know, and why.
	Names map[string]string `json:"names,omitempty"`
}

// ServerStatus is one server, with its state as each node sees it.
type ServerStatus struct {
	Address string `json:"address"`
	// Name is the address as the document has it, where it is a name.
	Name string `json:"name,omitempty"`
	// Registration is the ID of a server that registered itself.
	Registration string                    `json:"registration,omitempty"`
	Weight       int                       `json:"weight"`
	Backup       bool                      `json:"backup,omitempty"`
	Zone         string                    `json:"zone,omitempty"`
	Up           map[string]bool           `json:"up"`    // by node: what the checks say
	State        map[string]upstream.State `json:"state"` // by node: what it may get
	// Percent is the share of its weight that counts, by node, where that is below 100.
	Percent map[string]int `json:"percent,omitempty"`
	// Why is why it is in a state other than up, by node, and Next when it is asked or let in again.
	Why      map[string]string    `json:"why,omitempty"`
	Next     map[string]time.Time `json:"next,omitempty"`
	Errors   map[string]string    `json:"errors,omitempty"` // by node: the last failed check
	Since    map[string]time.Time `json:"since,omitempty"`  // by node: when it got its state
	By       string               `json:"by,omitempty"`     // who ordered a state or weight
	Requests uint64               `json:"requests"`         // on all nodes
	Active   int64                `json:"active"`
}

// In tells on which nodes a server is in one of the states.
func (s ServerStatus) In(states ...upstream.State) []string {
	var nodes []string
	for _, node := range slices.Sorted(maps.Keys(s.State)) {
		if slices.Contains(states, s.State[node]) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// stateOrder is how states are listed: what is worst comes first.
func stateOrder() []upstream.State {
	return []upstream.State{upstream.StateDown, upstream.StateEjected, upstream.StateMaint, upstream.StateDrain, upstream.StateChecking}
}

// StateText sums up for a person what the nodes give the server.
func (s ServerStatus) StateText(now time.Time) string {
	var parts []string
	for _, state := range stateOrder() {
		nodes := s.In(state)
		if len(nodes) == 0 {
			continue
		}
		text := string(state)
		switch state {
		case upstream.StateDown, upstream.StateEjected:
			text = strings.ToUpper(text)
		}
		if until := s.latest(nodes); state == upstream.StateEjected && until.After(now) {
			text += " for " + span(until.Sub(now))
		}
		if len(nodes) < len(s.State) {
			text += " on " + strings.Join(nodes, ", ")
		}
		parts = append(parts, text)
	}
	switch {
	case len(parts) > 0:
		return strings.Join(parts, "; ")
	case len(s.State) == 0:
		return "unknown"
	case len(s.Percent) > 0:
		return fmt.Sprintf("up %d%%", slices.Min(slices.Collect(maps.Values(s.Percent))))
	}
	return "up"
}

// latest is when the last of the nodes asks the server again, or lets it in; zero is never.
func (s ServerStatus) latest(nodes []string) time.Time {
	var last time.Time
	for _, node := range nodes {
		if next := s.Next[node]; next.After(last) {
			last = next
		}
	}
	return last
}

// Entered is when the server last got another state on one of the nodes.
func (s ServerStatus) Entered() time.Time {
	var last time.Time
	for _, t := range s.Since {
		if t.After(last) {
			last = t
		}
	}
	return last
}

// WhyText says why the server is in its state, by node where they do not agree.
func (s ServerStatus) WhyText() string {
	texts := map[string]bool{}
	for _, text := range s.Why {
		texts[text] = true
	}
	if len(texts) == 1 && len(s.Why) == len(s.State) {
		for text := range texts {
			return line(text)
		}
	}
	return line(perNode(s.Why))
}

// NextText says when the server is asked or let in again on the first of the nodes where it gets nothing; a dash is never.
func (s ServerStatus) NextText(now time.Time) string {
	var first time.Time
	for _, node := range s.In(upstream.StateDown, upstream.StateEjected, upstream.StateChecking) {
		if next := s.Next[node]; !next.IsZero() && (first.IsZero() || next.Before(first)) {
			first = next
		}
	}
	switch {
	case first.IsZero():
		return "-"
	case first.Before(now):
		return "now"
	}
	return "in " + span(first.Sub(now))
}

// WeightText is the server's weight and what else there is to its share.
func (s ServerStatus) WeightText() string {
	if s.Backup {
		return fmt.Sprint(s.Weight, " backup")
	}
	return fmt.Sprint(s.Weight)
}

// AddressText is the server's address, with the name that it stands for, and a mark on one that registered itself.
func (s ServerStatus) AddressText() string {
	text := s.Address
	if s.Name != "" {
		text += " (" + s.Name + ")"
	}
	if s.Registration != "" {
		text += " registered"
	}
	return text
}

// line keeps somebody's text on one line.
func line(text string) string { return strings.Join(strings.Fields(text), " ") }

func (s Status) writeServices(w io.Writer, now time.Time) {
	rows := [][]string{{"SERVICE", "SERVER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "REQUESTS", ""}}
	for _, service := range s.Services {
		for i, server := range service.Servers {
			name := ""
			if i == 0 {
				name = service.Name
			}
			why := server.WhyText()
			if next := server.NextText(now); next != "-" {
				why = strings.TrimPrefix(why+"; next try "+next, "; ")
			}
			rows = append(rows, []string{name, server.AddressText(), server.StateText(now), ago(now, server.Entered()), server.WeightText(),
				fmt.Sprint(server.Active), fmt.Sprint(server.Requests), why})
		}
	}
	table(w, rows)
}

// writePending lists servers that wait for their service.
func (s Status) writePending(w io.Writer) {
	rows := [][]string{{"PENDING SERVICE", "SERVER", "ID"}}
	for _, r := range s.Pending {
		rows = append(rows, []string{r.Service, r.Address, r.ID})
	}
	table(w, rows)
}

// ServerList is all servers, those that wait for their service among them.
type ServerList struct {
	Services []ServiceStatus    `json:"services"`
	Pending  []RegisteredServer `json:"pending"`
}

// Servers are the servers of the status.
func (s Status) Servers() ServerList {
	return ServerList{Services: append([]ServiceStatus{}, s.Services...), Pending: append([]RegisteredServer{}, s.Pending...)}
}

// OfService is the status with the servers of one service alone. It is an error if there is no such service.
func (s Status) OfService(name string) (Status, error) {
	var names []string
	one := s
	one.Services, one.Pending = nil, nil
	for _, service := range s.Services {
		names = append(names, service.Name)
		if service.Name == name {
			one.Services = append(one.Services, service)
		}
	}
	for _, r := range s.Pending {
		if r.Service == name {
			one.Pending = append(one.Pending, r)
		}
	}
	if len(one.Services) > 0 || len(one.Pending) > 0 {
		return one, nil
	}
	hint := config.DidYouMean(name, names)
	if hint == "" && len(names) > 0 {
		hint = "; there is " + strings.Join(firstRows(names), ", ")
	}
	return one, fmt.Errorf("no service is named %q%s", cut(name), hint)
}

// ServersText is a table of the servers for a person: the first row are the columns' names.
func (s Status) ServersText(now time.Time) [][]string {
	rows := [][]string{{"SERVICE", "SERVER", "STATE", "SINCE", "WEIGHT", "ACTIVE", "REQUESTS", "NEXT TRY", "ZONE", "WHY"}}
	for _, one := range s.Services {
		for _, server := range one.Servers {
			rows = append(rows, []string{one.Name, server.AddressText(), server.StateText(now), ago(now, server.Entered()), server.WeightText(),
				fmt.Sprint(server.Active), fmt.Sprint(server.Requests), server.NextText(now), orDash(server.Zone), orDash(server.WhyText())})
		}
	}
	for _, r := range s.Pending {
		weight := "1"
		if r.Weight != nil {
			weight = fmt.Sprint(*r.Weight)
		}
		rows = append(rows, []string{r.Service, r.Address + " registered", "pending", "-", weight, "0", "0", "-", orDash(r.Zone), "the document has no such service"})
	}
	return rows
}
