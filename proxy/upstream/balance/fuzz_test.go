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
		members := describedMembers(described, most)
		p := &picking{rig: newRig(t, Options{Kind: kinds[int(kind)%len(kinds)], PreferNear: near}, members...), used: make([]int, len(members))}
		for _, step := range steps {
			p.step(step)
			p.check()
		}
		for k := range 5 * most {
			if !p.try(&Ask{Hash: uint64(k % 7)}) {
				break
			}
		}
		p.check()
		for _, at := range p.held {
			p.leave(at)
		}
		for i, m := range p.members {
			if n := m.Place.Running(); n != 0 {
				t.Errorf("member %d: %d run at the end", i, n)
			}
		}
		p.check()
	})
}

// describedMembers are members made of three bytes each.
func describedMembers(described []byte, most int) []Member {
	var members []Member
	for len(described) >= 3 && len(members) < most {
		weight, percent, rest := described[0], described[1], described[2]
		described = described[3:]
		m := Member{Weight: int(weight), Percent: int(percent) % 101, Out: rest&1 > 0, Backup: rest&2 > 0, Near: rest&4 > 0, Limit: int64(rest>>4) % 5}
		if weight == 255 {
			m.Weight = MaxWeight
		}
		members = append(members, m)
	}
	return members
}

// picking is a set with what was chosen from it.
type picking struct {
	*rig
	used []int // when each member was chosen last
	held []int // members that were chosen and not left
	now  int
}

// try picks, and compares the choice with what there was to choose from. It tells whether somebody was chosen.
func (p *picking) try(ask *Ask) bool {
	p.t.Helper()
	candidates, wantFull := model(p.members, ask.Tried)
	only := -1
	if !p.o.PreferNear && p.o.Kind == LeastRequests {
		only = naive(p.members, p.used, ask.Tried)
	} else if !p.o.PreferNear && p.o.Kind == First {
		for only = 0; only < len(p.members) && !candidates[only]; only++ {
		}
	}
	at, full := p.pick(ask)
	if at < 0 {
		if len(candidates) > 0 || full != wantFull {
			p.t.Fatalf("%s: nobody was chosen of %v; full %v, want %v", p.o.Kind, candidates, full, wantFull)
		}
		return false
	}
	if !candidates[at] || only >= 0 && at != only {
		p.t.Fatalf("%s: got %d of %v, only %d is right", p.o.Kind, at, candidates, only)
	}
	p.now++
	p.used[at] = p.now
	p.held = append(p.held, at)
	return true
}

// step picks, leaves, or takes a member out or in, as a byte says.
func (p *picking) step(step byte) {
	p.t.Helper()
	switch step % 4 {
	case 0, 1:
		ask := &Ask{Hash: uint64(step)}
		for i := range p.members {
			if int(step)>>2&(i+1) == i+1 {
				ask.Tried = append(ask.Tried, p.members[i].Place)
			}
		}
		p.try(ask)
	case 2:
		if len(p.held) > 0 {
			k := int(step) % len(p.held)
			p.leave(p.held[k])
			p.held = append(p.held[:k], p.held[k+1:]...)
		}
	case 3:
		if len(p.members) > 0 {
			i := int(step) % len(p.members)
			p.renew(func(m []Member) { m[i].Out = !m[i].Out })
		}
	}
}
