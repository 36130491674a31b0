package balance

import "math/bits"

// maxTotal bounds the sum of weights, so that products of two numbers below it fit into a word.
const maxTotal = 1 << 31

// reduce gives the weights without what they have in common.
func reduce(slots []slot) (weights []uint32) {
	var common, sum uint64
	for _, s := range slots {
		common = gcd(uint64(s.weight), common)
		sum += uint64(s.weight)
	}
	sum /= common
	shift := 0
	// Only more than 80,000 members of the greatest weights have such a sum.
	for sum>>shift > maxTotal-uint64(len(slots)) {
		shift++
	}
	weights = make([]uint32, len(slots))
	for i, s := range slots {
		weights[i] = max(1, s.weight/uint32(common)>>shift)
	}
	return weights
}

// shares maps the numbers below the sum of all weights to members, each of which has as many as its weight, one after another.
type shares struct {
	total  uint64
	starts []uint32 // the first number of each member, and the total; nil if all weights are 1
	// guide says which member has the first number of each 1<<shift of them. There are four to eight times as many as members, so that most numbers are
	// that member's, and the processor seldom guesses wrong.
	guide []uint32
	shift int
}

func newShares(weights []uint32) *shares {
	s := &shares{}
	for _, w := range weights {
		s.total += uint64(w)
	}
	if s.total == uint64(len(weights)) {
		return s
	}
	s.starts = make([]uint32, 0, len(weights)+1)
	var sum uint32
	for _, w := range weights {
		s.starts = append(s.starts, sum)
		sum += w
	}
	s.starts = append(s.starts, sum)
	s.shift = max(0, bits.Len64(s.total/uint64(len(weights)))-3)
	s.guide = make([]uint32, (s.total-1)>>s.shift+2)
	var i uint32
	for g := range s.guide {
		for i < uint32(len(weights)-1) && uint64(s.starts[i+1]) <= uint64(g)<<s.shift {
			i++
		}
		s.guide[g] = i
	}
	return s
}

// at is the member that a number belongs to.
func (s *shares) at(number uint64) int {
	if s.starts == nil {
		return int(number)
	}
	bucket := number >> s.shift
	low, high := s.guide[bucket], s.guide[bucket+1]
	// Where one heavy member stands beside thousands of light ones, these are all in few buckets.
	for high-low > walk {
		if mid := (low + high + 1) / 2; uint64(s.starts[mid]) <= number {
			low = mid
		} else {
			high = mid - 1
		}
	}
	for low < high && uint64(s.starts[low+1]) <= number {
		low++
	}
	return int(low)
}

// pair draws two members by weight, from random words. They are different ones if there are two.
func (s *shares) pair(first, second, third uint64) (one, other int) {
	number, _ := bits.Mul64(first, s.total)
	one = s.at(number)
	number, _ = bits.Mul64(second, s.total)
	if other = s.at(number); other != one { // found without waiting for the first
		return one, other
	}
	start, weight := uint64(one), uint64(1)
	if s.starts != nil {
		start = uint64(s.starts[one])
		weight = uint64(s.starts[one+1]) - start
	}
	if weight == s.total {
		return one, one
	}
	// The other is drawn from the numbers that are not the first's.
	number, _ = bits.Mul64(third, s.total-weight)
	if number >= start {
		number += weight
	}
	return one, s.at(number)
}
