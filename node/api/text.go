package api

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// maxRows bounds the rows of one table on the screen; -o json has all of them.
const maxRows = 40

// WriteText writes the status as one screen for a person, problems first.
func (s Status) WriteText(w io.Writer, now time.Time) {
	if len(s.Problems) == 0 {
		fmt.Fprintln(w, "All is well.")
	} else {
		fmt.Fprintln(w, "PROBLEMS")
		for _, p := range firstRows(s.Problems) {
			fmt.Fprintln(w, "  !", p)
		}
		more(w, len(s.Problems))
	}
	for _, p := range firstRows(s.Warnings) {
		fmt.Fprintln(w, "  -", p)
	}
	document := fmt.Sprintf("document revision %d", s.Revision)
	if s.Revision == 0 {
		document = "no document yet: tripod config apply FILE"
	}
	fmt.Fprintf(w, "\nCLUSTER  %s, %s, asked of %s\n", map[bool]string{true: "quorum", false: "NO QUORUM"}[s.Quorum], document, s.AskedOf)
	s.writeNodes(w)
	s.writeVIPs(w, now)
	s.writeLingering(w, now)
	s.writeListeners(w)
	s.writeServices(w, now)
	s.writePending(w)
	s.writeCertificates(w, now)
}

// table writes rows under a heading, aligned; the first row are the columns' names.
func table(w io.Writer, rows [][]string) {
	if len(rows) < 2 {
		return
	}
	fmt.Fprintln(w)
	var aligned strings.Builder
	t := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for i, row := range rows {
		if i > maxRows {
			break
		}
		fmt.Fprintln(t, strings.Join(row, "\t")) // empty cells too: without one its column would end
	}
	t.Flush() // a builder takes all
	for line := range strings.Lines(aligned.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
	more(w, len(rows)-1)
}

func firstRows(rows []string) []string { return rows[:min(len(rows), maxRows)] }

func more(w io.Writer, rows int) {
	if rows > maxRows {
		fmt.Fprintf(w, "  … and %d more: -o json shows all\n", rows-maxRows)
	}
}

func (s Status) writeNodes(w io.Writer) {
	rows := [][]string{{"NODE", "ADDRESS", "STATE", "ZONE", "VERSION", "APPLIED", "ROLE"}}
	for _, n := range s.Nodes {
		var role []string
		if n.Leader {
			role = append(role, "leader")
		}
		if n.RaftLeader {
			role = append(role, "raft leader")
		}
		if !n.Voter {
			role = append(role, "no voter")
		}
		rows = append(rows, []string{n.Name, n.Address.String(), n.StateText(), orDash(n.Zone), orDash(n.Version), fmt.Sprint(n.Applied), strings.Join(role, ", ")})
	}
	table(w, rows)
}

func (s Status) writeLingering(w io.Writer, now time.Time) {
	rows := [][]string{{"MOVED VIP", "CONNECTIONS GO ON AT", "COUNT", "CLOSED IN"}}
	for _, l := range s.Lingering {
		rows = append(rows, []string{l.Address.String(), l.Node, fmt.Sprint(l.Flows), span(l.Until.Sub(now))})
	}
	table(w, rows)
}

// StateText is the node's state for a person: a node that is down is draining still.
func (n NodeStatus) StateText() string {
	if n.Drain != nil && n.State != Draining {
		return n.State + ", " + Draining
	}
	return n.State
}

func (s Status) writeVIPs(w io.Writer, now time.Time) {
	rows := [][]string{{"VIP", "HOLDER", "EPOCH", "SINCE", "LAST FAILOVER"}}
	for _, v := range s.VIPs {
		since := "not held"
		if v.Held {
			since = ago(now, v.Since)
		}
		rows = append(rows, []string{v.Address.String(), orDash(v.Holder), fmt.Sprint(v.Epoch), since, v.Failover.Text(now)})
	}
	table(w, rows)
}

func (s Status) writeListeners(w io.Writer) {
	rows := [][]string{{"LISTENER", "ADDRESS", "PROTOCOL", "CONNECTIONS", ""}}
	for _, l := range s.Listeners {
		protocol := l.Protocol
		if l.TLS {
			protocol += " + tls"
		}
		rows = append(rows, []string{l.Name, l.Address, protocol, fmt.Sprint(l.Open), perNode(l.Errors)})
	}
	table(w, rows)
}

func (s Status) writeCertificates(w io.Writer, now time.Time) {
	rows := [][]string{{"CERTIFICATE", "HOSTS", "FROM", "EXPIRES"}}
	for _, c := range s.Certificates {
		hosts := c.Hosts
		if len(hosts) > 3 {
			hosts = append(slices.Clone(hosts[:3]), "…")
		}
		rows = append(rows, []string{c.Name, strings.Join(hosts, " "), string(c.Source), "in " + span(c.NotAfter.Sub(now))})
	}
	table(w, rows)
}

func perNode(errors map[string]string) string {
	byText := map[string][]string{}
	for node, text := range errors {
		byText[text] = append(byText[text], node)
	}
	var parts []string
	for text, nodes := range byText {
		slices.Sort(nodes)
		parts = append(parts, strings.Join(nodes, ", ")+": "+text)
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(now.Sub(t)) + " ago"
}

// span is a duration for a person: its largest unit.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
