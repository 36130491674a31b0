package demo

import (
	"fmt"
	"sync"
	"time"
)

const keptLines = 200

// story is what has happened so far, in lines for a person.
type story struct {
	began time.Time

	mu    sync.Mutex
	print func(string) // nil: only kept
	lines []string
}

func newStory() *story { return &story{began: time.Now()} }

// tellTo prints what is told from now on; nil only keeps it.
func (s *story) tellTo(print func(string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.print = print
}

func (s *story) tell(format string, args ...any) {
	line := fmt.Sprintf("%7.2fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
	if len(s.lines) > keptLines {
		s.lines = s.lines[1:]
	}
	if s.print != nil {
		s.print(line)
	}
}

func (s *story) last(n int) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.lines[max(0, len(s.lines)-n):]...)
}
