package balance

import (
	"testing"
)

// model is what a set has to choose from, found in the plainest way.
func model(members []Member, tried []*Place) (candidates map[int]bool, full bool) {
	backups := true
	for _, m := range members {
		backups = backups && (m.Backup || m.Out || m.Weight == 0)
	}
	candidates = map[int]bool{}
	for i, m := range members {
		switch {
		case m.Out || m.Weight == 0 || m.Backup != backups || (&Ask{Tried: tried}).tried(m.Place):
		case m.Limit > 0 && m.Place.Running() >= m.Limit:
			full = true
		default:
			candidates[i] = true
		}
	}
	return candidates, full && len(candidates) == 0
}

// FuzzPick makes any set, and picks, leaves and tries again as the input says, then picks until nobody has room, and compares each choice with what there was to choose
// from; least_requests and first, where there is but one choice, with that.
func FuzzPick(f *testing.F) {
	for kind := range kinds {
		f.Add(byte(kind), false, []byte{1, 0, 0, 1, 0, 0, 1, 0, 0}, []byte{0, 1, 2, 3})
		f.Add(byte(kind), true, []byte{5, 1, 2, 255, 9, 66, 0, 7, 130, 3, 200, 16}, []byte{0, 0, 0, 9, 18, 27, 255})
		many := make([]byte, 150)
		for i := range many {
			many[i] = byte(i * 37)
		}
		f.Add(byte(kind), kind%2 == 0, many, []byte{1, 2, 4, 8, 16, 32, 64, 128, 255, 0, 0, 0, 77, 3, 3, 3})
	}
	f.Fuzz(func(t *testing.T, kind byte, near bool, described, steps []byte) {
		const most = 120
		var members []Member
		for len(described) >= 3 && len(members) < most {
			weight, percent, rest := described[0], described[1], described[2]
			described = described[3:]
			m := Member{Weight: int(weight), Percent: int(percent) % 101, Out: rest&1 > 0, Backup: rest&2 > 0, Near: rest&4 > 0, Limit: int64(rest>>4) % 5}
			if weight == 255 {
				m.Weight = maxWeight
			}
			members = append(members, m)
		}
		r := newRig(t, Options{Kind: kinds[int(kind)%len(kinds)], PreferNear: near}, members...)
		used := make([]int, len(members))
		var held []int
		now := 0
		try := func(ask *Ask) bool {
			candidates, wantFull := model(r.members, ask.Tried)
			only := -1
			if !near && r.o.Kind == LeastRequests {
				only = naive(r.members, used, ask.Tried)
			} else if !near && r.o.Kind == First {
				for only = 0; only < len(members) && !candidates[only]; only++ {
				}
			}
			at, full := r.pick(ask)
			if at < 0 {
				if len(candidates) > 0 || full != wantFull {
					t.Fatalf("%s: nobody was chosen of %v; full %v, want %v", r.o.Kind, candidates, full, wantFull)
				}
				return false
			}
			if !candidates[at] || only >= 0 && at != only {
				t.Fatalf("%s: got %d of %v, only %d is right", r.o.Kind, at, candidates, only)
			}
			now++
			used[at] = now
			held = append(held, at)
			return true
		}
		for _, step := range steps {
			switch step % 4 {
			case 0, 1:
				ask := &Ask{Hash: uint64(step)}
				for i := range len(members) {
					if int(step)>>2&(i+1) == i+1 {
						ask.Tried = append(ask.Tried, members[i].Place)
					}
				}
				try(ask)
			case 2:
				if len(held) > 0 {
					k := int(step) % len(held)
					r.leave(held[k])
					held = append(held[:k], held[k+1:]...)
				}
			case 3:
				if len(members) > 0 {
					i := int(step) % len(members)
					r.renew(func(m []Member) { m[i].Out = !m[i].Out })
				}
			}
			r.check()
		}
		for k := range 5 * most {
			if !try(&Ask{Hash: uint64(k % 7)}) {
				break
			}
		}
		r.check()
		for _, at := range held {
			r.leave(at)
		}
		for i, m := range r.members {
			if n := m.Place.Running(); n != 0 {
				t.Errorf("member %d: %d run at the end", i, n)
			}
		}
		r.check()
	})
}
