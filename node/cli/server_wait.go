package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tripod/node/api"
)

const (
	// idleWait is how long a command waits for a server to serve nothing, unless it is told otherwise.
	idleWait = 30 * time.Second
	// runningEvery is between two looks at what a server is serving.
	runningEvery = 100 * time.Millisecond
	longestIdle  = 30 * 24 * time.Hour
)

// waiting waits until a server serves nothing.
type waiting struct {
	terminal *terminal
	server   server
	wait     *time.Duration // nil is idleWait
	doing    string         // what the server is told to do
}

func (w waiting) check() error {
	if w.wait != nil && (*w.wait < 0 || *w.wait > longestIdle) {
		return &exitError{code: exitUsage, message: fmt.Sprintf("--wait is a time from 0s to %s, not %s", longestIdle, *w.wait)}
	}
	return nil
}

// name is the server for a person.
func (w waiting) name() string { return w.server.Service + " " + w.server.Address }

// run tells what the server is serving whenever that changes, until it is nothing and nobody may come.
func (w waiting) run(ctx context.Context, client *api.Client) error {
	if w.wait != nil && *w.wait == 0 {
		_, err := fmt.Fprintf(w.terminal.out, "%s %s\n", w.name(), w.doing)
		return err
	}
	began := time.Now()
	said, first := "", true
	for {
		call, cancel := context.WithTimeout(ctx, callTimeout)
		running, err := client.Running(call, w.server.Service, w.server.Address)
		cancel()
		if ctx.Err() != nil {
			return &exitError{code: exitFailed, message: fmt.Sprintf("no longer waiting: %s %s", w.name(), w.doing)}
		}
		text := "it is not known what runs: " + fmt.Sprint(err)
		if err == nil {
			text = runningText(running)
		}
		if _, kept := running.Kept(); err == nil && running.Closed() && running.Running == 0 && !kept {
			_, err := fmt.Fprintf(w.terminal.out, "%s %s and serves nothing\n", w.name(), w.doing)
			return err
		}
		if left := w.deadline(began, running); time.Now().After(left) {
			return &exitError{code: exitFailed, message: fmt.Sprintf("%s %s, but after %s %s%s", w.name(), w.doing, time.Since(began).Round(time.Second/10), text, w.hint(running))}
		}
		if text != said {
			said = text
			lead := ""
			if first {
				lead = w.name() + " " + w.doing + ": "
			}
			first = false
			fmt.Fprintln(w.terminal.out, lead+text)
		}
		select {
		case <-ctx.Done():
		case <-time.After(runningEvery):
		}
	}
}

// deadline is when to wait no longer. Where clients that a cookie keeps at the server may come until a certain time, that is waited for first, unless
// somebody says otherwise.
func (w waiting) deadline(began time.Time, running api.Running) time.Time {
	if w.wait != nil {
		return began.Add(*w.wait)
	}
	if until, kept := running.Kept(); kept && until.After(began) {
		return until.Add(idleWait)
	}
	return began.Add(idleWait)
}

// hint is what an operator can do about clients that do not leave.
func (w waiting) hint(running api.Running) string {
	if _, kept := running.Kept(); kept {
		return fmt.Sprintf(": tripod server maint %s %s sends them to other servers", w.server.Service, w.server.Address)
	}
	return ""
}

// runningText says what a server is serving.
func runningText(running api.Running) string {
	var parts []string
	switch running.Running {
	case 0:
		parts = append(parts, "nothing runs")
	case 1:
		parts = append(parts, "1 request runs")
	default:
		parts = append(parts, fmt.Sprintf("%d requests run", running.Running))
	}
	for _, node := range slices.Sorted(maps.Keys(running.Nodes)) {
		if !running.Nodes[node].Closed() {
			parts = append(parts, node+" gives it new ones still")
		}
	}
	if len(running.Silent) > 0 {
		parts = append(parts, strings.Join(running.Silent, " and ")+" does not say what runs there")
	}
	if until, kept := running.Kept(); kept {
		text := "clients that a cookie keeps there may come"
		if !until.IsZero() {
			text += " until " + until.Local().Format(time.DateTime)
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
