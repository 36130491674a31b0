package balance

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestRoundRobinSequences(t *testing.T) {
	for _, c := range []struct {
		members []Member
		want    string
	}{
		{weighted(5, 1, 1), "aabacaaaabacaa"}, // the example of nginx
		{weighted(1, 1, 1), "abcabcabc"},
		{weighted(256, 256), "abab"},
		{weighted(2, 0, 4), "cacca" + "c"},
		{weighted(7), "aaaa"},
		{[]Member{{Weight: 1}, {Weight: 1, Out: true}, {Weight: 1}}, "acacac"},
		{[]Member{{Weight: 2, Percent: 50}, {Weight: 1}, {Weight: 1, Percent: 200}}, "abcabc"},
		{[]Member{{Weight: 10, Percent: 10}, {Weight: 5}}, "bbabbb" + "bbabbb"}, // 10 to 50
	} {
		r := newRig(t, Options{Kind: RoundRobin}, c.members...)
		if got := r.sequence(len(c.want)); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.members, got, c.want)
		}
	}
}

func TestTurnGoesOnThroughSets(t *testing.T) {
	r := newRig(t, Options{Kind: RoundRobin}, equal(3)...)
	if got := r.sequence(4); got != "abca" {
		t.Fatalf("got %s", got)
	}
	r.renew(func(m []Member) { m[0].Limit = 5 })
	if got := r.sequence(3); got != "bca" {
		t.Errorf("after a change: got %s, want bca", got)
	}
}

// TestRoundIsExactAndEven looks at whole rounds: each member has as many turns as its weight, and at no time many more or fewer than its share.
func TestRoundIsExactAndEven(t *testing.T) {
	cases := map[string][]Member{
		"mixed 17": mixed(17), "mixed 100": mixed(100), "mixed 1000": mixed(1000), "equal 10000": equal(10000),
		"one heavy of 5000": append(equal(5000), Member{Weight: MaxWeight}),
		"percent":           {{Weight: 256}, {Weight: 255, Percent: 37}, {Weight: 1}},
	}
	two := equal(9999)
	two[5000].Weight = 2
	cases["one of two in 9999"] = two
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		members := equal(2 + random.IntN(300))
		for k := range members {
			members[k].Weight = 1 + random.IntN(1+random.IntN(MaxWeight))
		}
		cases[fmt.Sprint("random ", i)] = members
	}
	for name, members := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{Kind: RoundRobin}, members...)
			turns := r.set.sides[0].turns
			weights := reduce(r.set.sides[0].slots)
			total := turns.shares.total
			counts := make([]uint64, len(members))
			worst := 0.0
			for turn := range total {
				i := turns.at(turn)
				// A member is furthest above its share just after its turn, and furthest below just before.
				share := float64(turn) * float64(weights[i]) / float64(total)
				worst = max(worst, share-float64(counts[i]))
				counts[i]++
				worst = max(worst, float64(counts[i])-share-float64(weights[i])/float64(total))
			}
			for i, n := range counts {
				if n != uint64(weights[i]) {
					t.Fatalf("member %d of weight %d had %d turns in a round of %d", i, weights[i], n, total)
				}
			}
			if worst > 4 {
				t.Errorf("somebody was %.2f turns off his share", worst)
			}
			if again := turns.at(total); again != turns.at(0) {
				t.Errorf("the next round begins with %d instead of %d", again, turns.at(0))
			}
		})
	}
}

func TestWrittenRoundsAreBounded(t *testing.T) {
	for _, n := range []int{1, 2, 3, 100, 1000, 10000} {
		members := mixed(n)
		for i := range members {
			members[i].Percent = 1 + i%100
		}
		turns := newRig(t, Options{Kind: RoundRobin}, members...).set.sides[0].turns
		if len(turns.round) > maxRound || len(turns.shares.guide) > 8*n+2 || len(turns.shares.starts) > n+1 {
			t.Errorf("%d members: a round of %d, %d guides, %d starts", n, len(turns.round), len(turns.shares.guide), len(turns.shares.starts))
		}
	}
}

func TestDivisorDivides(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100000 {
		by := 1 + random.Uint64()>>(random.UintN(64))/2
		d := newDivisor(by)
		for _, number := range []uint64{0, 1, by - 1, by, by + 1, random.Uint64(), ^uint64(0), ^uint64(0) - by} {
			if got := d.rest(number); got != number%by {
				t.Fatalf("%d modulo %d: got %d, want %d", number, by, got, number%by)
			}
		}
	}
}

// TestSharesGiveNumbersByWeight goes through all numbers.
func TestSharesGiveNumbersByWeight(t *testing.T) {
	for name, members := range map[string][]Member{"mixed": mixed(300), "equal": equal(100), "one": weighted(9),
		"heavy in front": append(weighted(256), equal(5000)...), "heavy behind": append(equal(5000), weighted(256)...)} {
		slots := newRig(t, Options{Kind: RandomTwo}, members...).set.sides[0].slots
		weights := reduce(slots)
		s := newShares(weights)
		var number uint64
		for i, w := range weights {
			for range w {
				if got := s.at(number); got != i {
					t.Fatalf("%s: number %d is member %d's, got %d", name, number, i, got)
				}
				number++
			}
		}
		if number != s.total {
			t.Errorf("%s: %d numbers, total %d", name, number, s.total)
		}
	}
}
