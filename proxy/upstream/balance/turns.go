package balance

import (
	"math"
	"math/bits"
	"slices"
)

const (
	// smoothWork bounds the steps of writing a round down, which are members × turns.
	smoothWork = 1 << 19
	// maxRound bounds the turns of a round that is written down.
	maxRound = 4096
)

// turns is the order of a weighted round robin. In one round, which is as many turns as the sum of all weights, every member has as many as its weight.
type turns struct {
	shares *shares
	round  []uint32 // the members of one round; nil if it is not written down
	step   uint64
	total  divisor
}

func newTurns(weights []uint32) *turns {
	t := &turns{shares: newShares(weights)}
	total := t.shares.total
	t.total = newDivisor(total)
	switch {
	case total == uint64(len(weights)): // one after another
		t.step = 1
	case total <= maxRound && total*uint64(len(weights)) <= smoothWork:
		t.round = smooth(weights, int(total))
	default:
		t.step = evenStep(total, uint64(slices.Max(weights)))
	}
	return t
}

// at is the member whose turn it is.
func (t *turns) at(turn uint64) int {
	rest := t.total.rest(turn)
	switch {
	case t.round != nil:
		return int(t.round[rest])
	case t.step == 1:
		return int(rest)
	}
	return t.shares.at(t.total.rest(rest * t.step))
}

// divisor divides by multiplying with the inverse (Granlund, Montgomery: Division by Invariant Integers using Multiplication, 1994): a division is the
// slowest thing that a processor does with numbers.
type divisor struct{ by, inverse uint64 }

func newDivisor(by uint64) divisor { return divisor{by, math.MaxUint64 / by} }

// rest is what remains of a number when it is divided.
func (d divisor) rest(number uint64) uint64 {
	quotient, _ := bits.Mul64(number, d.inverse) // or one less: what the inverse lacks is at most 1 for each 2^64
	rest := number - quotient*d.by
	if rest >= d.by {
		rest -= d.by
	}
	return rest
}

// smooth writes down a round of smooth weighted round robin, as nginx does it: each turn everybody gains his weight, the richest is
// chosen and pays the total.
func smooth(weights []uint32, total int) []uint32 {
	round := make([]uint32, 0, total)
	credit := make([]int, len(weights))
	for range total {
		best := 0
		for i, w := range weights {
			credit[i] += int(w)
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= total
		round = append(round, uint32(best))
	}
	return round
}

// evenStep is the step by which all numbers below a total are visited, each once. It is at least the greatest weight, so that nobody has two turns
// together, and not much more, so that turns go through the members in their order, again and again; what they read is then close together too.
//
// Each time through they begin at another place. That is even at any time if what remains of the total after whole steps is to a step as numbers whose
// continued fraction has small terms only, as that of the golden ratio (Kuipers, Niederreiter: Uniform Distribution of Sequences, 1974, §2.3). So the
// candidate is taken whose terms have the least sum.
func evenStep(total, heaviest uint64) uint64 {
	const candidates = 128
	best, least := uint64(1), uint64(math.MaxUint64)
	for step := heaviest; step < heaviest+candidates || least == math.MaxUint64; step++ {
		terms, a, b := uint64(0), step, total%step
		for b != 0 {
			terms += a / b
			a, b = b, a%b
		}
		if a == 1 && terms < least { // they have no divisor in common
			best, least = step, terms
		}
	}
	return best
}
