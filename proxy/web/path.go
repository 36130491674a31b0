package web

import (
	"bytes"
	"strings"
)

// target returns the origin form of a request target (RFC 9112 §3.2.1) exactly as the client sent it, made
// from the origin or the absolute form; false if it is neither, or holds what no target may hold. The absolute
// form is one of http or https, with a host and without userinfo (RFC 9110 §4.2).
func target(uri string) (string, bool) {
	if !strings.HasPrefix(uri, "/") {
		i := strings.Index(uri, "://")
		if i <= 0 || !strings.EqualFold(uri[:i], "http") && !strings.EqualFold(uri[:i], "https") {
			return "", false
		}
		uri = uri[i+3:]
		end := strings.IndexAny(uri, "/?")
		if end < 0 {
			end = len(uri)
		}
		if end == 0 || strings.ContainsAny(uri[:end], "@#\\") {
			return "", false
		}
		if uri = uri[end:]; uri == "" || uri[0] == '?' {
			uri = "/" + uri
		}
	}
	for i := range len(uri) {
		// A fragment never travels (RFC 9110 §7.1); a server behind us may cut the path at it.
		if c := uri[i]; c <= ' ' || c == 0x7f || c == '#' {
			return "", false
		}
	}
	return uri, true
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
