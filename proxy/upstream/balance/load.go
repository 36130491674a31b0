package balance

// load is what runs at a member, as it is compared.
type load struct {
	running int64
	weight  int64
	used    uint64
	full    bool
}

func (s *slot) load() load {
	n := s.place.running.Load()
	return load{int64(n), int64(s.weight), s.place.used.Load(), s.limit > 0 && n >= s.limit}
}

// below tells whether l has less for its weight than m. A full member has more than all others.
func (l load) below(m load) bool {
	if l.full != m.full {
		return m.full
	}
	return l.running*m.weight < m.running*l.weight
}

// before tells whether l is to be chosen rather than m, which comes after it in order when they are equal in all.
func (l load) before(m load) bool {
	if l.full != m.full {
		return m.full
	}
	// l.running/l.weight and m.running/m.weight compared without division.
	if a, b := l.running*m.weight, m.running*l.weight; a != b {
		return a < b
	}
	return l.used <= m.used
}

// scan finds the member to be chosen by looking at each; -1 if all were tried.
func scan(slots []slot, ask *Ask) int {
	best := -1
	var least load
	for i := range slots {
		if ask.tried(slots[i].place) {
			continue
		}
		if l := slots[i].load(); best < 0 || !least.before(l) {
			best, least = i, l
		}
	}
	return best
}
