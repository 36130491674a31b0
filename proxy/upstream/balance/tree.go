package balance

import "sync/atomic"

// fan is how many nodes are below one of a tree.
const fan = 8

// tree is a tournament among members. Every inner node names the winner of those below it, the root that of all, and a version in the upper half
// of its word. What the members have is not in the tree: it is read from their counters when they are compared.
//
// Whoever changes a counter refreshes the nodes above it from the bottom to the root: reads the node, compares those below it, and puts the winner into
// the node by compare-and-swap with the next version, also when the winner is the same. If that fails twice he goes on. It is the f-array of Jayanti
// (A Time Complexity Lower Bound for, and Optimal Algorithms for, f-arrays; PODC 2002), and this is why it is right:
//
// If an attempt fails, somebody else's has succeeded between my reading of the node and my swap. If it fails twice, the one who made the second fail read the
// node after the first had failed, since a version comes only once; so he read what is below after I began, and what he wrote knows my change.
// So when refresh has passed a node, that node was written by somebody who compared after my change, whatever others do.
//
// When nobody is at work any more, every node names the true winner of those below. Take the last write of a node. Had a counter or a node that it was made
// from changed since it was read, then whoever changed that would have refreshed this node afterwards, and there would be a later write.
//
// In between, two picks may take the same winner before either has told the tree: each is then off by at most the picks that are at work just then.
type tree struct {
	slots  []slot
	levels [][]atomic.Uint64 // the lowest first; the last has one node
}

func newTree(slots []slot) *tree {
	t := &tree{slots: slots}
	for n := len(slots); n > 1; {
		n = (n + fan - 1) / fan
		t.levels = append(t.levels, make([]atomic.Uint64, n))
	}
	for level, nodes := range t.levels {
		for node := range nodes {
			nodes[node].Store(uint64(t.winner(level, node)))
		}
	}
	return t
}

// refresh lets all nodes above a member know what it has now.
func (t *tree) refresh(i int) {
	for level, nodes := range t.levels {
		i /= fan
		for range 2 {
			old := nodes[i].Load()
			if nodes[i].CompareAndSwap(old, next(old, t.winner(level, i))) {
				break
			}
		}
	}
}

// below are the nodes under one of a level, or the members under one of the lowest.
func (t *tree) below(level, node int) (from, to int) {
	n := len(t.slots)
	if level > 0 {
		n = len(t.levels[level-1])
	}
	return node * fan, min(node*fan+fan, n)
}

// named is the member that a node of the level below names, or the member itself.
func (t *tree) named(level, i int) int {
	if level == 0 {
		return i
	}
	return int(uint32(t.levels[level-1][i].Load()))
}

// winner compares what is below a node.
func (t *tree) winner(level, node int) uint32 {
	from, to := t.below(level, node)
	best := t.named(level, from)
	least := t.slots[best].load()
	for i := from + 1; i < to; i++ {
		at := t.named(level, i)
		if l := t.slots[at].load(); !least.before(l) {
			best, least = at, l
		}
	}
	return uint32(best)
}

// best is the winner of all that were not tried; -1 if all were.
func (t *tree) best(ask *Ask) int {
	return t.untried(len(t.levels), 0, ask)
}

// untried is the winner of those that were not tried below a node of the level underneath the given one.
func (t *tree) untried(level, node int, ask *Ask) int {
	best := t.named(level, node)
	if !ask.tried(t.slots[best].place) {
		return best
	}
	if level == 0 {
		return -1
	}
	best = -1
	var least load
	for from, to := t.below(level-1, node); from < to; from++ {
		if at := t.untried(level-1, from, ask); at >= 0 {
			if l := t.slots[at].load(); best < 0 || !least.before(l) {
				best, least = at, l
			}
		}
	}
	return best
}
