package config

import (
	"errors"
	"strconv"
	"strings"
)

// kind is what a node of the tree is.
type kind uint8

const (
	scalarNode kind = iota
	mappingNode
	sequenceNode
	aliasNode
)

// scalarKind is what a scalar looks like (YAML 1.2 §10.3.2, the core schema). Quoted, it is text whatever it looks like.
type scalarKind uint8

const (
	nullScalar scalarKind = iota
	textScalar
	boolScalar
	numberScalar
)

// node is a value of the document with its place in the text.
type node struct {
	kind         kind
	scalar       scalarKind
	line, column int
	// value of a scalar, without quotes; name of an alias, without the star.
	value string
	// entries of a mapping
	entries []entry
	// items of a list
	items []*node
	// target of an alias
	target *node
}

// entry is one key of a mapping. The key is a scalar; it is the merge key if merge is set.
type entry struct {
	key, value *node
	merge      bool
}

// classify tells what a text without quotes is.
func classify(text string) scalarKind {
	switch text {
	case "", "~", "null", "Null", "NULL":
		return nullScalar
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return boolScalar
	}
	if looksLikeNumber(text) {
		return numberScalar
	}
	return textScalar
}

func looksLikeNumber(text string) bool {
	digits := strings.TrimLeft(text, "+-")
	if len(text)-len(digits) > 1 || digits == "" {
		return false
	}
	switch digits {
	case ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN":
		return true
	}
	if c := digits[0]; c != '.' && (c < '0' || c > '9') {
		return false
	}
	if len(digits) > 2 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o') {
		_, err := strconv.ParseUint(digits, 0, 64)
		return err == nil
	}
	if strings.ContainsAny(digits, "_xXpP") { // what Go allows and YAML does not
		return false
	}
	_, err := strconv.ParseFloat(digits, 64)
	return err == nil || errors.Is(err, strconv.ErrRange)
}

// isNull reports a value that is not there: nothing after the colon, ~ or null.
func (n *node) isNull() bool { return n.kind == scalarNode && n.scalar == nullScalar }

func (n *node) isText() bool { return n.kind == scalarNode && n.scalar == textScalar }

func (n *node) isBool() bool { return n.kind == scalarNode && n.scalar == boolScalar }

func (n *node) isNumber() bool { return n.kind == scalarNode && n.scalar == numberScalar }

// describe says what was found, for "expected a number, found …".
func (n *node) describe() string {
	switch {
	case n.kind == mappingNode:
		return "a mapping (key: value)"
	case n.kind == sequenceNode:
		return "a list"
	case n.kind == aliasNode:
		return "the alias *" + n.value
	case n.scalar == nullScalar:
		return "nothing"
	case n.scalar == boolScalar:
		return n.value
	case n.scalar == numberScalar:
		return "the number " + n.value
	}
	return quote(n.value)
}

// tree is a document as it was read.
type tree struct {
	root *node
	// names and lists are what the walk found in the document's sections, by key: the entries of its mappings
	// with the merged ones, and the items of its lists.
	names map[string][]entry
	lists map[string][]*node
}

func newTree(root *node) *tree {
	return &tree{root: root, names: map[string][]entry{}, lists: map[string][]*node{}}
}

// resolve follows aliases. The reader made sure that they do not lead in a circle.
func (n *node) resolve() *node {
	for n != nil && n.kind == aliasNode {
		n = n.target
	}
	return n
}

// find is the node at a path such as servers[2].address below n, and whether all of the path exists; if not, the
// node is the deepest one that does.
func (t *tree) find(n *node, path string) (*node, bool) {
	for path != "" {
		path = strings.TrimPrefix(path, ".")
		in := n.resolve()
		if in == nil {
			return n, false
		}
		if rest, ok := strings.CutPrefix(path, "["); ok {
			digits, rest, _ := strings.Cut(rest, "]")
			i, err := strconv.Atoi(digits)
			if err != nil || in.kind != sequenceNode || i < 0 || i >= len(in.items) {
				return n, false
			}
			n, path = in.items[i], rest
			continue
		}
		next, rest := in.step(path)
		if next == nil {
			return n, false
		}
		n, path = next, rest
	}
	return n, true
}

// step follows the first key of a path, which may have dots in it: a user's name, a field's. The longest key that fits is meant.
func (n *node) step(path string) (to *node, rest string) {
	for end := len(path); end > 0; end = strings.LastIndexAny(path[:end], ".[") {
		if to = n.get(path[:end]); to != nil {
			return to, path[end:]
		}
	}
	return nil, ""
}

// get is the value of a key that stands in the mapping itself, or nil.
func (n *node) get(key string) *node {
	for _, e := range n.entries {
		if !e.merge && e.key.value == key {
			return e.value
		}
	}
	return nil
}
