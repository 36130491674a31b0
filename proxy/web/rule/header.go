package rule

import (
	"maps"
	"slices"
	"strings"

	"tripod/proxy/web/message"
)

// direction is whose fields a header rule changes.
type direction int

const (
	request direction = iota
	response
)

func (c *HeadersConfig) check(f *faults, field string, d direction) {
	checkFields(f, field+".set", c.Set, d, func(string) string { return "" })
	checkFields(f, field+".add", c.Add, d, func(name string) string {
		if strings.EqualFold(name, "host") {
			return "a request has one Host: use set to replace it"
		}
		return ""
	})
	set := foldedNames(c.Set)
	seen := map[string]bool{}
	for i, name := range c.Remove {
		at, key := field+".remove"+index(i), folded(name)
		switch {
		case checkName(f, at, name, d):
		case key == "host":
			f.add(at, "every request has a Host: use set to replace it")
		case set[key]:
			f.add(at, "%s is set too, which replaces what is there: leave it out here", name)
		case seen[key]:
			f.add(at, "%s is listed twice", name)
		}
		seen[key] = true
	}
}

// checkFields checks fields that are set or added. The function says what else is wrong with a name.
func checkFields(f *faults, field string, fields map[string]string, d direction, also func(name string) string) {
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		at, key := field+"."+name, folded(name)
		if text := also(name); text != "" {
			f.add(at, "%s", text)
			continue
		}
		if checkName(f, at, name, d) {
			continue
		}
		if other := seen[key]; other != "" {
			f.add(at, "%s is %s, which is there already: names have no case, and servers take _ for -", name, other)
			continue
		}
		seen[key] = name
		value := fields[name]
		text := badValue(value)
		if text == "" {
			var t template
			if t, text = parseTemplate(value); text == "" && key == "host" {
				text = t.badHost()
			}
		}
		if text != "" {
			f.add(at, "%s", text)
		}
	}
}

// checkName reports a name that is none, or not the user's to change.
func checkName(f *faults, at, name string, d direction) bool {
	text := ""
	switch k := message.KindOf(name); {
	case !isToken(name):
		text = "is no name of a field: use letters, digits and hyphens"
	case k == message.ContentLength, k == message.TransferEncoding:
		text = "frames the message: tripod writes it as the content is"
	case k.HopByHop(), k == message.Trailer:
		text = "is about one connection: tripod writes its own"
	case k == message.Expect && d == request:
		text = "is about one connection: tripod answers it itself"
	case message.EqualFold(name, "x-real-ip") && d == request: // what nginx's users give their servers; a client's own is dropped before
	case k == message.Provenance:
		text = "is set by tripod alone, so that servers can believe it"
	case k == message.Host && d == response:
		text = "is a field of requests"
	case d == response && (k == message.ContentEncoding || message.EqualFold(name, "content-range")):
		text = "says how the content is to be read: it comes with the content"
	}
	if text == "" {
		return false
	}
	f.add(at, "%q %s", shorten(name), text)
	return true
}

func foldedNames(fields map[string]string) map[string]bool {
	names := make(map[string]bool, len(fields))
	for name := range fields {
		names[folded(name)] = true
	}
	return names
}

// badValue says what is wrong with a field's value (RFC 9110 §5.5).
func badValue(v string) string {
	switch {
	case v == "":
		return "the value is empty: use remove to take a field away"
	case message.TrimOWS(v) != v:
		return "the value begins or ends with white space, which no recipient sees"
	case strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "the value holds a line end or a control character"
	case strings.ContainsFunc(v, func(r rune) bool { return r > 0x7f }):
		return "the value holds characters beyond ASCII, which recipients read differently"
	}
	return ""
}

// isToken tells whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if !tokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenChar(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 && c != 0
}
