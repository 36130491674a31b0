package balance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// check looks at everything that is kept about members when nobody is at work.
func (r *rig) check() {
	r.t.Helper()
	for k := range r.set.sides {
		a := &r.set.sides[k]
		if a.tree != nil {
			for level, nodes := range a.tree.levels {
				for node := range nodes {
					if got, want := uint32(nodes[node].Load()), a.tree.winner(level, node); got != want {
						r.t.Errorf("level %d of the tree, node %d: names %d, winner is %d", level, node, got, want)
					}
				}
			}
			if got, want := a.tree.best(&Ask{}), scan(a.slots, &Ask{}); got != want {
				r.t.Errorf("the root names %d, of all the least is %d", got, want)
			}
		}
		if a.room == nil {
			continue
		}
		for level, nodes := range a.room.levels {
			for i := range len(nodes) * wide {
				exists := i < len(a.slots)
				if level > 0 {
					exists = i < len(a.room.levels[level-1])
				}
				if got, want := nodes[i/wide].Load()>>(i%wide)&1 == 1, !exists || a.room.full(level, i); got != want {
					r.t.Errorf("level %d of the bits, bit %d: %v, want %v", level, i, got, want)
				}
			}
		}
	}
}

// TestManyAtOnce picks and leaves from many goroutines. Nobody ever has more than his limit, and when they rest, everything is right.
func TestManyAtOnce(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{3, 20, 600} {
			for _, limited := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/limited=%v", kind, n, limited), func(t *testing.T) {
					members := mixed(n)
					for i := range members {
						members[i].Near = i%3 == 0
						members[i].Out = i%6 == 3
						if limited {
							members[i].Limit = int64(1 + i%3)
						}
					}
					r := newRig(t, Options{Kind: kind, PreferNear: n != 20}, members...)
					var work sync.WaitGroup
					held := make([][]int, 8)
					for w := range held {
						work.Go(func() { held[w] = r.workload(uint64(w), 3000, 1+n/4) })
					}
					work.Wait()
					counts := make([]int64, n)
					for _, all := range held {
						for _, at := range all {
							counts[at]++
						}
					}
					for i, m := range r.members {
						if got := m.Place.Running(); got != counts[i] {
							t.Errorf("member %d: %d run, %d are held", i, got, counts[i])
						}
					}
					r.check()
					for _, all := range held {
						for _, at := range all {
							r.leave(at)
						}
					}
					for i, m := range r.members {
						if got := m.Place.Running(); got != 0 {
							t.Errorf("member %d: %d run at the end", i, got)
						}
					}
					r.check()
				})
			}
		}
	}
}

// TestTreeIsRightWheneverAllRest changes counters from several goroutines at the same moment, once each, and looks at the tree after every such moment.
func TestTreeIsRightWheneverAllRest(t *testing.T) {
	const n, workers, waves = 20, 3, 30000
	r := newRig(t, Options{Kind: LeastRequests}, equal(n)...)
	tree := r.set.sides[0].tree
	var wave, done atomic.Int64
	var work sync.WaitGroup
	for w := range workers {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 3))
			for now := int64(1); now <= waves; now++ {
				i, more := random.IntN(n), int32(random.IntN(3)-1)
				for wave.Load() < now {
					runtime.Gosched()
				}
				tree.slots[i].place.running.Add(more)
				tree.refresh(i)
				done.Add(1)
			}
		})
	}
	for now := int64(1); now <= waves && !t.Failed(); now++ {
		wave.Store(now)
		for done.Load() < now*workers {
			runtime.Gosched()
		}
		r.check()
	}
	wave.Store(waves)
	work.Wait()
}

// workload picks and leaves, and returns what it holds at the end.
func (r *rig) workload(seed uint64, steps, most int) (held []int) {
	random := rand.New(rand.NewPCG(seed, 1))
	for range steps {
		if len(held) == most || len(held) > 0 && random.IntN(2) == 0 {
			k := random.IntN(len(held))
			r.leave(held[k])
			held[k] = held[len(held)-1]
			held = held[:len(held)-1]
			continue
		}
		ask := &Ask{Hash: random.Uint64N(100)}
		if random.IntN(8) == 0 {
			ask.Tried = append(ask.Tried, r.members[random.IntN(len(r.members))].Place)
		}
		at, _ := r.pick(ask)
		if at < 0 {
			continue
		}
		held = append(held, at)
		if m := r.members[at]; m.Out || m.Limit > 0 && m.Place.Running() > m.Limit {
			r.t.Errorf("member %d: %d run, limit %d, out %v", at, m.Place.Running(), m.Limit, m.Out)
			return held
		}
	}
	return held
}

