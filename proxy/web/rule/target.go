package rule

import (
	"strings"
)

// compilePath prepares strip_prefix and rewrite.
func (r *Rules) compilePath(path string, route Config) bool {
	if !route.StripPrefix && route.Rewrite == "" {
		return false
	}
	r.replaced = true
	r.stripped = strings.TrimSuffix(path, "/")
	r.prefix = strings.TrimSuffix(route.Rewrite, "/")
	if r.whole = route.Rewrite; r.whole == "" {
		r.whole = "/"
	}
	if route.StripPrefix {
		r.shown = escapePath(r.stripped)
	}
	return true
}

// ChangesTarget tells whether the server sees another target than the client sent.
func (r *Rules) ChangesTarget() bool { return r != nil && r.replaced }

// StrippedPrefix is what was cut off the path, percent-encoded and without a final slash, for X-Forwarded-Prefix, by which
// applications write links that lead back to them. It is empty if nothing was.
func (r *Rules) StrippedPrefix() string {
	if r == nil {
		return ""
	}
	return r.shown
}

// Target appends the origin form that the server is to see for one that a client sent (RFC 9112 §3.2.1). Without strip_prefix or rewrite, and
// for what is no path, such as "*", it is the same.
//
// The route was chosen by the path decoded and without dot segments, and so the path is cut: by the same walk over what the
// client sent, in which an encoded character is what it stands for. What follows the prefix keeps the client's encoding, so that an
// encoded slash in it stays one; dot segments are resolved (RFC 3986 §5.2.4), or they would lead out of where the
// path was put. The result begins with exactly one slash: two are the beginning of a host to whoever builds a redirect from it.
func (r *Rules) Target(dst []byte, target string) []byte {
	if r == nil || !r.replaced || target == "" || target[0] != '/' {
		return append(dst, target...)
	}
	path, query := target, ""
	if i := strings.IndexByte(target, '?'); i >= 0 {
		path, query = target[:i], target[i:]
	}
	start := len(dst)
	rest, literally := strings.CutPrefix(path, r.stripped)
	switch {
	case !literally, rest != "" && rest[0] != '/', strings.IndexByte(path, '%') >= 0, strings.Contains(path, "/."):
		dst = r.walk(dst, path)
	case rest == "":
		dst = append(dst, r.whole...)
	default:
		dst = append(append(dst, r.prefix...), rest...)
	}
	dst = oneSlash(dst, start)
	return append(dst, query...)
}

// walk is for a path with percent-encodings or dots. The path without dot segments is made behind the new prefix, and what the old
// one was is closed up.
func (r *Rules) walk(dst []byte, path string) []byte {
	start := len(dst)
	dst = append(dst, r.prefix...)
	body := len(dst)
	dst = appendNormal(dst, path)
	cut, ok := cutPrefix(stringOf(dst[body:]), r.stripped)
	switch {
	case !ok: // the route is not one for this path: better the whole than half
		return append(dst[:start], dst[body:]...)
	case body+cut == len(dst):
		return append(dst[:start], r.whole...)
	}
	rest := dst[body+cut:]
	return plainSlash(append(dst[:body], rest...), body)
}

// appendNormal appends a raw path without the segments that decode to dots, as normalPath of package web does with a decoded
// one. A slash separates segments whether it is encoded or not.
func appendNormal(dst []byte, path string) []byte {
	start := len(dst)
	for i := 0; i < len(path); {
		_, size := next(path, i) // a slash
		end := i + size
		for end < len(path) {
			c, size := next(path, end)
			if c == '/' {
				break
			}
			end += size
		}
		last := end == len(path)
		switch dots(path[i+size : end]) {
		case 1:
			if last {
				dst = append(dst, '/')
			}
		case 2:
			dst = dst[:lastSlash(dst, start)]
			if last {
				dst = append(dst, '/')
			}
		default:
			dst = append(dst, path[i:end]...)
		}
		i = end
	}
	if len(dst) == start {
		dst = append(dst, '/')
	}
	return plainSlash(dst, start)
}

// plainSlash writes the slash at i as what it is, which may be encoded: the route took it for a separator.
func plainSlash(dst []byte, i int) []byte {
	if dst[i] != '%' {
		return dst
	}
	dst[i] = '/'
	return append(dst[:i+1], dst[i+3:]...)
}

// lastSlash is where the last segment of dst begins, with its slash, encoded or not.
func lastSlash(dst []byte, start int) int {
	for i := len(dst) - 1; i >= start; i-- {
		if dst[i] == '/' || dst[i] == '%' && i+2 < len(dst) && dst[i+1] == '2' && dst[i+2]|0x20 == 'f' {
			return i
		}
	}
	return start
}

// cutPrefix is how much of a raw path decodes to the prefix, if a slash or nothing follows it.
func cutPrefix(raw, prefix string) (int, bool) {
	i := 0
	for j := range len(prefix) {
		if i == len(raw) {
			return 0, false
		}
		c, size := next(raw, i)
		if c != prefix[j] {
			return 0, false
		}
		i += size
	}
	if i < len(raw) {
		if c, _ := next(raw, i); c != '/' {
			return 0, false
		}
	}
	return i, true
}

// oneSlash leaves one of several slashes at the beginning, and encodes a backslash behind it, which browsers take for a slash.
func oneSlash(dst []byte, start int) []byte {
	path := dst[start:]
	n := 0
	for n < len(path) && path[n] == '/' {
		n++
	}
	if n > 1 {
		dst = append(dst[:start+1], path[n:]...)
	}
	if len(dst) > start+1 && dst[start+1] == '\\' {
		dst = append(dst, 0, 0)
		copy(dst[start+4:], dst[start+2:])
		copy(dst[start+1:], "%5C")
	}
	return dst
}
