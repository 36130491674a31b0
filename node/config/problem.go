package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	// shownProblems is how many problems Problems.Error spells out.
	shownProblems = 20
	// maxProblems ends the search: a text with more than that is not a document with mistakes but another kind
	// of file, and its problems would take more memory than itself.
	maxProblems = 1000
)

// Problem is one mistake in a document, or one remark on it.
type Problem struct {
	// File is the name that Parse was given.
	File string `json:"file"`
	// Line and Column, in characters, start at 1; 0 when the problem is with the text as a whole.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path leads to the value, as in services.web.servers[2].address; empty for the document or its syntax.
	Path    string `json:"path"`
	Message string `json:"message"`
}

// String is the problem as one line: file:line:column: path: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path)
		b.WriteString(": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems are all mistakes of a document, in the order of their positions. They are the error of Parse.
type Problems []Problem

var _ error = Problems(nil)

// Error has one line for each of the first 20 problems, and says how many more there are.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i == shownProblems {
			fmt.Fprintf(&b, "\nand %d more", len(ps)-i)
			if len(ps) >= maxProblems {
				b.WriteString(" at least")
			}
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// findings collects the problems of one Parse.
type findings struct {
	file string
	list Problems
	// paths holds the path of every problem and all its ancestors, so that one mistake is not reported twice
	// by two checks that look at the same value.
	paths map[string]bool
	seen  map[Problem]bool
}

func newFindings(file string) *findings {
	return &findings{file: file, paths: map[string]bool{}, seen: map[Problem]bool{}}
}

// add notes a problem at n (which may be nil) of the value at path.
func (f *findings) add(n *node, path, message string) {
	if f.full() {
		return
	}
	p := Problem{File: f.file, Path: oneLine(path), Message: oneLine(message)}
	if n != nil {
		p.Line, p.Column = n.line, n.column
	}
	// An alias leads to the same mistake by several paths; its place is the same.
	place := p
	if p.Line > 0 {
		place.Path = ""
	}
	if f.seen[place] {
		return
	}
	f.seen[place] = true
	f.list = append(f.list, p)
	f.mark(path)
}

// mark notes that the value at path, and so all around it, is known to be wrong.
func (f *findings) mark(path string) {
	for path != "" && !f.paths[path] {
		f.paths[path] = true
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
}

func (f *findings) addf(n *node, path, format string, args ...any) {
	f.add(n, path, fmt.Sprintf(format, args...))
}

// full reports that enough is enough.
func (f *findings) full() bool { return len(f.list) >= maxProblems }

// at reports whether a problem is already known at path or below it.
func (f *findings) at(path string) bool { return f.paths[path] }

// covers reports whether a problem is already known at path, below it, or at one of its ancestors exactly.
func (f *findings) covers(path string) bool {
	if f.paths[path] {
		return true
	}
	for _, p := range f.list {
		if rest, ok := strings.CutPrefix(path, p.Path); ok && p.Path != "" && (rest[0] == '.' || rest[0] == '[') {
			return true
		}
	}
	return false
}

// sorted are the problems in the order of the text.
func (f *findings) sorted() Problems {
	slices.SortStableFunc(f.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return f.list
}

// oneLine keeps a message that quotes a stranger's text on one line and short.
func oneLine(s string) string {
	const limit = 400
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}

// quote shows a value from the document, shortened.
func quote(s string) string {
	const limit = 60
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return fmt.Sprintf("%q", s)
}
