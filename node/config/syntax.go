package config

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// fault is what the library found wrong with a text, in its words, and the places that it noted.
type fault struct {
	problem, context string
	// at is where it gave up, opened where what it was reading began.
	at, opened spot
}

// spot is a place in the text with what is written there.
type spot struct {
	line, column int
	indent       string // white space that begins the line
	before       string // what else is before the place
	rest         string // the line from the place on, to its end
	above        string // the last line above that is not blank, and its number
	aboveLine    int
	end          bool // the text ends there
}

func (s spot) fail(format string, args ...any) error { return fail(s.line, s.column, format, args...) }

// sign is the character at the place, or a space at the end of the line.
func (s spot) sign() string {
	for _, c := range s.rest {
		return string(c)
	}
	return " "
}

// word is what a person would call the thing at the place.
func (s spot) word() string {
	if s.rest != "" && strings.Contains("[]{},", s.rest[:1]) {
		return s.rest[:1]
	}
	if end := strings.IndexAny(s.rest, " \t[]{},"); end > 0 {
		return s.rest[:end]
	}
	return s.rest
}

// fault asks the decoder what it gave up on. Its error names the problem but only a line, which is that of the context if this is
// not on the first line, of the problem otherwise, and one too low for half of the problems; the marks that it is made from
// are private. If another version of the library keeps them elsewhere, the problem has no place, and the tests fail.
func (r *reader) fault(d *yaml.Decoder, err error) fault {
	parser := private(reflect.ValueOf(d), "parser", "parser")
	f := fault{
		problem: strings.TrimPrefix(err.Error(), "yaml: "),
		context: private(parser, "context").String(),
		at:      r.spot(private(parser, "problem_mark")),
		opened:  r.spot(private(parser, "context_mark")),
	}
	if rest, ok := strings.CutPrefix(f.problem, "line "); ok {
		_, f.problem, _ = strings.Cut(rest, ": ")
	}
	switch marks := private(parser, "marks"); {
	case strings.HasPrefix(f.problem, "did not find expected hex"), strings.HasPrefix(f.problem, "found invalid Unicode"):
		f.at.column -= 2 // for \x, \u or \U
	case strings.HasPrefix(f.problem, "unknown anchor"):
		f.at = r.spot(private(reflect.ValueOf(d), "parser", "event", "start_mark"))
	case f.context == "while parsing a flow node" && marks.Kind() == reflect.Slice && marks.Len() > 0:
		f.opened = r.spot(marks.Index(marks.Len() - 1)) // the brackets around it
	}
	return f
}

// trim cuts a comment and white space off the end of a line.
func trim(line string) string {
	line, _, _ = strings.Cut(line, " #")
	return strings.TrimRight(line, " \t\r")
}

// private follows the names of fields. The result is not valid if there is one that does not exist.
func private(v reflect.Value, fields ...string) reflect.Value {
	for _, name := range fields {
		v = reflect.Indirect(v)
		if v.Kind() != reflect.Struct {
			return reflect.Value{}
		}
		v = v.FieldByName(name)
	}
	return v
}

// spot is the place that a mark of the library names, which counts from 0 and may be behind the end of the text.
func (r *reader) spot(mark reflect.Value) spot {
	line, column := private(mark, "line"), private(mark, "column")
	if !line.IsValid() || !line.CanInt() || !column.IsValid() || !column.CanInt() {
		return spot{}
	}
	at := r.seek(int(line.Int())+1, int(column.Int())+1)
	start := strings.LastIndexByte(r.text[:at], '\n') + 1
	before := strings.TrimLeft(r.text[start:at], " \t")
	rest, _, _ := strings.Cut(r.text[at:], "\n")
	above := strings.TrimRight(r.text[:start], " \t\r\n")
	return spot{
		line:   r.line,
		column: r.column,
		indent: r.text[start : at-len(before)],
		before: before,
		rest:   strings.TrimRight(rest, "\r"),
		above:  above[strings.LastIndexByte(above, '\n')+1:],

		aboveLine: r.line - strings.Count(r.text[len(above):start], "\n"),
		end:       at == len(r.text),
	}
}

// explanation is what we say for a problem or context of the library, which is known by how it begins.
type explanation struct {
	theirs string
	// opened is set if the mistake is where what was being read began, and not where the library gave up.
	opened bool
	// ours has CHAR for the character at the place, NAME for the word behind it, and REST for the line from there on.
	ours string
}

