package balance

import (
	"math"
	"math/bits"
	"sync/atomic"
)

// wide is how many bits a node has.
const wide = 32

// room knows which members have as many requests as they may: a bit each, and above each node of bits one that says whether all of them are set. The upper half
// of a node's word is a version.
//
// A request that finds nobody with room waits, and whoever leaves looks for one that waits after he has told the room. So a bit must not stay set after that,
// not even until another who has seen the member full before gets to setting the bit. Therefore a node is changed like this: read it, then
// what the bit is about, then swap the node with the next version, and begin anew if it was changed meanwhile; and those who leave do so also when the bit
// stays as it is. So nobody can set a bit by what he has read before that. Whoever has changed whether all bits of a node are set goes on with the
// node above it in the same way; when another is just doing that, it is one who leaves as well, and looks for those who wait when he is done.
//
// The other way about does no harm: whoever takes a member for free that is not finds out at once, and sets the bit.
type room struct {
	slots  []slot
	levels [][]atomic.Uint64 // the lowest first; the last has one node
}

// newRoom makes the bits; nil if no member has a limit, which has room for all.
func newRoom(slots []slot) *room {
	limited := false
	for i := range slots {
		limited = limited || slots[i].limit > 0
	}
	if !limited {
		return nil
	}
	r := &room{slots: slots}
	for n := len(slots); len(r.levels) == 0 || n > 1; {
		nodes := make([]atomic.Uint64, (n+wide-1)/wide)
		for i := range len(nodes) * wide {
			if i >= n || r.full(len(r.levels), i) { // nobody is where no member is
				nodes[i/wide].Or(1 << (i % wide))
			}
		}
		r.levels = append(r.levels, nodes)
		n = len(nodes)
	}
	return r
}

// full is what a bit of a level has to be.
func (r *room) full(level, i int) bool {
	if level == 0 {
		return r.slots[i].full()
	}
	return uint32(r.levels[level-1][i].Load()) == math.MaxUint32
}

// filled notes that a member is full, if it still is.
func (r *room) filled(i int) {
	for level, nodes := range r.levels {
		node, bit := &nodes[i/wide], uint32(1)<<(i%wide)
		for {
			old := node.Load()
			if uint32(old)&bit != 0 || !r.full(level, i) {
				return
			}
			if now := uint32(old) | bit; node.CompareAndSwap(old, next(old, now)) {
				if now != math.MaxUint32 {
					return
				}
				break
			}
		}
		i /= wide
	}
}

// left notes that less runs at a member.
func (r *room) left(i int) {
	for level, nodes := range r.levels {
		node, bit := &nodes[i/wide], uint32(1)<<(i%wide)
		for {
			old := node.Load()
			now := uint32(old) &^ bit
			if r.full(level, i) {
				now |= bit
			}
			if node.CompareAndSwap(old, next(old, now)) {
				if uint32(old) != math.MaxUint32 || now == math.MaxUint32 {
					return
				}
				break
			}
		}
		i /= wide
	}
}

// next is a node's word with other bits.
func next(old uint64, bits uint32) uint64 { return (old>>32+1)<<32 | uint64(bits) }

// none tells whether all members are full.
func (r *room) none() bool {
	return r != nil && uint32(r.levels[len(r.levels)-1][0].Load()) == math.MaxUint32
}

// next is the first member from one on that is not full, -1 if there is none.
func (r *room) next(i int) int {
	if r == nil {
		return i
	}
	for level := 0; level < len(r.levels); {
		nodes := r.levels[level]
		if i/wide >= len(nodes) {
			return -1
		}
		free := ^uint32(nodes[i/wide].Load()) & (math.MaxUint32 << (i % wide))
		switch {
		case free == 0:
			i, level = i/wide+1, level+1
		case level == 0:
			return i&^(wide-1) + bits.TrailingZeros32(free)
		default:
			i, level = (i&^(wide-1)+bits.TrailingZeros32(free))*wide, level-1
		}
	}
	return -1
}
