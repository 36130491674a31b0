package h2

// Watcher is told that nobody waits for an answer any more.
type Watcher interface {
	// ClientGone is called at most once, on another goroutine, when the client resets the stream or the connection ends before the stream is
	// over. It holds up the connection: it must not block.
	ClientGone()
}

// Watch has w called when the client goes away; at once if it has. With nil nobody is called any more: when it returns, no call is running
// and none will come.
func (s *Stream) Watch(w Watcher) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w == nil {
		s.unwatch()
		return
	}
	if s.settled {
		return
	}
	s.watcher = w
	if s.err != nil {
		s.calling++
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			s.callWatcher()
		}()
	}
}

// unwatch takes the watcher away, and waits for the end of a call that is running.
func (s *Stream) unwatch() {
	s.watcher = nil
	for s.calling > 0 {
		s.watching.Wait()
	}
}

// callWatcher calls the watcher, if it is still wanted. The mutex is not held; s.calling counts the call.
func (s *Stream) callWatcher() {
	c := s.c
	c.mu.Lock()
	w := s.watcher
	s.watcher = nil
	c.mu.Unlock()
	if w != nil {
		w.ClientGone()
	}
	c.mu.Lock()
	s.calling--
	s.watching.Broadcast()
	c.mu.Unlock()
}
