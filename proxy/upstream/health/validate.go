package health

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// faults collects what is wrong.
type faults []error

func (f *faults) add(field, format string, args ...any) {
	*f = append(*f, errorf(field, format, args...))
}

// Validate checks the rules of a check. Its error joins one FieldError for each fault. That Host can be one, and that a service whose check NeedsHTTP2 speaks
// it, is for the caller to see.
func (c Config) Validate() error {
	var f faults
	if c.Type == "" {
		c.Type = HTTP
	}
	c.typeFaults(&f)
	c.requestFaults(&f)
	for i, word := range c.Command {
		if strings.ContainsRune(word, 0) {
			f.add(fmt.Sprintf("command[%d]", i), "a word of a command cannot hold a zero byte")
		}
	}
	if c.Port < 0 || c.Port > 65535 {
		f.add("port", "port %d is not between 1 and 65535", c.Port)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", c.Interval}, {"fastinter", c.Fast}, {"timeout", c.Timeout}} {
		if d.value < 0 {
			f.add(d.name, "%s %s is negative", d.name, d.value)
		} else if d.value > 0 && d.value < time.Millisecond {
			f.add(d.name, "%s %s is below 1ms: give it a unit, as in 2s", d.name, d.value)
		}
	}
	if c.Rise < 0 {
		f.add("rise", "rise %d is negative", c.Rise)
	}
	if c.Fall < 0 {
		f.add("fall", "fall %d is negative", c.Fall)
	}
	switch c.Initial {
	case "", Down, Up:
	default:
		f.add("initial", "unknown %q: use %s or %s", c.Initial, Down, Up)
	}
	return errors.Join(f...)
}

// typeFaults are keys that the type of the check needs, or has no use for.
func (c Config) typeFaults(f *faults) {
	switch c.Type {
	case HTTP, TCP, TLS, GRPC:
	case Agent:
		if c.Port == 0 {
			f.add("port", "type agent needs the port at which the agent listens")
		}
	case Exec:
		if len(c.Command) == 0 || c.Command[0] == "" {
			f.add("command", "type exec needs a command, as in [/usr/local/bin/check, --quick]")
		}
	default:
		f.add("type", "unknown type %q: use %s, %s, %s, %s, %s or %s", c.Type, HTTP, TCP, TLS, GRPC, Agent, Exec)
		return
	}
	for _, k := range []struct {
		name  string
		given bool
		types []Type
	}{
		{"method", c.Method != "" && c.Method != "GET", []Type{HTTP}},
		{"path", c.Path != "" && c.Path != "/", []Type{HTTP}},
		{"host", c.Host != "", []Type{HTTP, TLS, GRPC}},
		{"status", len(c.Status) > 0, []Type{HTTP}},
		{"body", c.Body != "", []Type{HTTP}},
		{"service", c.Service != "", []Type{GRPC}},
		{"command", len(c.Command) > 0, []Type{Exec}},
		{"port", c.Port != 0, []Type{HTTP, TCP, TLS, GRPC, Agent}},
	} {
		if k.given && !slices.Contains(k.types, c.Type) {
			f.add(k.name, "%s does not go with type %s, only with %s", k.name, c.Type, oneOf(k.types))
		}
	}
}

func oneOf(types []Type) string {
	var b strings.Builder
	for i, t := range types {
		switch {
		case i == 0:
		case i == len(types)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(t))
	}
	return b.String()
}

// requestFaults are values that cannot be sent, or never be answered so that the check passes.
func (c Config) requestFaults(f *faults) {
	switch upper := strings.ToUpper(c.Method); {
	case c.Method == "":
	case strings.ContainsFunc(c.Method, func(r rune) bool { return !tokenRune(r) }):
		f.add("method", "%q is no method", c.Method)
	case upper == "CONNECT":
		f.add("method", "%s asks for a tunnel: use GET, HEAD, OPTIONS or POST", c.Method)
	case c.Method != upper:
		f.add("method", "methods tell large letters from small ones: write %s", upper)
	case c.Method == "HEAD" && c.Body != "":
		f.add("body", "an answer to HEAD has no content that could match: use method GET")
	}
	switch {
	case c.Path == "":
	case c.Path[0] != '/':
		f.add("path", "path %q does not start with /", c.Path)
	case strings.ContainsFunc(c.Path, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }):
		f.add("path", "path %q holds a space, a #, a control character or one that is not ASCII: percent-encode it", c.Path)
	}
	_, wrong := statuses(c.Status)
	for i := range c.Status {
		if text := wrong[i]; text != "" {
			f.add(fmt.Sprintf("status[%d]", i), "%s", text)
		}
	}
	if _, err := regexp.Compile(c.Body); err != nil {
		text := strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		f.add("body", "%q is no regular expression of RE2: %s", c.Body, text)
	}
}

// tokenRune tells whether r may stand in a token of RFC 9110 §5.6.2.
func tokenRune(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
