//go:build linux

package lab

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
)

// T is what the lab needs of a test. *testing.T and *testing.B have it; [Script] gives it to a program.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Failed() bool
	Cleanup(f func())
}

// Script runs a story outside a test, in a benchmark program for instance, and returns what went wrong in it.
// What the story logs goes to out.
func Script(out io.Writer, story func(t T)) error {
	s := &script{out: out}
	ended := make(chan struct{})
	go func() {
		defer close(ended) // also after Fatalf
		story(s)
	}()
	<-ended
	for s.cleanOne() {
	}
	return errors.Join(s.errs...)
}

type script struct {
	out      io.Writer
	mu       sync.Mutex
	errs     []error
	cleanups []func()
}

// Helper does nothing: a script names no lines.
func (s *script) Helper() {}

// Logf writes a line.
func (s *script) Logf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
}

// Errorf notes a failure; the story goes on.
func (s *script) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, fmt.Errorf(format, args...))
}

// Fatalf notes a failure and ends the story.
func (s *script) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

// Skipf ends the story too: a program was asked to run it.
func (s *script) Skipf(format string, args ...any) { s.Fatalf(format, args...) }

// Failed says whether anything has failed.
func (s *script) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.errs) > 0
}

// Cleanup runs f after the story, the last one first.
func (s *script) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// cleanOne runs the last cleanup, which may itself end by Fatalf.
func (s *script) cleanOne() bool {
	s.mu.Lock()
	last := len(s.cleanups) - 1
	if last < 0 {
		s.mu.Unlock()
		return false
	}
	f := s.cleanups[last]
	s.cleanups = s.cleanups[:last]
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	<-ended
	return true
}
