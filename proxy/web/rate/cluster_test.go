package rate

import (
	"fmt"
	"testing"
	"time"
)

// member is one node of a cluster whose time and network are made up.
type member struct {
	set     *Set
	limit   *Limit
	journal *Journal
	sources []*Source
	wrote   time.Duration
	let     int
}

func cluster(t *testing.T, n int, rate string, burst int64, whole bool) []*member {
	t.Helper()
	all := make([]*member, n)
	for i := range all {
		m := &member{}
		m.set, m.limit = limitOf(t, rate, burst, whole)
		m.journal = m.set.Journal()
		all[i] = m
	}
	for _, m := range all {
		for range n {
			m.sources = append(m.sources, m.set.Source())
		}
		m.set.sources.Store(int32(n - 1))
	}
	return all
}

// parcel is a batch on its way.
type parcel struct {
	from   int
	at     time.Duration
	number uint64
}

// TestLoadsAddUp is the promise: over three seconds and more, from the first burst on, nodes let through together what the limit says,
// whatever their shares are; at most a tenth more, and at least nine tenths. A batch is two milliseconds on its way, or thirty.
func TestLoadsAddUp(t *testing.T) {
	for _, c := range []struct {
		name   string
		shares []float64
	}{
		{"uneven", []float64{.8, .15, .05}}, {"one node", []float64{1, 0, 0}}, {"even", []float64{1. / 3, 1. / 3, 1. / 3}}, {"seven", []float64{.3, .2, .1, .1, .1, .1, .1}},
	} {
		for _, limit := range []struct {
			rate  string
			burst int64
		}{{"100/s", 0}, {"100/s", 200}, {"1000/m", 0}, {"10/s", 0}, {"2000/s", 0}, {"1000/s", 20}} {
			kinds(t, func(t *testing.T, whole bool) {
				for i, times := range []float64{1.2, 3, 10, 3} { // the limit
					late := 2 * time.Millisecond
					if i == 3 {
						late = 30 * time.Millisecond
					}
					name := fmt.Sprintf("%s, %s, burst %d, %g times the limit, after %s", c.name, limit.rate, limit.burst, times, late)
					all := cluster(t, len(c.shares), limit.rate, limit.burst, whole)
					simulate(t, name, all, c.shares, times, late)
				}
			})
		}
	}
}

func simulate(t *testing.T, name string, all []*member, shares []float64, times float64, late time.Duration) {
	t.Helper()
	const step = time.Millisecond / 4
	l := all[0].limit
	demand := times / float64(l.interval) // requests in a nanosecond
	asked, came := make([]float64, len(all)), 0
	var way []parcel
	origin := time.Now()
	for now := time.Duration(0); now <= 5*time.Second; now += step {
		for i, m := range all {
			for asked[i] += demand * shares[i] * float64(step); asked[i] >= 1; asked[i]-- {
				came++
				if _, ok := m.limit.Take(5, now); ok {
					m.let++
				}
			}
			due := now-m.wrote >= tellEvery
			if due || m.set.haste.Load() && now-m.wrote >= tellSoonest {
				if m.set.haste.Load() {
					<-m.set.wake
					m.set.haste.Store(false)
				}
				before := m.journal.next
				m.journal.write(due, origin.Add(now))
				m.wrote = now
				for n := before; n < m.journal.next; n++ {
					way = append(way, parcel{i, now, n})
				}
			}
		}
		for len(way) > 0 && now-way[0].at >= late {
			deliver(all, way[0], now)
			way = way[1:]
		}
		if now < 3*time.Second || now%(500*time.Millisecond) != 0 {
			continue
		}
		let := 0
		for _, m := range all {
			let += m.let
		}
		most := float64(now+time.Duration(l.span)) / float64(l.interval)
		if float64(let) > 1.1*most || float64(let) < .9*min(most, float64(came)) {
			t.Fatalf("%s: %d of %d were let through in %s; the limit is %.0f", name, let, came, now, most)
		}
	}
}

// deliver gives a batch to all other members.
func deliver(all []*member, p parcel, now time.Duration) {
	j := all[p.from].journal
	first := j.batches[0].number
	data := j.batches[p.number-first].data
	for i, m := range all {
		if i == p.from {
			continue
		}
		s := m.sources[p.from]
		if s.batch.parse(data[prefix:]) == nil {
			s.merge(now)
		}
	}
}