// explanations are for what can be said in one way. The first that fits counts.
func explanations() []explanation {
	const (
		directives = "directives such as %YAML are not supported; remove the line"
		escape     = `unknown escape in a text in double quotes; write \\ for a backslash`
		start      = "text cannot start with CHAR; put it in quotes"
	)
	return []explanation{
		{"unknown anchor", false, `no anchor &NAME before this alias; put text that starts with "*" in quotes`},
		{"could not find expected ':'", true, `expected "key: value", found REST`},
		{"block sequence entries are not", false, "a list cannot start on the line of its key; put it on the next line"},
		{"mapping keys are not", false, `unexpected "?"; put text that starts with it in quotes`},
		{"found character that cannot start", false, start},
		{"did not find expected alphabetic", true, start},
		{"found incompatible YAML", false, directives},
		{"found duplicate %", false, directives},
		{"while scanning a directive", true, directives},
		{"while scanning a %", true, directives},
		{"while parsing a %", true, directives},
		{"while parsing a tag", true, noTags},
		{"while scanning a tag", true, noTags},
		{"found undefined tag handle", true, noTags},
		{"while scanning a quoted scalar", true, "the quote CHAR opened here is not closed"},
		{"while parsing a quoted scalar", false, escape},
		{"found an indentation indicator equal", false, "the indentation of a block of text is from 1 to 9"},
		{"while scanning a block scalar", true, "a block of text starts on the line after the CHAR; put text that starts with it in quotes"},
		{"exceeded max depth", false, fmt.Sprintf("nested deeper than %d levels", maxDepth)},
	}
}

// explain says in plain words what is wrong with the text.
func (f fault) explain() error {
	flow := strings.HasPrefix(f.context, "while parsing a flow ")
	if tab := strings.IndexByte(f.at.indent, '\t'); !flow && (tab >= 0 || f.at.sign() == "\t") {
		if tab >= 0 {
			f.at.column = tab + 1
		}
		return f.at.fail("line is indented with a tab; YAML wants spaces")
	}
	for _, e := range explanations() {
		if !strings.HasPrefix(f.problem, e.theirs) && !strings.HasPrefix(f.context, e.theirs) {
			continue
		}
		at := f.at
		if e.opened {
			at = f.opened
		}
		return at.fail("%s", strings.NewReplacer("CHAR", at.sign(), "NAME", strings.TrimPrefix(at.word(), "*"), "REST", quote(trim(at.rest))).Replace(e.ours))
	}
	switch {
	case flow:
		return f.brackets()
	case f.problem == "mapping values are not allowed in this context":
		return f.colon()
	case f.problem == "did not find expected <document start>" && !strings.Contains("[]{},", f.at.sign()):
		return f.at.fail(oneFile)
	case strings.HasPrefix(f.problem, "did not find expected"):
		return f.unexpected()
	}
	return f.at.fail("%s", f.problem)
}

// brackets explains what is wrong between brackets or braces.
func (f fault) brackets() error {
	at, opened := f.at, f.opened
	// A line that begins no further to the right than the one with the bracket is not meant to be within it, unless
	// the bracket begins its line, as in JSON.
	outside := len(at.indent) < len(opened.indent) || len(at.indent) == len(opened.indent) && opened.before != ""
	if at.end || at.line > opened.line && outside {
		return opened.fail("%q is never closed", opened.sign())
	}
	switch {
	case strings.HasSuffix(f.problem, "or ']'"):
		return at.fail(`expected "," or "]", found %s`, quote(at.word()))
	case strings.HasSuffix(f.problem, "or '}'"):
		return at.fail(`expected "," or "}", found %s`, quote(at.word()))
	}
	if at.sign() == ":" {
		return f.unexpected()
	}
	return at.fail("unexpected %s", quote(at.word()))
}

// colon explains a colon where no key is before it: text that goes on from the line above, or the value of a key.
func (f fault) colon() error {
	at := f.at
	key, list := at.before, strings.TrimLeft(at.before, "- ")
	if strings.Contains(list, ": ") || strings.HasPrefix(key, "--- ") {
		return at.fail(`unexpected ":"; put text that contains ": " in quotes, or the key on a line of its own`)
	}
	return f.misplaced(list)
}

// misplaced explains a key that is not where the keys before it are, unless the line above is the one that is wrong: a key of the same
// indentation with no colon, or no space after it.
func (f fault) misplaced(key string) error {
	at := f.at
	above := trim(strings.TrimLeft(at.above, " "))
	if indent := len(at.above) - len(strings.TrimLeft(at.above, " ")); above != "" && indent == len(at.indent) &&
		!strings.HasPrefix(above, "- ") && !strings.Contains(above+" ", ": ") {
		return fail(at.aboveLine, indent+1, `expected "key: value", found %s`, quote(above))
	}
	return fail(at.line, len(at.indent)+1, "the key %s does not line up with the keys before it; check the indentation", quote(key))
}

// unexpected explains a word that fits nowhere.
func (f fault) unexpected() error {
	switch at, sign := f.at, f.at.sign(); {
	case at.end:
		return at.fail("the document ends too early")
	case sign == "-" && strings.HasPrefix(at.rest+" ", "- "):
		return at.fail(`unexpected list item ("- "); check the indentation`)
	case sign == "]" || sign == "}":
		return at.fail("%q closes nothing", sign)
	case sign == "," || sign == "?":
		return at.fail("unexpected %q", sign)
	case sign == ":":
		return at.fail(`unexpected ":"; a key is missing before it`)
	case at.before != "":
		return at.fail("unexpected %s after the value", quote(trim(at.rest)))
	default:
		if key, _, ok := strings.Cut(at.rest+" ", ": "); ok {
			return f.misplaced(key)
		}
		return at.fail("unexpected %s; check the indentation", quote(trim(at.rest)))
	}
}
