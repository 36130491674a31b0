package balance

import (
	"fmt"
	"sync/atomic"
	"testing"
)

// places are those of n servers.
func places(n int) []*Place {
	var p Places
	all := make([]*Place, n)
	for i := range all {
		all[i] = p.New()
	}
	return all
}

func BenchmarkPick(b *testing.B) {
	for _, kind := range kinds {
		for _, n := range []int{3, 100, 10000} {
			for _, weighted := range []bool{false, true} {
				for _, limit := range []int64{0, 100} {
					b.Run(fmt.Sprintf("%s/%d/weighted=%v/limit=%d", kind, n, weighted, limit), func(b *testing.B) {
						var turn atomic.Uint64
						var running atomic.Int64
						members, all := make([]Member, n), places(n)
						for i, p := range all {
							members[i] = Member{Place: p, ID: fmt.Sprint(i), Weight: 1, Limit: limit}
							if weighted {
								members[i].Weight = i*7%256 + 1
							}
						}
						s := New(Options{Kind: kind, Running: &running}, members, &turn)
						ask := &Ask{}
						b.ResetTimer()
						for b.Loop() {
							ask.Hash += golden
							running.Add(1)
							at, _ := s.Pick(ask)
							p := all[at]
							p.Leave()
							running.Add(-1)
							s.Left(p)
						}
					})
				}
			}
		}
	}
}

func BenchmarkNew(b *testing.B) {
	for _, kind := range kinds {
		for _, n := range []int{3, 100, 10000} {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				var turn atomic.Uint64
				members := make([]Member, n)
				for i, p := range places(n) {
					members[i] = Member{Place: p, ID: fmt.Sprint(i), Weight: i*7%256 + 1, Limit: 100}
				}
				var former *Set
				for b.Loop() {
					former = New(Options{Kind: kind, Former: former}, members, &turn)
				}
			})
		}
	}
}
