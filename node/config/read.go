package config

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDepth of mappings and lists within each other. The document's own types need 6. The library has a bound of its own, so
// that no text makes the reading too deep for its stack: 10,000 brackets, and as many levels of indentation.
const maxDepth = 32

const (
	oneFile = "a second YAML document starts here; a file holds just one"
	noTags  = "tags such as !!str are not supported; remove it, or put text that starts with ! in quotes"
)

// read reads a text to a tree. The root of an empty text is nil. Of a mistake it returns the place and the message.
func read(text []byte) (*tree, *node, string) {
	r := reader{text: string(text), anchors: map[*yaml.Node]*node{}}
	r.rewind()
	root, err := r.document()
	if err == nil {
		return newTree(root), nil, ""
	}
	var m *mistake
	if errors.As(err, &m) {
		return nil, m.at, m.message
	}
	return nil, nil, err.Error()
}

// mistake ends the reading of a text: after it nothing that follows can be placed.
type mistake struct {
	at      *node
	message string
}

func (m *mistake) Error() string { return m.message }

func fail(line, column int, format string, args ...any) error {
	return &mistake{&node{line: line, column: column}, fmt.Sprintf(format, args...)}
}

// reader makes the library's tree ours: with tags and odd keys refused, scalars classified, and every value placed where it is
// written and not where its anchor is.
type reader struct {
	text  string
	depth int
	// anchors are the named values that are complete, so that an alias within its own value is noticed.
	anchors map[*yaml.Node]*node
	// offset, in bytes, of the place asked for last. Places are asked for in the order of the text, so that all of them
	// cost one pass.
	offset, line, column int
}

// document reads the whole text.
func (r *reader) document() (root *node, err error) {
	// The library panics if it finds itself wrong. No text is known that makes it; one would end every node of the cluster.
	defer func() {
		if p := recover(); p != nil {
			root, err = nil, fmt.Errorf("cannot be read: %v", p)
		}
	}()
	d := yaml.NewDecoder(strings.NewReader(r.text))
	var first, second yaml.Node
	if err := d.Decode(&first); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		return nil, r.fault(d, err).explain()
	}
	switch err := d.Decode(&second); {
	case err == nil:
		return nil, fail(second.Line, second.Column, oneFile)
	case !errors.Is(err, io.EOF):
		return nil, r.fault(d, err).explain()
	}
	return r.value(first.Content[0])
}

// value converts a node and all below it.
func (r *reader) value(from *yaml.Node) (*node, error) {
	n := &node{line: from.Line, column: from.Column, value: from.Value}
	if from.Anchor != "" {
		r.skipAnchor(from, n)
	}
	if at := r.seek(n.line, n.column); from.Style&yaml.TaggedStyle != 0 || strings.HasPrefix(r.text[at:], "!") {
		return nil, fail(n.line, n.column, noTags)
	}
	if r.depth++; r.depth > maxDepth && from.Kind != yaml.ScalarNode {
		return nil, fail(n.line, n.column, "nested deeper than %d levels", maxDepth)
	}
	defer func() { r.depth-- }()
	var err error
	switch from.Kind {
	case yaml.AliasNode:
		n.kind = aliasNode
		if n.target = r.anchors[from.Alias]; n.target == nil {
			return nil, fail(n.line, n.column, "the alias *%s stands within its own anchor", n.value)
		}
	case yaml.ScalarNode:
		n.scalar = textScalar
		if from.Style == 0 {
			n.scalar = classify(n.value)
		}
	case yaml.SequenceNode:
		n.kind = sequenceNode
		err = r.sequence(from, n)
	case yaml.MappingNode:
		n.kind = mappingNode
		err = r.mapping(from, n)
	default:
		return nil, fail(n.line, n.column, "cannot be read")
	}
	if from.Anchor != "" {
		r.anchors[from] = n
	}
	return n, err
}

