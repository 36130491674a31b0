package upstream

import (
	"io"
	"time"
)

const (
	defaultPending = 1000
	defaultWait    = 5 * time.Second
)

// limits are those of LimitsConfig with its defaults.
type limits struct {
	connections, requests int64 // 0 is no limit
	pending               int
	wait                  time.Duration
}

func (c *LimitsConfig) limits() limits {
	l := limits{pending: defaultPending, wait: defaultWait}
	if c == nil {
		return l
	}
	l.connections, l.requests = int64(c.Connections), int64(c.Requests)
	if l.connections > 0 && (l.requests == 0 || l.requests > l.connections) {
		l.requests = l.connections // each has a connection of its own, and waits for it in its turn
	}
	if c.Pending != nil {
		l.pending = *c.Pending
	}
	if c.Wait != nil {
		l.wait = *c.Wait
	}
	return l
}

// EnterConnection counts a connection to a server of the service, unless there are as many as may be. It ends with LeaveConnection.
func (s *Service) EnterConnection() bool {
	most := s.view.Load().limits.connections
	if n := s.connections.Add(1); most > 0 && n > most {
		s.connections.Add(-1)
		return false
	}
	return true
}

// LeaveConnection ends what EnterConnection began.
func (s *Service) LeaveConnection() { s.connections.Add(-1) }

// Pools calls do with what is kept open to each of the service's servers, until that returns true.
func (s *Service) Pools(do func(io.Closer) bool) bool {
	for _, server := range s.view.Load().servers {
		if p := server.pool.Load(); p != nil && do(*p) {
			return true
		}
	}
	return false
}
