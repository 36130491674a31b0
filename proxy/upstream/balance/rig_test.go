package balance

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

var kinds = []Kind{RoundRobin, LeastRequests, RandomTwo, Hash, First}

// rig is a service whose members are chosen.
type rig struct {
	t       testing.TB
	o       Options
	members []Member
	set     *Set
	turn    atomic.Uint64
	running atomic.Int64
}

// newRig makes a service; members get the places and IDs that they lack.
func newRig(t testing.TB, o Options, members ...Member) *rig {
	r := &rig{t: t, o: o, members: members}
	var all Places
	for i := range members {
		if members[i].Place == nil {
			members[i].Place = all.New()
		}
		if members[i].ID == "" {
			members[i].ID = fmt.Sprintf("10.0.%d.%d:80", i/256, i%256)
		}
	}
	r.o.Running = &r.running
	r.renew(func([]Member) {})
	return r
}

// renew makes a new set after something about the members has changed.
func (r *rig) renew(change func([]Member)) {
	members := append([]Member(nil), r.members...)
	change(members)
	r.members, r.o.Former = members, r.set
	r.set = New(r.o, members, &r.turn)
}

// pick chooses for a request.
func (r *rig) pick(ask *Ask) (at int, full bool) {
	r.running.Add(1)
	if at, full = r.set.Pick(ask); at < 0 {
		r.running.Add(-1)
	}
	return at, full
}

// leave ends a request.
func (r *rig) leave(at int) {
	p := r.members[at].Place
	p.Leave()
	r.running.Add(-1)
	r.set.Left(p)
}

// want picks for a request that has to get a member, and ends it.
func (r *rig) want(ask *Ask) int {
	r.t.Helper()
	at, _ := r.pick(ask)
	if at < 0 {
		r.t.Fatalf("%s: nobody was chosen", r.o.Kind)
	}
	r.leave(at)
	return at
}

// sequence picks n times, each request ending at once, and returns letters.
func (r *rig) sequence(n int) string {
	r.t.Helper()
	var b strings.Builder
	for range n {
		b.WriteByte('a' + byte(r.want(&Ask{})))
	}
	return b.String()
}

// weighted are members with these weights.
func weighted(weights ...int) []Member {
	members := make([]Member, len(weights))
	for i, w := range weights {
		members[i].Weight = w
	}
	return members
}

// equal are n members of weight 1.
func equal(n int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i].Weight = 1
	}
	return members
}

// mixed are n members of all weights.
func mixed(n int) []Member {
	members := equal(n)
	for i := range members {
		members[i].Weight = 1 + i*7%MaxWeight
	}
	return members
}

// ceil is ⌈a/b⌉.
func ceil(a, b int64) int64 { return (a + b - 1) / b }