func (r *reader) sequence(from *yaml.Node, n *node) error {
	n.items = make([]*node, len(from.Content))
	for i, item := range from.Content {
		v, err := r.value(item)
		if err != nil {
			return err
		}
		if isEmpty(item) {
			r.placeEmpty(v, nil)
		}
		n.items[i] = v
	}
	return nil
}

func (r *reader) mapping(from *yaml.Node, n *node) error {
	n.entries = make([]entry, len(from.Content)/2)
	for i := range n.entries {
		key, value := from.Content[2*i], from.Content[2*i+1]
		switch {
		case key.Kind == yaml.AliasNode:
			return fail(key.Line, key.Column, `an alias cannot be a key; put text that starts with "*" in quotes`)
		case key.Kind != yaml.ScalarNode:
			return fail(key.Line, key.Column, "a mapping or list cannot be a key")
		case isEmpty(key):
			return fail(key.Line, key.Column, `unexpected ":"; a key is missing before it`)
		}
		k, err := r.value(key)
		if err != nil {
			return err
		}
		v, err := r.value(value)
		if err != nil {
			return err
		}
		if isEmpty(value) {
			r.placeEmpty(v, k)
		}
		n.entries[i] = entry{key: k, value: v, merge: key.Style == 0 && key.Value == "<<"}
	}
	return nil
}

// isEmpty reports a value, or key, that is not written at all.
func isEmpty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "" && n.Anchor == ""
}

// placeEmpty moves a value that is not written, which the library places at the next word in braces and behind the colon or
// dash elsewhere, to the colon or dash; or to its key, if that is alone in braces.
func (r *reader) placeEmpty(n, key *node) {
	at := r.seek(n.line, n.column)
	before := strings.TrimRight(r.text[:at], " \t")
	if strings.HasSuffix(before, ":") || strings.HasSuffix(before, "-") {
		n.column -= utf8.RuneCountInString(r.text[len(before)-1 : at])
	} else if key != nil {
		n.line, n.column = key.line, key.column
	}
}

// skipAnchor moves a value that the library places at its anchor to where it is written itself, which is on a later line for the
// mappings and lists of block style.
func (r *reader) skipAnchor(from *yaml.Node, n *node) {
	if from.Kind == yaml.ScalarNode && from.Style == 0 && from.Value == "" {
		return // nothing but the anchor
	}
	at := r.seek(n.line, n.column)
	if !strings.HasPrefix(r.text[at:], "&"+from.Anchor) {
		return // behind a tag, which is refused
	}
	r.step(len(from.Anchor) + 1)
	for r.offset < len(r.text) {
		rest := r.text[r.offset:]
		switch rest[0] {
		case ' ', '\t', '\r', '\n':
			r.step(1)
		case '#':
			end := strings.IndexByte(rest, '\n')
			if end < 0 {
				end = len(rest)
			}
			r.step(end)
		default:
			n.line, n.column = r.line, r.column
			return
		}
	}
}

func (r *reader) rewind() { r.offset, r.line, r.column = 0, 1, 1 }

// seek is the offset of a place, or of the end of its line, or of the text, if it is beyond.
func (r *reader) seek(line, column int) int {
	if line < r.line || line == r.line && column < r.column {
		r.rewind()
	}
	for r.line < line {
		end := strings.IndexByte(r.text[r.offset:], '\n')
		if end < 0 {
			column = math.MaxInt
			break
		}
		r.offset, r.line, r.column = r.offset+end+1, r.line+1, 1
	}
	for r.column < column && r.offset < len(r.text) && r.text[r.offset] != '\n' {
		_, size := utf8.DecodeRuneInString(r.text[r.offset:])
		r.offset, r.column = r.offset+size, r.column+1
	}
	return r.offset
}

// step goes on by a number of bytes.
func (r *reader) step(bytes int) {
	for end := r.offset + bytes; r.offset < end; {
		c, size := utf8.DecodeRuneInString(r.text[r.offset:])
		if r.column++; c == '\n' {
			r.line, r.column = r.line+1, 1
		}
		r.offset += size
	}
}
