// Package resolve asks name servers for the addresses of servers, and again when what they said expires.
package resolve

import (
	"context"
	"log/slog"
	"time"
)

// Question is what is asked for.
type Question struct {
	// Name is a host's, or with SRV that of its records, as in _http._tcp.web.example.com.
	Name string
	SRV  bool
}

// Target is one address that a name stands for.
type Target struct {
	// Address is an IP address; with SRV it comes with its Port and Weight, and the Host that the record names.
	Address string
	Host    string
	Port    int
	Weight  int
}

// Answer is what is known of a name. It is not to be changed.
type Answer struct {
	// Targets are in order, without repetition. They stay those of the last good answer when asking fails.
	Targets []Target
	// Err is why asking failed last; nil if it did not.
	Err error
	// Next is when it is asked again.
	Next time.Time
}

// Options are a resolver's surroundings.
type Options struct {
	// Servers are the name servers, as address:port; empty are the system's.
	Servers []string
	Log     *slog.Logger // nil discards
}

// Resolver asks for any number of names.
type Resolver struct{}

// New returns a resolver that asks nothing before it is opened.
func New(o Options) *Resolver { return &Resolver{} }

// Open starts to ask.
func (r *Resolver) Open(ctx context.Context) error { return nil }

// Close ends all watches, and waits for them.
func (r *Resolver) Close(ctx context.Context) error { return nil }

// Watch asks for a name now, and again whenever the answer expires, and calls changed with each answer that differs from the one before. It is called from
// another goroutine, one call at a time, and the last may come while the watch is ended.
func (r *Resolver) Watch(q Question, changed func(Answer)) *Watch { return &Watch{} }

// Watch is a name that is asked for.
type Watch struct{}

// End ends the watch. It does not wait.
func (w *Watch) End() {}
