package rate

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Set are the limits of a node. A limit that the next document has too keeps its buckets.
type Set struct {
	Hasher
	start   time.Time
	table   atomic.Pointer[table]
	sources atomic.Int32 // other nodes that are listened to
	haste   atomic.Bool  // wake was written to, and not read yet
	wake    chan struct{}
}

// table are the limits of one document.
type table struct {
	byID   map[uint64]*Limit
	list   []*Limit
	places map[Place]*atomic.Uint64 // refused requests
}

// NewSet makes a set without limits. The secret is what the nodes have in common and clients do not know.
func NewSet(secret []byte) *Set {
	s := &Set{Hasher: NewHasher(secret), start: time.Now(), wake: make(chan struct{}, 1)}
	s.table.Store(&table{})
	return s
}

// Clock is a time as limits have it.
func (s *Set) Clock(t time.Time) time.Duration { return t.Sub(s.start) }

// hurry makes a batch be written soon. It never waits: only who sets haste writes to wake, and it is reset only when wake was read.
func (s *Set) hurry() {
	if !s.haste.Load() && s.haste.CompareAndSwap(false, true) {
		s.wake <- struct{}{}
	}
}

// Plan are the limits of a document that is not served yet.
type Plan struct {
	set    *Set
	former *table
	next   table
}

// Plan begins with a document. One at a time.
func (s *Set) Plan() *Plan {
	return &Plan{set: s, former: s.table.Load(), next: table{byID: map[uint64]*Limit{}, places: map[Place]*atomic.Uint64{}}}
}

// Limit is the limit that a spec says, the same one for the same spec.
func (p *Plan) Limit(s Spec) *Limit {
	id := s.id(p.set.Hasher)
	if l := p.next.byID[id]; l != nil {
		return l
	}
	refused := p.next.places[s.Place]
	if refused == nil {
		if refused = p.former.places[s.Place]; refused == nil {
			refused = &atomic.Uint64{}
		}
		p.next.places[s.Place] = refused
	}
	l := p.former.byID[id]
	if l == nil {
		l = newLimit(p.set, id, s)
		l.refused = refused
	}
	p.next.byID[id] = l
	p.next.list = append(p.next.list, l)
	return l
}

// Set is the set that the plan is for.
func (p *Plan) Set() *Set { return p.set }

// Commit makes the plan's limits those of the set.
func (p *Plan) Commit() { p.set.table.Store(&p.next) }

var _ prometheus.Collector = (*Set)(nil)

func limitedDesc() *prometheus.Desc {
	return prometheus.NewDesc("tripod_rate_limited_total", "Requests refused by a rate limit, by the route or the service that has it.",
		[]string{"route", "service"}, nil)
}

// Describe implements prometheus.Collector.
func (s *Set) Describe(out chan<- *prometheus.Desc) { out <- limitedDesc() }

// Collect implements prometheus.Collector.
func (s *Set) Collect(out chan<- prometheus.Metric) {
	desc := limitedDesc()
	for place, n := range s.table.Load().places {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n.Load()), place.Route, place.Service)
	}
}
