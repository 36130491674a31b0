package health

import (
	"errors"
	"strings"
	"time"
)

// Validate checks the rules of a check. Its error joins one FieldError for each fault. That Host can be one is for the caller to see.
func (c Config) Validate() error {
	var errs []error
	fault := func(field, format string, args ...any) { errs = append(errs, errorf(field, format, args...)) }
	switch {
	case c.Path == "":
	case c.Path[0] != '/':
		fault("path", "path %q does not start with /", c.Path)
	case strings.ContainsFunc(c.Path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }):
		fault("path", "path %q holds a space, a # or a control character: percent-encode it", c.Path)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", c.Interval}, {"timeout", c.Timeout}} {
		if d.value < 0 {
			fault(d.name, "%s %s is negative", d.name, d.value)
		} else if d.value > 0 && d.value < time.Millisecond {
			fault(d.name, "%s %s is below 1ms: give it a unit, as in 2s", d.name, d.value)
		}
	}
	if c.Rise < 0 {
		fault("rise", "rise %d is negative", c.Rise)
	}
	if c.Fall < 0 {
		fault("fall", "fall %d is negative", c.Fall)
	}
	return errors.Join(errs...)
}
