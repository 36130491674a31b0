package balance

import "math/bits"

// Capacity of near members is enough while as much of it is in as fourteen tenths of what is needed say: the overprovisioning factor of Envoy's locality load
// balancing, 1.4 by default (Envoy's documentation: Priority levels, and Zone aware routing). So with 72 % of it in, all requests stay near.
const (
	overprovisioned = 14
	tenth           = 10
)

// maxParts bounds the parts of a split, so that products with them fit into a word.
const maxParts = 1 << 24

// split is how many of all turns go to near members.
type split struct{ near, all uint64 }

// newSplit makes the split for a weight that is in, of all that is near.
func newSplit(in, all uint64) split {
	p := split{overprovisioned * in, tenth * all}
	if p.near >= p.all {
		return split{1, 1}
	}
	if p.near == 0 {
		return split{0, 1}
	}
	for p.all > maxParts {
		p.near, p.all = (p.near+1)/2, (p.all+1)/2
	}
	common := gcd(p.near, p.all)
	return split{p.near / common, p.all / common}
}

// whole tells whether all turns go to one side.
func (p split) whole() bool { return p.near == 0 || p.near == p.all }

// turn says whether a turn goes near, and how many went to the same side before it. Both sides' turns are spread evenly.
func (p split) turn(t uint64) (near bool, nth uint64) {
	if p.whole() {
		return p.near > 0, t
	}
	rounds, rest := t/p.all, t%p.all
	before := rest * p.near / p.all
	if (rest+1)*p.near/p.all > before {
		return true, rounds*p.near + before
	}
	return false, rounds*(p.all-p.near) + rest - before
}

// key says whether a key goes near. When the share changes, keys move one way only.
func (p split) key(hash uint64) bool {
	part, _ := bits.Mul64(mix(^hash), p.all)
	return part < p.near
}

// parts are how many of all turns a side has.
func (p split) parts(side int8) uint64 {
	if side == 0 {
		return p.near
	}
	return p.all - p.near
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