// TestManyAtOnceWhileSetsChange makes new sets all the time, as a service does: those who leave tell the set that is current, and all are told after a change.
func TestManyAtOnceWhileSetsChange(t *testing.T) {
	members := mixed(40)
	for i := range members {
		members[i].Limit = int64(1 + i%4)
	}
	r := newRig(t, Options{Kind: LeastRequests}, members...)
	var current atomic.Pointer[Set]
	current.Store(r.set)
	var work sync.WaitGroup
	for w := range 6 {
		work.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 2))
			for range 5000 {
				at, _ := current.Load().Pick(&Ask{})
				if at < 0 {
					continue
				}
				p := members[at].Place
				if n := p.Running(); n > members[at].Limit {
					t.Errorf("member %d: %d run, limit %d", at, n, members[at].Limit)
				}
				for range random.IntN(20) {
					p.Running()
				}
				p.Leave()
				for s := current.Load(); ; {
					s.Left(p)
					now := current.Load()
					if now == s {
						break
					}
					s = now
				}
			}
		})
	}
	ended := make(chan struct{})
	go func() { work.Wait(); close(ended) }()
	for changes := 0; ; changes++ {
		select {
		case <-ended:
			if changes == 0 {
				t.Error("no set was made meanwhile")
			}
			r.set = current.Load()
			r.check()
			return
		default:
		}
		s := New(r.o, members, &r.turn)
		current.Store(s)
		for i := range members {
			s.Left(members[i].Place)
		}
	}
}

// line is requests that wait, as a service has them.
type line struct {
	mu      sync.Mutex
	waiting []chan int
}

func (l *line) serve(r *rig, random *rand.Rand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 {
		at, _ := r.pick(&Ask{Hash: random.Uint64()})
		if at < 0 {
			return
		}
		l.waiting[0] <- at
		l.waiting = l.waiting[1:]
	}
}

// TestNobodyWaitsForRoomThatIsThere has more requests than room, so that most wait. Whoever leaves serves those who wait: if he overlooked a member with room
// only once, and nobody came after him, somebody would wait for ever.
func TestNobodyWaitsForRoomThatIsThere(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{2, 40} {
			t.Run(fmt.Sprintf("%s/%d", kind, n), func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				members := equal(n)
				for i := range members {
					members[i].Limit = 1
				}
				r := newRig(t, Options{Kind: kind}, members...)
				var l line
				// All come at once and all leave at once, again and again: the last one to leave in each wave has nobody after him.
				for wave := range 200 {
					var work sync.WaitGroup
					for w := range n + 3 {
						work.Go(func() {
							random := rand.New(rand.NewPCG(uint64(wave), uint64(w)))
							at, _ := r.pick(&Ask{Hash: random.Uint64()})
							if at < 0 {
								turn := make(chan int, 1)
								l.mu.Lock()
								l.waiting = append(l.waiting, turn)
								l.mu.Unlock()
								l.serve(r, random)
								select {
								case at = <-turn:
								case <-ctx.Done():
									t.Errorf("wave %d: nobody served a request that waited", wave)
									return
								}
							}
							r.leave(at)
							l.serve(r, random)
						})
					}
					work.Wait()
					if t.Failed() {
						return
					}
				}
				r.check()
			})
		}
	}
}

// TestOldReadingsCannotBeWritten stands between the reading of a node and its writing: somebody else's change, by which the node names the same as before, makes the
// writing fail. What was read before it may be wrong after it.
func TestOldReadingsCannotBeWritten(t *testing.T) {
	members := equal(40)
	for i := range members {
		members[i].Limit = 9
	}
	a := &newRig(t, Options{Kind: LeastRequests}, members...).set.sides[0]
	var nodes []*atomic.Uint64
	for _, level := range a.tree.levels {
		nodes = append(nodes, &level[0])
	}
	nodes = append(nodes, &a.room.levels[0][0])
	var read []uint64
	for _, node := range nodes {
		read = append(read, node.Load())
	}
	a.left(3)
	for i, node := range nodes {
		if uint32(node.Load()) != uint32(read[i]) {
			t.Errorf("node %d names something else", i)
		}
		if node.CompareAndSwap(read[i], read[i]+1) {
			t.Errorf("node %d was written by who had read it before", i)
		}
	}
}
