package config

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", example, large(3), wide(3), "---\n...\n", "vips: [&a 10.0.0.1, *a]\n", "services: {a: &x {<<: [*x]}}",
		"services:\n  a: &x\n    servers: [a:1]\n  b: {<<: *x, balance: rr}\n", "{\"vips\":[\"\\u0041\\x20\"]}", "a: 'it''s'\n",
		"- - - a\n", "? a\n: b\n", "[[[{", "\t", "\xff", "a: |\n  b\n", "routes:\n- host: bücher.example\n", "services: {a: {health: {interval: 1e9}}}",
		"vips:\n- {address: '::1/128', interface: lo}\n", "services: {a: {servers: [{weight: 0x10, address: a:1}]}}\r\n",
		"certificates:\n  email: >-2 # é\n    a\n\n   b\n", "a: \"x\n\n  \\\n y\"\nb: !!str c\n", "? &a b\n: - *a\n  -\n# c\n\n  # d\nb: [a: b, ? c, {d, e: }]\n",
		"- # a\n  - b\n # c\n- [ # d\n] # e\n", "a: [b\nc: d\n", "a:b\n\n# x\nc: d\n", "- &a\n  # b\n  &c d: e\n", "--- |\n a\n...\n%YAML 1.1\n---\n", "{\n\"a\": [\n]\n]\n",
		inRoute("allow: [10.0.0.1/8], max_body: 1.5 GiB, request_headers: { set: { a.b: '{id}' } }, error_pages: { 5xx: x }"), inRoute("basic_auth: { users: { a.b: x } }"),
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		start := time.Now()
		d, err := Parse("f.yaml", text)
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("took %s", took)
		}
		if err == nil {
			d.Proxy()
			d.Addresses()
			d.TLSHosts()
			again, err := Parse("f.yaml", text)
			if err != nil || len(again.Warnings()) != len(d.Warnings()) {
				t.Fatalf("not the same twice: %v", err)
			}
			return
		}
		var ps Problems
		if !errors.As(err, &ps) || len(ps) == 0 || d != nil {
			t.Fatalf("got %v, %v", d, err)
		}
		rows := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
		for _, p := range ps {
			if strings.ContainsAny(p.String(), "\n\r\x00") || p.Message == "" {
				t.Fatalf("problem %q", p.String())
			}
			if p.Line == 0 {
				continue
			}
			if p.Line > len(rows) || p.Column < 1 || p.Column > utf8.RuneCountInString(rows[p.Line-1])+1 {
				t.Fatalf("%v is not a place in the text", p)
			}
		}
	})
}
