package h2

// queue is a line of streams that wait for their turn with what the connection has once.
type queue struct{ first, last *Stream }

func (q *queue) empty() bool { return q.first == nil }

func (q *queue) push(s *Stream) {
	s.queue, s.before, s.after = q, q.last, nil
	if q.last != nil {
		q.last.after = s
	} else {
		q.first = s
	}
	q.last = s
}

func (q *queue) remove(s *Stream) {
	if s.before != nil {
		s.before.after = s.after
	} else {
		q.first = s.after
	}
	if s.after != nil {
		s.after.before = s.before
	} else {
		q.last = s.before
	}
	s.queue, s.before, s.after = nil, nil, nil
}

// wake gives the first its turn. It passes it on when it has had it.
func (q *queue) wake() {
	if s := q.first; s != nil {
		q.remove(s)
		s.send.cond.Signal()
	}
}
