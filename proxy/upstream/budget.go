package upstream

import (
	"context"
	"sync"
	"time"
)

const (
	defaultRetries = 2
	defaultBudget  = 20
	// minBudget is how many requests may be retried at a time in any case: a share of few would be none.
	minBudget = 10
	// budgetWait is how long a retry waits for its turn. A server that dies fails all that it has at once, and that may be more than the share; a
	// service whose servers all fail must not be given more than that.
	budgetWait = time.Second
)

// Retries are those of RetriesConfig with its defaults.
type Retries struct {
	Most   int
	Budget int // percent
	Try    time.Duration
	Hedge  time.Duration
	Status []int
}

// retries fills in the defaults.
func (c *RetriesConfig) retries() Retries {
	r := Retries{Most: defaultRetries, Budget: defaultBudget}
	if c == nil {
		return r
	}
	if c.Most != nil {
		r.Most = *c.Most
	}
	if c.Budget != nil {
		r.Budget = *c.Budget
	}
	r.Try, r.Hedge, r.Status = c.Try, c.Hedge, c.Status
	return r
}

// budget bounds how many requests are sent again at a time.
type budget struct {
	mu      sync.Mutex
	running int
	waiting []chan struct{} // first come first served
}

// Retries are the service's. They are not to be changed.
func (s *Service) Retries() *Retries { return &s.view.Load().retries }

// Retry waits until a request may be sent again, which ends with EndRetry. It tells whether it may: not if the budget stays used up for too long, or ctx ends.
func (s *Service) Retry(ctx context.Context) bool {
	b := &s.budget
	b.mu.Lock()
	if s.enterRetry() {
		b.mu.Unlock()
		return true
	}
	if s.retryRoom() == 0 { // and there will be none
		b.mu.Unlock()
		s.overBudget.Add(1)
		return false
	}
	turn := make(chan struct{}, 1)
	b.waiting = append(b.waiting, turn)
	b.mu.Unlock()
	timer := time.NewTimer(budgetWait)
	defer timer.Stop()
	select {
	case <-turn:
		s.resent.Add(1)
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.waiting {
		if other == turn {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			s.overBudget.Add(1)
			return false
		}
	}
	s.resent.Add(1)
	return true // it was its turn just now
}

// RetryNow is Retry without waiting.
func (s *Service) RetryNow() bool {
	s.budget.mu.Lock()
	defer s.budget.mu.Unlock()
	return s.enterRetry()
}

// enterRetry counts a request that is sent again, if there is room and nobody waits for it. The budget is locked.
func (s *Service) enterRetry() bool {
	b := &s.budget
	if b.running >= s.retryRoom() || len(b.waiting) > 0 {
		return false
	}
	b.running++
	s.resent.Add(1)
	return true
}

// EndRetry ends what Retry began.
func (s *Service) EndRetry() {
	b := &s.budget
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running--
	for len(b.waiting) > 0 && b.running < s.retryRoom() {
		b.running++
		b.waiting[0] <- struct{}{}
		b.waiting = b.waiting[1:]
	}
}

// retryRoom is how many requests may be sent again at a time.
func (s *Service) retryRoom() int {
	percent := s.view.Load().retries.Budget
	if percent == 0 {
		return 0
	}
	return max(minBudget, int(s.running.Load())*percent/100)
}
