package web

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
)

// tableOf makes a table of redirect routes, each "host path", whose redirect is its own text.
func tableOf(t testing.TB, routes ...string) *Table {
	t.Helper()
	var r Rules
	for _, s := range routes {
		host, p, _ := strings.Cut(s, " ")
		r.Routes = append(r.Routes, Route{Host: host, Path: p, Redirect: "http://to.test/" + s})
	}
	table, err := newTable(r, nil, Timeouts{})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func (t *Table) lookup(host, path string) string {
	r := t.find(normalHost(host), normalPath(path))
	if r == nil {
		return ""
	}
	return strings.TrimPrefix(r.redirect, "http://to.test/")
}

func TestFind(t *testing.T) {
	table := tableOf(t, "a.test /", "a.test /api", "a.test /api/", "a.test /api/v1/x", "*.test /wild", "*.test /api/v1/x/wild", " /any", "[2001:db8::1] /six")
	for _, tt := range []struct{ host, path, want string }{
		{"a.test", "/", "a.test /"},
		{"a.test", "", "a.test /"},
		{"a.test", "/api", "a.test /api"},
		{"a.test", "/api/", "a.test /api/"},
		{"a.test", "/api/v1", "a.test /api/"},
		{"a.test", "/api/v1/x", "a.test /api/v1/x"},
		{"a.test", "/api/v1/x/", "a.test /api/v1/x"},
		{"a.test", "/api/v1/x/wild", "a.test /api/v1/x"}, // the host comes first
		{"a.test", "/apiary", "a.test /"},
		{"a.test", "/" + strings.Repeat("x/", 1000), "a.test /"},
		{"b.test", "/wild/x", "*.test /wild"},
		{"b.test", "/any", " /any"},
		{"b.test", "/other", ""},
		{"test", "/wild", ""},
		{".test", "/wild", ""},
		{"a.b.test", "/wild", ""},
		{"[2001:DB8:0::1]:80", "/six/x", "[2001:db8::1] /six"},
		{"", "/any", " /any"},
	} {
		if got := table.lookup(tt.host, tt.path); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.host, tt.path, got, tt.want)
		}
	}
}

func TestDuplicateRoutes(t *testing.T) {
	for _, r := range [][]Route{
		{{Host: "a"}, {Host: "A.", Path: "/"}},
		{{Host: "*.a", Path: "/x"}, {Host: "*.A", Path: "/x"}},
		{{}, {Path: "/"}},
	} {
		if _, err := newTable(Rules{Routes: r}, nil, Timeouts{}); err == nil {
			t.Errorf("%v: no error", r)
		}
	}
}

func TestNormalPath(t *testing.T) {
	for in, want := range map[string]string{
		"": "/", "/": "/", "/a": "/a", "/a/": "/a/", "/.": "/", "/..": "/", "/a/..": "/", "/a/../": "/", "/a/./b": "/a/b", "/a/.": "/a/",
		"/a/b/c/./../../g": "/a/g", // RFC 3986 §5.2.4
		"/../../a":         "/a", "/a/...": "/a/...", "/a/.b": "/a/.b", "/a//../b": "/a/b", "//": "//", "/public/../admin": "/admin", "a/../b": "/b",
	} {
		if got := normalPath(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func FuzzNormalPath(f *testing.F) {
	for _, s := range []string{"/a/../b", "/./a/..", "//a//..//b", "/..", "", "...", "/a/b/./c/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := normalPath(s)
		if got == "" || got[0] != '/' {
			t.Fatalf("%q: %q is not absolute", s, got)
		}
		if again := normalPath(got); again != got {
			t.Fatalf("%q: %q becomes %q", s, got, again)
		}
		segments := strings.Split(got, "/")
		if slices.Contains(segments, ".") || slices.Contains(segments, "..") {
			t.Fatalf("%q: %q has dot segments", s, got)
		}
		// Without empty segments path.Clean is the same but for the trailing slash.
		if rooted := "/" + s; !strings.Contains(rooted, "//") {
			if clean, got := path.Clean(rooted), normalPath(rooted); got != clean && got != clean+"/" {
				t.Fatalf("%q: got %q, path.Clean %q", s, got, clean)
			}
		}
	})
}

func FuzzHost(f *testing.F) {
	for _, s := range []string{"A.test.:80", "[::1]:80", "[::ffff:1.2.3.4]", "a:b:c", "[", "]", "", ".", "a..", "[a]:1", "[::aaa%000000A0]"} {
		f.Add(s)
	}
	table := tableOf(f, "a.test /", "*.test /x", " /any")
	f.Fuzz(func(t *testing.T, s string) {
		n := normalHost(s)
		if n != strings.ToLower(n) {
			t.Fatalf("%q: %q has capitals", s, n)
		}
		table.find(n, "/any")
		if bare, ok := bareHost(s); ok {
			u, err := url.Parse("https://" + bare + ":1/x")
			if err != nil || u.Host != bare+":1" || u.Path != "/x" || u.User != nil {
				t.Fatalf("%q: a redirect goes to %v: %v", s, u, err)
			}
		}
	})
}

func FuzzAscii(f *testing.F) {
	f.Add("/a\x80\"<>")
	f.Fuzz(func(t *testing.T, s string) {
		for _, c := range []byte(ascii(s)) {
			if c <= ' ' || c >= 0x7f {
				t.Fatalf("%q: %q", s, ascii(s))
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		for _, shape := range []string{"hosts", "paths"} {
			b.Run(fmt.Sprint(shape, "/", n), func(b *testing.B) {
				routes := make([]string, n)
				for i := range routes {
					if shape == "hosts" {
						routes[i] = fmt.Sprintf("shop%d.example.com /api", i)
					} else {
						routes[i] = fmt.Sprintf("shop.example.com /api/v1/%d", i)
					}
				}
				table := tableOf(b, routes...)
				host, path := "shop.example.com", fmt.Sprintf("/api/v1/%d/items/77", n/2)
				if shape == "hosts" {
					host, path = fmt.Sprintf("shop%d.example.com", n/2), "/api/v1/items/77"
				}
				b.ReportAllocs()
				for b.Loop() {
					if table.find(normalHost(host), normalPath(path)) == nil {
						b.Fatal("no route")
					}
				}
			})
		}
	}
}
