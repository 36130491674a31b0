package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"tripod/proxy/web/rate"
	"tripod/proxy/web/rule"
)

// text decodes a string.
func (w *walker) text(n *node, p *path, f *field, v reflect.Value) {
	enum := f != nil && f.enum != nil
	switch {
	case enum && (!n.isText() || !slices.Contains(f.enum, n.value)):
		w.notInEnum(n, p, f)
	case n.isNumber() && f != nil && f.numbers:
		v.SetString(n.value)
	case n.isBool() || n.isNumber():
		w.problem(n, p, "expected text, found %s; put it in quotes", n.describe())
	case !n.isText():
		w.problem(n, p, "expected text, found %s", n.describe())
	case f != nil && f.required && n.value == "":
		w.problem(n, p, "must not be empty")
	default:
		v.SetString(n.value)
	}
}

func (w *walker) notInEnum(n *node, p *path, f *field) {
	word, found := n.value, n.describe()
	// What YAML 1.1 took for words.
	if n.isBool() && slices.Contains(f.enum, "on") {
		word = map[string]string{"true": "on", "false": "off"}[strings.ToLower(word)]
		w.problem(n, p, "expected %s, found %s; did you mean %q?", oneOf(f.enum), found, word)
		return
	}
	w.problem(n, p, "expected %s, found %s%s", oneOf(f.enum), found, DidYouMean(word, f.enum))
}

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func (w *walker) boolean(n *node, p *path, v reflect.Value) {
	if !n.isBool() {
		hint := ""
		if n.kind == scalarNode {
			switch strings.ToLower(n.value) {
			case "yes", "on", "true", "1":
				hint = "; did you mean true?"
			case "no", "off", "false", "0":
				hint = "; did you mean false?"
			}
		}
		w.problem(n, p, "expected true or false, found %s%s", n.describe(), hint)
		return
	}
	v.SetBool(strings.EqualFold(n.value, "true"))
}

func (w *walker) integer(n *node, p *path, f *field, v reflect.Value) {
	if !n.isNumber() {
		hint := ""
		if _, err := strconv.Atoi(n.value); n.isText() && err == nil {
			hint = "; remove the quotes"
		}
		w.problem(n, p, "expected a number, found %s%s", n.describe(), hint)
		return
	}
	i, ok := wholeNumber(n.value)
	if !ok || v.OverflowInt(i) {
		w.problem(n, p, "expected a whole number, found %s", n.value)
		return
	}
	if message := outOfRange(i, f, func(i int64) string { return fmt.Sprint(i) }); message != "" {
		w.problem(n, p, "%s, found %d", message, i)
		return
	}
	v.SetInt(i)
}

// wholeNumber reads an integer of YAML 1.2 §10.3.2.
func wholeNumber(text string) (int64, bool) {
	i, err := strconv.ParseInt(text, 10, 64)
	if err != nil && strings.HasPrefix(strings.TrimLeft(text, "+-"), "0") {
		i, err = strconv.ParseInt(text, 0, 64)
	}
	return i, err == nil
}

func outOfRange(i int64, f *field, show func(int64) string) string {
	if f == nil {
		return ""
	}
	low, high := int64(math.MinInt64), int64(math.MaxInt64)
	if f.min != nil {
		low = *f.min
	}
	if f.max != nil {
		high = *f.max
	}
	switch {
	case i >= low && i <= high:
		return ""
	case f.max == nil:
		return "must be at least " + show(low)
	case f.min == nil:
		return "must be at most " + show(high)
	}
	return "must be from " + show(low) + " to " + show(high)
}

// duration decodes a length of time such as 2s or 500ms.
func (w *walker) duration(n *node, p *path, f *field, v reflect.Value) {
	const want = "expected a duration such as 2s or 500ms"
	if n.isNumber() {
		i, ok := wholeNumber(n.value)
		switch {
		case ok && i > 0:
			w.problem(n, p, "%s, found %s; did you mean %ds?", want, n.describe(), i)
			return
		case !ok || i < 0:
			w.problem(n, p, "%s, found %s", want, n.describe())
			return
		}
	}
	if !n.isText() && !n.isNumber() {
		w.problem(n, p, "%s, found %s", want, n.describe())
		return
	}
	d, err := time.ParseDuration(n.value)
	if err != nil || d < 0 {
		w.problem(n, p, "%s, found %s", want, n.describe())
		return
	}
	if message := outOfRange(int64(d), f, func(i int64) string { return time.Duration(i).String() }); message != "" {
		w.problem(n, p, "%s, found %s", message, d)
		return
	}
	v.SetInt(int64(d))
}

// size decodes a number of bytes such as 10MiB.
func (w *walker) size(n *node, p *path, v reflect.Value) {
	if !n.isText() && !n.isNumber() {
		w.problem(n, p, "expected a size such as 10MiB, found %s", n.describe())
		return
	}
	size, err := rule.ParseSize(n.value)
	if err != nil {
		w.problem(n, p, "%s", err)
		return
	}
	v.SetInt(int64(size))
}

// rate decodes a number of requests in a time, such as 100/s. A number alone is said to have no unit, and not to need quotes.
func (w *walker) rate(n *node, p *path, f *field, v reflect.Value) {
	if n.isNumber() {
		if _, err := rate.Parse(n.value); err != nil {
			w.problem(n, p, "%s", err)
			return
		}
	}
	w.text(n, p, f, v)
}
