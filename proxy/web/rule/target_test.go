package rule

import (
	"bytes"
	"strings"
	"testing"
)

// compiled makes rules of a route with a path.
func compiled(t testing.TB, path string, c Config) *Rules {
	t.Helper()
	if err := c.Validate(path, ToService); err != nil {
		t.Fatal(err)
	}
	r, err := Compile(path, c, Common{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTarget(t *testing.T) {
	for _, c := range []struct{ path, rewrite, target, want string }{
		// Strip.
		{"/api/", "", "/api/", "/"},
		{"/api/", "", "/api/x?y=/api/", "/x?y=/api/"},
		{"/api/", "", "/api/?y", "/?y"},
		{"/api", "", "/api", "/"},
		{"/api", "", "/api?y", "/?y"},
		{"/api", "", "/api/", "/"},
		{"/api", "", "/api/x/", "/x/"},
		{"/a/b/", "", "/a/b/c", "/c"},
		{"/ü/", "", "/%C3%bc/x", "/x"},
		{"/api/", "", "*", "*"},
		{"/api/", "", "", ""},

		// Two slashes at the beginning are a host to whoever builds a redirect.
		{"/api/", "", "/api//evil.test", "/evil.test"},
		{"/api/", "", "/api////evil.test//x", "/evil.test//x"},
		{"/api", "", "/api//", "/"},
		{"/api/", "", `/api/\evil.test`, "/%5Cevil.test"},
		{"/api/", "", `/api//\evil.test`, "/%5Cevil.test"},
		{"/api/", "/", "/api//evil.test", "/evil.test"},

		// What follows keeps its encoding; what was cut off may have had one.
		{"/api/", "", "/%61pi/a%2Fb", "/a%2Fb"},
		{"/api/", "", "/api/%2Fb", "/%2Fb"},
		{"/api/", "", "/api%2Fx", "/x"},
		{"/api/", "", "/api%2fx%2fy", "/x%2fy"},
		{"/api/", "", "/api%2F%2Fx", "/%2Fx"},
		{"/api/", "", "/api%2F/x", "/x"},
		{"/api/", "", "/api/%25%32%46", "/%25%32%46"},
		{"/api/", "", "/api/%zz%", "/%zz%"},
		{"/api", "", "/%61%70%69", "/"},

		// Dot segments are resolved before anything is cut off, encoded or not.
		{"/api/", "", "/x/../api/y", "/y"},
		{"/api/", "", "/api/../api/y", "/y"},
		{"/api/", "", "/api/x/../../api/y", "/y"},
		{"/api/", "", "/./api/y/.", "/y/"},
		{"/api/", "", "/api/%2e%2E/api/y/%2e.", "/"},
		{"/api/", "", "/x/..%2Fapi/y", "/y"},
		{"/api/", "", "/%2e%2e%2fapi%2fy", "/y"},
		{"/api/", "", "/api/.../.x/..y", "/.../.x/..y"},
		{"/api", "", "/api/..", "/"}, // not a path of the route: the normal path
		{"/api", "", "/apix/%61", "/apix/%61"},
		{"/api", "", "/apix", "/apix"},

		// Rewrite.
		{"/api/", "/v2/", "/api/x", "/v2/x"},
		{"/api/", "/v2", "/api/x", "/v2/x"},
		{"/api/", "/v2", "/api/", "/v2/"},
		{"/api/", "/v2/", "/api/?y", "/v2/?y"},
		{"/api", "/v2/", "/api", "/v2/"},
		{"/api", "/v2", "/api", "/v2"},
		{"/api", "/v2", "/api/", "/v2/"},
		{"/api", "/v2/", "/api/x", "/v2/x"},
		{"/api", "/v2", "/%61pi/./x%2F", "/v2/x%2F"},
		{"/", "/v2", "/x?y", "/v2/x?y"},
		{"/", "/v2/", "/", "/v2/"},
		{"", "/v2/", "/%2e%2e%2fx", "/v2/x"},
		{"/api", "/", "/api/x", "/x"},
		{"/api", "/a%20b/", "/api/x", "/a%20b/x"},
	} {
		r := compiled(t, c.path, Config{StripPrefix: c.rewrite == "", Rewrite: c.rewrite})
		if got := string(r.Target([]byte("before "), c.target)); got != "before "+c.want {
			t.Errorf("%s → %q: %s: got %s, want %s", c.path, c.rewrite, c.target, got, c.want)
		}
	}
	var none *Rules
	if got := string(none.Target(nil, "//a/../b")); got != "//a/../b" || none.ChangesTarget() || none.StrippedPrefix() != "" {
		t.Errorf("without rules: got %s", got)
	}
	for path, want := range map[string]string{"/api/": "/api", "/a b/ü%": "/a%20b/%C3%BC%25", "/x\r\n": "/x%0D%0A", "/a;b=@c/d.e~": "/a;b=@c/d.e~"} {
		if got := compiled(t, path, Config{StripPrefix: true}).StrippedPrefix(); got != want {
			t.Errorf("%q: stripped %q, want %q", path, got, want)
		}
	}
	if got := compiled(t, "/api/", Config{Rewrite: "/v2"}).StrippedPrefix(); got != "" {
		t.Errorf("rewritten: stripped %q", got)
	}
}

// decode and normal are how routes are looked up.
func decode(raw string) string {
	var b strings.Builder
	for i := 0; i < len(raw); {
		c, size := next(raw, i)
		b.WriteByte(c)
		i += size
	}
	return b.String()
}

func normal(p string) string {
	var out []string
	segments := strings.Split(p, "/")[1:]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case ".", "..":
			if s == ".." && len(out) > 0 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return "/" + strings.Join(out, "/")
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/api/x", "/api//x", "/%61pi/%2e%2e/api", "/api%2F%2F..%2fx", "/a/../api/./", `/api/\x`, "/api?/..", "/api/%", "/..%2f..%2fapi/%2F/x/%2e", "//api/x"} {
		f.Add(s, "/api/", "")
		f.Add(s, "/api", "/v2")
		f.Add(s, "/", "/v2/")
	}
	f.Fuzz(func(t *testing.T, target, path, rewrite string) {
		c := Config{StripPrefix: rewrite == "", Rewrite: rewrite}
		if target == "" || target[0] != '/' || path == "" || path[0] != '/' || c.Validate(path, ToService) != nil {
			return
		}
		raw, query, asked := strings.Cut(target, "?")
		looked := normal(decode(raw))
		base := strings.TrimSuffix(path, "/")
		rest, under := strings.CutPrefix(looked, base)
		if !under || rest != "" && rest[0] != '/' || rest == "" && base != path {
			return // the route is not one for this path
		}
		r := compiled(t, path, c)
		got := string(r.Target(nil, target))
		gotRaw, gotQuery, gotAsked := strings.Cut(got, "?")
		if gotQuery != query || gotAsked != asked {
			t.Fatalf("%q: query %q of %q", target, gotQuery, got)
		}
		if gotRaw[0] != '/' || len(gotRaw) > 1 && (gotRaw[1] == '/' || gotRaw[1] == '\\') {
			t.Fatalf("%q: %q does not begin with one slash", target, got)
		}
		want := decode(strings.TrimSuffix(rewrite, "/")) + rest
		if rest == "" {
			want = decode(rewrite)
		}
		seen := decode(gotRaw)
		if strings.TrimLeft(seen, "/") != strings.TrimLeft(want, "/") {
			t.Fatalf("%q by %q → %q: got %q, which is %q and not %q", target, path, rewrite, got, seen, want)
		}
		// One less slash before what looks like a dot segment makes none.
		if normal(seen) != seen && normal(want) == want {
			t.Fatalf("%q: %q holds dot segments", target, got)
		}
		if !bytes.Equal(r.Target([]byte("x"), target), []byte("x"+got)) {
			t.Fatalf("%q: what is before the target matters", target)
		}
	})
}
