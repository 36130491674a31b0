package upstream

import (
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"tripod/proxy/upstream/balance"
)

// Ask is what a request (or TCP connection) tells for choosing a server, and what became of it. It may be used again after Reset.
type Ask struct {
	balance.Ask
	// Cookie is the tag of the server that keeps the client, as Sticky.Read has it; empty for none.
	Cookie string
	// Waited is how long the request has waited for its turn.
	Waited time.Duration
}

// Reset empties the ask, and keeps its memory.
func (a *Ask) Reset() {
	tried := a.Tried
	clear(tried)
	*a = Ask{}
	a.Tried = tried[:0]
}

// Try notes a server that failed the request, and is not to be chosen again.
func (a *Ask) Try(s *Server) { a.Tried = append(a.Tried, s.place) }

// Untry takes the last Try back.
func (a *Ask) Untry() { a.Tried = a.Tried[:len(a.Tried)-1] }

func (a *Ask) hasTried(s *Server) bool { return slices.Contains(a.Tried, s.place) }

// HashOf is the hash of what a request is known by, the same on every node.
func HashOf(text string) uint64 { return xxhash.Sum64String(text) }
