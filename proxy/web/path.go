package web

import (
	"bytes"
	"strings"
)

// routePath is the path of an origin form as routes are looked up by it: percent-decoded, without dot segments. It is a part of the target
// unless there is something to decode or to remove.
func routePath(target string) string {
	path, _ := splitTarget(target)
	if strings.IndexByte(path, '%') < 0 {
		return normalPath(path)
	}
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) { // two digits, as has been checked
			c = unhex(path[i+1])<<4 | unhex(path[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return normalPath(string(b))
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// splitTarget cuts an origin form into path and query, the query without its question mark.
func splitTarget(t string) (path, query string) {
	path, query, _ = strings.Cut(t, "?")
	return path, query
}

// normalPath removes dot segments from a percent-decoded path (RFC 3986 §5.2.4), so that a route cannot be
// reached, or passed by, through "..". The result always begins with a slash.
func normalPath(p string) string {
	if p == "" {
		return "/"
	}
	if p[0] != '/' {
		p = "/" + p
	}
	if !strings.Contains(p, "/.") {
		return p
	}
	out := make([]byte, 0, len(p))
	for rest := p; rest != ""; {
		// rest begins with a slash; segment is what stands up to the next one.
		segment := rest[1:]
		end := strings.IndexByte(segment, '/')
		last := end < 0
		if last {
			rest = ""
		} else {
			segment, rest = segment[:end], segment[end:]
		}
		switch segment {
		case ".":
			if last {
				out = append(out, '/')
			}
		case "..":
			out = out[:max(0, bytes.LastIndexByte(out, '/'))]
			if last {
				out = append(out, '/')
			}
		default:
			out = append(out, '/')
			out = append(out, segment...)
		}
	}
	if len(out) == 0 {
		return "/"
	}
	return string(out)
}
