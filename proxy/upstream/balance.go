package upstream

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

const (
	maxWeight = 256
	// smoothWork bounds the steps of building a schedule by nginx's algorithm, which takes servers × turns.
	smoothWork = 1 << 20
	// maxSchedule bounds the turns of one round, unless there are more servers than a quarter of it.
	maxSchedule = 4096
	// walk is how many turns of the schedule are tried before every server is asked once.
	walk = 8
	// sample is how many of very many servers the least busy one is sought among.
	sample = 16
)

// view is the immutable choice that a service has between two changes.
type view struct {
	members  []member
	schedule []uint32         // indexes of members, one round
	sticky   map[string]int32 // cookie value to index of members
	cookie   string
	least    bool
	pending  bool          // a server that could be chosen was never checked yet, and no other is up
	gone     bool          // the service has left the document
	changed  chan struct{} // closed when this view is replaced
}

// member is a server that may be chosen.
type member struct {
	server *Server
	weight int64
	limit  int64 // running requests; 0 is no limit
}

// take counts a request at the server unless it has its maximum.
func (m *member) take() bool {
	n := m.server.active.Add(1)
	if m.limit > 0 && n > m.limit {
		m.server.active.Add(-1)
		return false
	}
	return true
}

func (c ServerConfig) weight() int {
	if c.Weight == nil {
		return 1
	}
	return *c.Weight
}

// newView builds the view of servers, which stand in the order of c.Servers. Their service's mutex is held.
func newView(c Config, servers []*Server) *view {
	v := &view{changed: make(chan struct{}), least: c.Balance == LeastRequests}
	if c.Sticky != nil {
		v.cookie = c.Sticky.Cookie
	}
	var backups []member
	unchecked := false
	for i, s := range servers {
		sc := c.Servers[i]
		m := member{server: s, weight: int64(sc.weight()), limit: int64(sc.MaxConnections)}
		switch {
		case m.weight == 0:
		case !s.up:
			unchecked = unchecked || !s.checked
		case sc.Backup:
			backups = append(backups, m)
		default:
			v.members = append(v.members, m)
		}
	}
	if len(v.members) == 0 {
		v.members = backups
	}
	v.pending = len(v.members) == 0 && unchecked
	if !v.least {
		v.schedule = schedule(v.members)
	}
	if v.cookie != "" {
		v.sticky = make(map[string]int32, len(v.members))
		for i := range v.members {
			v.sticky[v.members[i].server.cookie] = int32(i)
		}
	}
	return v
}

// choose takes a server that was not tried yet.
func (v *view) choose(turn *atomic.Uint64, cookie string, tried []*Server) (*Server, error) {
	if len(v.members) == 0 {
		if v.gone {
			return nil, ErrGone
		}
		return nil, ErrNoneUp
	}
	if cookie != "" && v.sticky != nil {
		if i, ok := v.sticky[cookie]; ok {
			m := &v.members[i]
			if !slices.Contains(tried, m.server) && m.take() {
				return m.server, nil
			}
		}
	}
	if v.least {
		return v.chooseLeast(turn, tried)
	}
	start := turn.Add(1) - 1
	n := uint64(len(v.schedule))
	for i := range min(n, walk) {
		m := &v.members[v.schedule[(start+i)%n]]
		if !slices.Contains(tried, m.server) && m.take() {
			return m.server, nil
		}
	}
	return v.chooseAny(start, tried)
}

// chooseAny asks every server once, from the given place on.
func (v *view) chooseAny(start uint64, tried []*Server) (*Server, error) {
	n := uint64(len(v.members))
	err := ErrNoneUp
	for i := range n {
		m := &v.members[(start+i)%n]
		if slices.Contains(tried, m.server) {
			continue
		}
		if m.take() {
			return m.server, nil
		}
		err = ErrFull
	}
	return nil, err
}

// chooseLeast takes the server with the fewest running requests for its weight; of equal ones each in turn.
// Among very many servers it looks at a sample, which is as good within a fraction of a request.
func (v *view) chooseLeast(turn *atomic.Uint64, tried []*Server) (*Server, error) {
	start := turn.Add(1) - 1
	n := uint64(len(v.members))
	looks, random := n, false
	if n > 4*sample {
		looks, random = sample, true
	}
	var best *member
	bestActive := int64(math.MaxInt64 / (2 * maxWeight))
	for i := range looks {
		at := (start + i) % n
		if random {
			at = rand.Uint64N(n)
		}
		m := &v.members[at]
		active := m.server.active.Load()
		if m.limit > 0 && active >= m.limit || slices.Contains(tried, m.server) {
			continue
		}
		// (active+1)/weight compared without division.
		if best == nil || (active+1)*best.weight < (bestActive+1)*m.weight {
			best, bestActive = m, active
		}
	}
	if best != nil && best.take() {
		return best.server, nil
	}
	return v.chooseAny(start, tried)
}

// schedule lays out one round in which every member has as many turns as its weight, spread evenly.
func schedule(members []member) []uint32 {
	if len(members) == 0 {
		return nil
	}
	weights, total := reduce(members)
	turns := make([]uint32, 0, total)
	if total == len(members) {
		for i := range members {
			turns = append(turns, uint32(i))
		}
		return turns
	}
	if total*len(members) > smoothWork {
		return spread(weights, total)
	}
	// Smooth weighted round robin, as nginx does it: each turn everybody gains his weight, the richest is
	// chosen and pays the total.
	credit := make([]int, len(weights))
	for range total {
		best := 0
		for i, w := range weights {
			credit[i] += w
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		turns = append(turns, uint32(best))
	}
	return turns
}

// reduce divides the weights by what they have in common, and scales them down if a round were very long.
func reduce(members []member) (weights []int, total int) {
	common, sum := 0, 0
	for _, m := range members {
		common = gcd(int(m.weight), common)
		sum += int(m.weight)
	}
	limit := max(maxSchedule, 4*len(members))
	weights = make([]int, len(members))
	for i, m := range members {
		w := int(m.weight) / common
		if sum/common > limit {
			w = max(1, int(m.weight)*limit/sum)
		}
		weights[i] = w
		total += w
	}
	return weights, total
}

// spread places the turns of each member at even distances, each member's first at another place, in
// n log n steps.
func spread(weights []int, total int) []uint32 {
	type turn struct {
		at     float64
		member uint32
	}
	const golden = 0.618033988749895 // multiples of it, modulo one, fall evenly (Knuth, TAOCP 3, §6.4)
	turns := make([]turn, 0, total)
	for i, w := range weights {
		_, phase := math.Modf(float64(i) * golden)
		for k := range w {
			turns = append(turns, turn{at: (float64(k) + phase) / float64(w), member: uint32(i)})
		}
	}
	slices.SortFunc(turns, func(a, b turn) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.member, b.member))
	})
	out := make([]uint32, len(turns))
	for i, t := range turns {
		out[i] = t.member
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
