package rule

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Validate checks the rules. Its error joins one *FieldError for each fault.
func (c Common) Validate() error {
	var f faults
	c.check(&f)
	checkRates(&f, c.RateLimits, true)
	return errors.Join(f...)
}

func (c Common) check(f *faults) {
	if c.MaxBody != nil && *c.MaxBody < 0 {
		f.add("max_body", "size %d is negative: 0 means no limit", *c.MaxBody)
	}
	if c.Timeouts != nil {
		c.Timeouts.check(f)
	}
	if c.RequestHeaders != nil {
		c.RequestHeaders.check(f, "request_headers", request)
	}
	if c.ResponseHeaders != nil {
		c.ResponseHeaders.check(f, "response_headers", response)
	}
	for i, name := range c.Compress {
		field := "compress" + index(i)
		if _, ok := encodingOf(name); !ok {
			f.add(field, "unknown encoding %q: use zstd, br or gzip", shorten(name))
		} else if slices.Contains(c.Compress[:i], name) {
			f.add(field, "%s is listed twice", name)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.ErrorPages)) {
		if !isErrorKey(key) {
			f.add("error_pages."+key, "%q is no status of an error: use 400 to 599, 4xx or 5xx", shorten(key))
		}
	}
}

// isErrorKey tells whether an error page may have this key.
func isErrorKey(key string) bool {
	if key == "4xx" || key == "5xx" {
		return true
	}
	return len(key) == 3 && isDigits(key) && (key[0] == '4' || key[0] == '5')
}

func (c *TimeoutsConfig) check(f *faults) {
	for _, d := range []struct {
		name  string
		value *time.Duration
	}{{"connect", c.Connect}, {"first_byte", c.FirstByte}, {"idle", c.Idle}, {"total", c.Total}} {
		switch {
		case d.value == nil || *d.value == 0:
		case *d.value < 0:
			f.add("timeouts."+d.name, "%s is negative: 0s means no limit", *d.value)
		case *d.value < time.Millisecond:
			f.add("timeouts."+d.name, "%s is below 1ms: give it a unit, as in 5s", *d.value)
		}
	}
}

// Leads is where a route leads.
type Leads int

// The kinds of route. Nowhere is a mistake that is not this package's.
const (
	ToService Leads = iota
	ToURL
	ToAnswer
	Nowhere
)

// Validate checks the rules of a route with a path that leads somewhere. Its error joins one *FieldError for each fault.
func (c Config) Validate(path string, to Leads) error {
	var f faults
	c.Common.check(&f)
	checkRates(&f, c.RateLimits, false)
	c.checkPath(&f, path)
	checkNetworks(&f, "allow", c.Allow)
	checkNetworks(&f, "deny", c.Deny)
	if c.Allow != nil && len(c.Allow) == 0 {
		f.add("allow", "an empty list lets nobody in: name networks, or remove the key")
	}
	if c.BasicAuth != nil {
		c.BasicAuth.check(&f)
	}
	if _, ok := forwardedOf(c.Forwarded); !ok {
		f.add("forwarded", "unknown value %q: use x_forwarded, forwarded or both", shorten(c.Forwarded))
	}
	if text := badRedirectStatus(c.Status, to); text != "" {
		f.add("status", "%s", text)
	}
	if c.Respond != nil {
		c.Respond.check(&f)
	}
	if to == ToURL || to == ToAnswer {
		c.checkServiceless(&f, to)
	}
	return errors.Join(f...)
}

// badRedirectStatus says what is wrong with a route's status.
func badRedirectStatus(status int, to Leads) string {
	switch {
	case status == 0 || to == Nowhere:
	case to == ToAnswer:
		return "the status of a fixed answer stands in respond"
	case to == ToService:
		return "is the status of a redirect, and the route has none"
	case status != 301 && status != 302 && status != 303 && status != 307 && status != 308:
		return "status " + strconv.Itoa(status) + " is no redirect: use 301, 302, 303, 307 or 308"
	}
	return ""
}

// checkPath checks what the server is to see.
func (c Config) checkPath(f *faults, path string) {
	switch {
	case c.StripPrefix && c.Rewrite != "":
		f.add("rewrite", "rewrite replaces the path that strip_prefix cuts off: give one of them")
		return
	case c.StripPrefix && strings.Trim(path, "/") == "":
		f.add("strip_prefix", "there is nothing to cut off: the route has no path")
	case c.Rewrite == "":
	case c.Rewrite[0] != '/':
		f.add("rewrite", "%q does not start with /", shorten(c.Rewrite))
	case strings.HasPrefix(c.Rewrite, "//"):
		f.add("rewrite", "%q starts with //, which servers take for a host name", shorten(c.Rewrite))
	case strings.ContainsAny(c.Rewrite, "?#"):
		f.add("rewrite", "%q holds ? or #: a rewrite is a path, and the request's query is kept", shorten(c.Rewrite))
	default:
		if text := badPath(c.Rewrite); text != "" {
			f.add("rewrite", "%q %s", shorten(c.Rewrite), text)
		}
	}
}

// badPath says what may not stand in a percent-encoded path (RFC 3986 §3.3).
func badPath(p string) string {
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '%':
			if _, ok := unescape(p, i); !ok {
				return "holds a % that begins no percent-encoding: write %25"
			}
			i += 2
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return "holds what has to be percent-encoded in a path"
		}
	}
	for s := range strings.SplitSeq(p, "/") {
		if isDot(s) || isDotDot(s) {
			return "holds dot segments"
		}
	}
	return ""
}

func checkNetworks(f *faults, field string, list []string) {
	for i, text := range list {
		if _, err := parseNetwork(text); err != nil {
			f.add(field+index(i), "%s", err)
		}
	}
}

// ValidateNetworks checks a list that is there but has nobody in it too. Its error joins one *FieldError for each fault, with an index
// for its field.
func ValidateNetworks(list []string) error {
	var f faults
	if list != nil && len(list) == 0 {
		f.add("", "is empty: name networks, or remove the key")
	}
	checkNetworks(&f, "", list)
	return errors.Join(f...)
}

// checkServiceless refuses what needs a service.
func (c Config) checkServiceless(f *faults, to Leads) {
	what := "a redirect"
	if to == ToAnswer {
		what = "a fixed answer"
	}
	for _, k := range []struct {
		key string
		set bool
	}{
		{"strip_prefix", c.StripPrefix}, {"rewrite", c.Rewrite != ""}, {"forwarded", c.Forwarded != ""},
		{"request_headers", c.RequestHeaders != nil}, {"max_body", c.MaxBody != nil}, {"timeouts", c.Timeouts != nil},
		{"compress", len(c.Compress) > 0},
	} {
		if k.set {
			f.add(k.key, "%s needs a service: the route leads to %s", k.key, what)
		}
	}
}

func (c *RespondConfig) check(f *faults) {
	switch {
	case c.Status != 0 && (c.Status < 200 || c.Status > 599):
		f.add("respond.status", "status %d is not between 200 and 599", c.Status)
	case c.Body != "" && (c.Status == 204 || c.Status == 205 || c.Status == 304):
		f.add("respond.body", "an answer with status %d has no content", c.Status)
	}
	if c.ContentType != "" {
		if text := badValue(c.ContentType); text != "" {
			f.add("respond.content_type", "%s", text)
		} else if !strings.Contains(c.ContentType, "/") {
			f.add("respond.content_type", "%q is no media type: write it as text/plain", shorten(c.ContentType))
		}
	}
	checkFields(f, "respond.headers", c.Headers, response, func(name string) string {
		if strings.EqualFold(name, "content-type") {
			return "its type stands in content_type"
		}
		return ""
	})
}
