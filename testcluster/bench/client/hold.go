//go:build linux

package client

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"
)

// Held are connections that are open and idle.
type Held struct {
	target *Target
	all    []net.Conn
	hangUp []func()
}

// opening is how many connections are opened, or asked on, at a time.
const opening = 32

// Hold opens so many connections and asks once on each. They stay open until Close.
func Hold(ctx context.Context, t Target, connections int) (*Held, error) {
	h := &Held{target: &t, all: make([]net.Conn, connections), hangUp: make([]func(), connections)}
	err := h.each(func(i int) (err error) {
		if h.all[i], h.hangUp[i], err = t.dial(ctx, i, "http/1.1"); err != nil {
			return err
		}
		return h.ask(i)
	})
	if err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Ask asks once more on each connection, and so proves that all are still open.
func (h *Held) Ask() error { return h.each(h.ask) }

// Close closes the connections.
func (h *Held) Close() {
	for _, f := range h.hangUp {
		if f != nil {
			f()
		}
	}
}

func (h *Held) ask(i int) error {
	if err := h.all[i].SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	x := exchange{conn: h.all[i], request: h.target.request(i), answer: answer{want: h.target.Body}, buffer: make([]byte, 4<<10)}
	if err := x.one(); err != nil {
		return fmt.Errorf("connection %d of %d: %w", i+1, len(h.all), err)
	}
	return nil
}

// each does something with every connection, with some at a time.
func (h *Held) each(f func(int) error) error {
	var workers sync.WaitGroup
	failed := make([]error, opening)
	for w := range opening {
		workers.Go(func() {
			for i := w; i < len(h.all) && failed[w] == nil; i += opening {
				failed[w] = f(i)
			}
		})
	}
	workers.Wait()
	if i := slices.IndexFunc(failed, func(err error) bool { return err != nil }); i >= 0 {
		return failed[i] // the others will have failed for the same reason
	}
	return nil
}
